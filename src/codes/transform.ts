/** QuantizedTransform: what makes a parameter train through a quantizer, and holds its codes once they are frozen. */

import { changing } from "../changes.ts";
import { OptionError, ShapeError, StageError, show } from "../errors.ts";
import { isParameter, type Parameter, type Transform, transformsOf } from "../nn/parameter.ts";
import type { TransformFactory } from "../nn/parametrize.ts";
import { placeholder, visitor } from "../ops/shapes-only.ts";
import type { PackedWeight } from "../packed/file/weight.ts";
import { sameShape } from "../shape.ts";
import { isInstance } from "../state.ts";
import { own } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { type Tensor, tensor, wrap } from "../tensor.ts";
import { dequantize, givenFloats, keptParams, type QTensor, valuesOf } from "./contract.ts";
import { frontsOf, maskOfFronts, type Sources, sameSources, sourcesOf, throughFronts } from "./fronts.ts";
import { packedWeight } from "./packable.ts";
import { checkQuantizer, type Quantizer, quantizeBy, shapeOfCodes, throughQuantizer } from "./quantizer.ts";
import { isSigns, type QuantSpec, readsAs } from "./spec.ts";

/** Whether 0 is no code's value, or only about one's. */
const lacksZero = (spec: QuantSpec): boolean =>
  isSigns(spec) || spec.zeroPoint === "float" || spec.codebook?.includes(0) === false;

const brand: unique symbol = Symbol.for("bitgrad.quantizedTransform") as never;

/**
 * The transform that makes a parameter train through a quantizer, and holds its codes once they are frozen.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { freeze, int8WeightOnly, plan, prepare, QuantizedTransform } from "bitgrad/quant";
 *
 * const [transform] = freeze(prepare(new Linear(4, 2), plan({ default: int8WeightOnly() }))).weight.transforms;
 * console.log(transform instanceof QuantizedTransform && transform.codes!.shape); // [2, 4]
 * ```
 */
export class QuantizedTransform implements Transform {
  readonly quantizer: Quantizer;
  /** Private to the tree, so that a state holds latent weights alone: the codes of a frozen weight, and what they are of. */
  private _codes: QTensor | null = null;
  private _parameter: Parameter | null;
  private _path: string;
  private _sources: Sources = [];
  private _frozen = false;

  /** `parameter`, under `path`, is what it stands on: masks before it are seen by its latent value. */
  constructor(quantizer: Quantizer, parameter: Parameter | null = null, path = "") {
    this.quantizer = checkQuantizer("quantized", quantizer);
    this._parameter = parameter;
    this._path = path;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, QuantizedTransform, brand, value);
  }

  get [brand](): true {
    return true;
  }

  /**
   * Puts it on a parameter, from where it may move to another, without its codes. Throws OptionError while it is on another,
   * or there already: it holds the codes of one value.
   */
  attach(parameter: Parameter, path = ""): void {
    const times = parameter.transforms.filter((each) => each === this).length;
    if (times > 1)
      throw new OptionError(
        `quantized: a transform stands once on a parameter, got ${times} times ${show(path)}`,
      );
    if (this._parameter === parameter) return;
    if (this._parameter?.transforms.includes(this)) {
      throw new OptionError(
        `quantized: a transform serves one parameter, got another${path && ` ${show(path)}`} beside ${show(this._path)}; put on quantized(…), which makes one for each`,
      );
    }
    this._parameter = parameter;
    this._path = path;
    this.set(null, []);
    this._frozen = false;
  }

  get bits(): number {
    return this.quantizer.spec.bits;
  }

  apply(weight: Tensor): Tensor {
    // By shapes alone there are no numbers to find codes of.
    if (visitor()) return placeholder(givenFloats("quantize", weight).shape, "float32");
    const { codes: held } = this;
    // What it holds was checked when it was found.
    if (held) return valuesOf(held.codes.data, held.shape, held.spec, held).reshape(this._parameter!.shape);
    const x = givenFloats("quantize", weight);
    return throughQuantizer(x, this.quantizer, { mask: this.maskOf(x) });
  }

  /**
   * False where a mask in front has made a weight 0, or null where none has: by what the transforms in front say of
   * themselves (`mask`), or by what they do. Throws OptionError where codes could not keep it 0.
   */
  maskOf(weight: Tensor): Tensor | null {
    const parameter = this._parameter;
    const mask = parameter && maskOfFronts(parameter.value, weight, frontsOf(parameter, this));
    if (!mask) return null;
    if (!lacksZero(this.quantizer.spec)) return wrap(mask, weight.shape, "bool");
    const masked = mask.reduce((sum, kept) => sum + 1 - kept, 0);
    throw new OptionError(
      `quantize: ${show(this.quantizer.name)} has no code for the zeros of a mask, got ${masked} of ${mask.length} weights of ${show(this._path)} masked; take another quantizer, such as ternary`,
    );
  }

  /**
   * Takes codes that were found elsewhere, as by GPTQ, AdaRound or HQQ, until the parameter, or a mask in front, is
   * written: layers compute with their values, without a gradient to the weight, `freeze` keeps them, and the latent
   * value stays as it was. They are in the shape of the parameter, those with scales by groups a matrix (out, …). As
   * codes of a frozen weight they are no part of a state; `pack` keeps them. Throws ShapeError and OptionError for
   * codes of another shape or spec, and where a mask wants a 0 that they do not hold.
   */
  hold(found: QTensor): void {
    const values = dequantize(found);
    const parameter = this._parameter;
    if (!parameter)
      throw new StageError("hold: the transform must be on a parameter, got none; use parametrize");
    const { name, spec } = this.quantizer;
    const shape = shapeOfCodes(spec, parameter.shape);
    if (!sameShape(found.shape, shape)) {
      throw new ShapeError(`hold: codes must have the shape ${show(shape)}, got ${show(found.shape)}`);
    }
    if (!readsAs(found.spec, spec)) {
      throw new OptionError(`hold: codes must be of the spec of ${show(name)}, got ${show(found.spec)}`);
    }
    const mask = noGrad(() => this.maskOf(this.before(parameter)))?.data;
    const odd = mask ? values.data.findIndex((v, i) => v !== 0 && mask[i] === 0) : -1;
    if (odd >= 0) {
      throw new OptionError(`hold: codes must be 0 where a mask is, got ${values.data[odd]} at index ${odd}`);
    }
    const codes = tensor(found.codes) as QTensor["codes"];
    this.fix({ codes, ...keptParams(found), spec, shape });
  }

  /**
   * Lets held codes go: layers compute with those of the quantizer again. Throws StageError for a frozen weight, whose codes
   * stay.
   */
  release(): void {
    if (this._frozen)
      throw new StageError(`release: the weight must not be frozen, got ${show(this._path)} frozen`);
    this.set(null, []);
  }

  /**
   * Fixes the codes at those of a parameter, on which this transform is, or at those it holds, anew when what they are of is
   * written (`codes`). Throws StageError where it is not on the parameter.
   */
  freeze(parameter: Parameter): void {
    if (!isParameter(parameter)) throw new OptionError(`freeze: needs a parameter, got ${show(parameter)}`);
    if (!parameter.transforms.includes(this)) {
      throw new StageError(
        "freeze: the transform must be on the parameter, got one without it; use parametrize",
      );
    }
    this.attach(parameter);
    if (!this.codes) this.find(parameter);
    this._frozen = true;
  }

  /** Whether `freeze` has fixed the codes. */
  get frozen(): boolean {
    return this._frozen;
  }

  /**
   * The codes of a frozen weight, those of its present value, and codes held for it; null before. They are of the
   * value, the transforms in front, and the tensors that these and the quantizer have as properties: where one is
   * written, or another stands in its place, frozen codes are found anew and held ones go. A tensor that only the
   * closure of a transform knows is not seen to change.
   */
  get codes(): QTensor | null {
    if (this._codes && !sameSources(this._sources, this.sources())) {
      if (this._frozen) this.find(this._parameter!);
      else this.set(null, []);
    }
    return this._codes;
  }

  private sources(): Sources {
    const parameter = this._parameter!;
    return sourcesOf(parameter, frontsOf(parameter, this), this.quantizer);
  }

  /**
   * What it quantizes: what the transforms in front make of its parameter's value. Throws StageError for one that is on no
   * parameter.
   */
  latent(): Tensor {
    if (!this._parameter)
      throw new StageError("latent: the transform must be on a parameter, got none; use parametrize");
    return noGrad(() => tensor(this.before(this._parameter!)));
  }

  /** What the transforms in front make of a parameter. */
  private before(parameter: Parameter): Tensor {
    return throughFronts(parameter.value, frontsOf(parameter, this));
  }

  private find(parameter: Parameter): void {
    this.fix(
      noGrad(() => {
        const weight = this.before(parameter);
        return quantizeBy(weight, this.quantizer, { mask: this.maskOf(weight) });
      }),
    );
  }

  private set(codes: QTensor | null, sources: Sources): void {
    changing(this, ({ _codes, _sources }) => () => {
      Object.assign(this, { _codes, _sources });
    });
    Object.assign(this, { _codes: codes, _sources: sources });
  }

  private fix(codes: QTensor): void {
    if (visitor())
      throw new StageError("freeze: codes need numbers, got none inside shapesOnly; freeze before");
    this.set(codes, this.sources());
    for (const t of [codes.codes, codes.scale, codes.zeroPoint]) if (t) own(t as Tensor);
  }

  /** Throws StageError before it is frozen, OptionError for codes that no packed layer reads. */
  pack(): PackedWeight {
    if (!this.frozen)
      throw new StageError("pack: the weights must be frozen, got live quantizers; call freeze first");
    return packedWeight(this.codes!);
  }
}

/**
 * `parametrize(model, "blocks.**.weight", quantized(bwn()))`: layers see the quantized weight, the optimizer the latent
 * one.
 *
 * @example
 * ```ts
 * import { Linear, parametrize } from "bitgrad/nn";
 * import { bwn, quantized } from "bitgrad/quant";
 *
 * const layer = new Linear(4, 2);
 * parametrize(layer, "weight", quantized(bwn()));
 * console.log(new Set(layer.weight.effective().abs().data).size); // 2
 * ```
 */
export function quantized(quantizer: Quantizer): TransformFactory {
  checkQuantizer("quantized", quantizer);
  return (parameter, path) => new QuantizedTransform(quantizer, parameter, path);
}

/**
 * What quantizes a parameter, with its quantizer and codes; null where nothing does.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int8WeightOnly, plan, prepare, quantizedTransform } from "bitgrad/quant";
 *
 * const layer = prepare(new Linear(4, 2), plan({ default: int8WeightOnly() }));
 * console.log(quantizedTransform(layer.weight)!.quantizer.spec.bits, quantizedTransform(layer.bias!)); // 8 null
 * ```
 */
export function quantizedTransform(parameter: Parameter): QuantizedTransform | null {
  if (!isParameter(parameter)) {
    throw new OptionError(`quantizedTransform: needs a parameter, got ${show(parameter)}`);
  }
  const transforms = transformsOf("quantizedTransform", parameter);
  return transforms.find((t): t is QuantizedTransform => t instanceof QuantizedTransform) ?? null;
}

/** The codes that are fixed, where they are what a layer computes with: nothing stands behind the quantizer. Else null. */
export function frozenCodes({ transforms }: Parameter): QTensor | null {
  const last = transforms[transforms.length - 1];
  return last instanceof QuantizedTransform ? last.codes : null;
}
