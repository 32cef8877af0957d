/**
 * Quantizer: a spec, and how its scales are found. Everything else is the numeric contract, so what is trained, what is stored
 * and what packed inference computes with are the same numbers.
 */

import { OptionError, StageError, show } from "../errors.ts";
import { isParameter, type Parameter, type Transform } from "../nn/parameter.ts";
import type { TransformFactory } from "../nn/parametrize.ts";
import { packCodes } from "../packed/file/codes.ts";
import { noHalf, PackedWeight } from "../packed/file/weight.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { isInstance } from "../state.ts";
import { own } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { dequantize, type QTensor, quantize } from "./contract.ts";
import { fakeQuantize } from "./fake-quantize.ts";
import type { QuantParams } from "./params.ts";
import { isSigns, type QuantSpec } from "./spec.ts";
import { evenLevels, withZeros, zerosOf } from "./whole.ts";

export interface Quantizer {
  /** "int8", "ternary", "binary", …: for people. */
  readonly name: string;
  readonly spec: QuantSpec;
  /** "mask": no gradient where the code is clamped, as PyTorch does; "through": the gradient passes everywhere. */
  readonly gradient: "mask" | "through";
  /** The scales that fit x, constants to its gradient; `mask` is false where a mask before the quantizer has made x 0. */
  params(x: Tensor, context?: QuantContext): QuantParams;
}

export interface QuantContext {
  readonly mask?: Tensor | null;
}

/** The numbers a quantized layer computes with, differentiable: `fakeQuantize` with the quantizer's own scales and gradient. */
export function throughQuantizer(weight: Tensor, quantizer: Quantizer, context?: QuantContext): Tensor {
  const [x, seen] = asRows(weight, quantizer, context);
  const options = { mask: quantizer.gradient === "mask" };
  const values = fakeQuantize(x, quantizer.spec, quantizer.params(x, seen), options);
  return x === weight ? values : values.reshape(weight.shape);
}

/** The codes and scales that training with a quantizer stands for; where they are grouped, of a matrix. */
export function quantizeBy(weight: Tensor, quantizer: Quantizer, context?: QuantContext): QTensor {
  const [x, seen] = asRows(weight, quantizer, context);
  return quantize(x as TensorLike, quantizer.spec, quantizer.params(x, seen));
}

/** A weight (out, …) as a matrix where scales are by groups: those run along its rows, whatever axes they are of. */
function asRows(
  weight: Tensor,
  { spec: { granularity } }: Quantizer,
  context?: QuantContext,
): [Tensor, QuantContext | undefined] {
  if (typeof granularity !== "object" || weight.shape.length < 3) return [weight, context];
  const matrix = [weight.shape[0], sizeOf(weight.shape.slice(1))];
  return [weight.reshape(matrix), { ...context, mask: context?.mask?.reshape(matrix) }];
}

/** Whether 0 is no code's value, or only about one's. */
const lacksZero = (spec: QuantSpec): boolean =>
  isSigns(spec) || spec.zeroPoint === "float" || spec.codebook?.includes(0) === false;

function checkQuantizer(quantizer: Quantizer): Quantizer {
  if (typeof quantizer?.params === "function") return quantizer;
  const hint = typeof quantizer === "function" ? "; call it" : "";
  throw new OptionError(`quantized: needs a quantizer such as bwn(), got ${show(quantizer)}${hint}`);
}

const brand: unique symbol = Symbol.for("bitgrad.quantizedTransform") as never;

/** The transform that makes a parameter train through a quantizer, and holds its codes once they are frozen. */
export class QuantizedTransform implements Transform {
  readonly quantizer: Quantizer;
  /** Private to the tree, so that a state holds latent weights alone: the codes of a frozen weight, and what they are of. */
  private _codes: QTensor | null = null;
  private _parameter: Parameter | null;
  private readonly _path: string;
  private _version = 0;

  /** `parameter`, under `path`, is what it stands on: masks before it are seen by its latent value. */
  constructor(quantizer: Quantizer, parameter: Parameter | null = null, path = "") {
    this.quantizer = checkQuantizer(quantizer);
    this._parameter = parameter;
    this._path = path;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, QuantizedTransform, brand, value);
  }

  get [brand](): true {
    return true;
  }

  get bits(): number {
    return this.quantizer.spec.bits;
  }

  apply(weight: Tensor): Tensor {
    if (this.codes) return dequantize(this.codes).reshape(this._parameter!.shape);
    return throughQuantizer(weight, this.quantizer, { mask: this.maskOf(weight) });
  }

  /**
   * False where the transforms before have made a weight 0, or null where they have not. Throws OptionError where codes could not
   * keep it 0.
   */
  maskOf(weight: Tensor): Tensor | null {
    const latent = this._parameter?.value;
    if (!latent || latent.storage === weight.storage) return null;
    const [from, to] = [latent.data, weight.data];
    const mask = new Uint8Array(to.length);
    let kept = 0;
    for (let i = 0; i < mask.length; i++) {
      mask[i] = to[i] !== 0 || from[i] === 0 ? 1 : 0;
      kept += mask[i];
    }
    if (kept === mask.length) return null;
    if (!lacksZero(this.quantizer.spec)) return wrap(mask, weight.shape, "bool");
    throw new OptionError(
      `quantize: ${show(this.quantizer.name)} has no code for the zeros of a mask, got ${mask.length - kept} of ${mask.length} weights of ${show(this._path)} masked; take another quantizer, such as ternary`,
    );
  }

  /** Fixes the codes at those of a parameter, on which this transform is, until the parameter is written. */
  freeze(parameter: Parameter): void {
    this._parameter = parameter;
    this._version = parameter.version;
    this._codes = noGrad(() => {
      let weight = parameter.value;
      for (const transform of parameter.transforms) {
        if (transform === this) break;
        weight = transform.apply(weight);
      }
      return quantizeBy(weight, this.quantizer, { mask: this.maskOf(weight) });
    });
    for (const t of [this._codes.codes, this._codes.scale, this._codes.zeroPoint]) if (t) own(t as Tensor);
  }

  /** The codes of a frozen weight, those of its present value; null before `freeze`. */
  get codes(): QTensor | null {
    if (this._codes && this._parameter!.version !== this._version) this.freeze(this._parameter!);
    return this._codes;
  }

  /** Throws StageError before it is frozen, OptionError for codes that no packed layer reads. */
  pack(): PackedWeight {
    if (!this.codes)
      throw new StageError("pack: the weights must be frozen, got live quantizers; call freeze first");
    return packedWeight(this.codes);
  }
}

/** `parametrize(model, "blocks.**.weight", quantized(bwn()))`: layers see the quantized weight, the optimizer the latent one. */
export function quantized(quantizer: Quantizer): TransformFactory {
  checkQuantizer(quantizer);
  return (parameter, path) => new QuantizedTransform(quantizer, parameter, path);
}

/** What quantizes a parameter, with its quantizer and codes; null where nothing does. */
export function quantizedTransform(parameter: Parameter): QuantizedTransform | null {
  if (!isParameter(parameter)) {
    throw new OptionError(`quantizedTransform: needs a parameter, got ${show(parameter)}`);
  }
  return parameter.transforms.find((t): t is QuantizedTransform => t instanceof QuantizedTransform) ?? null;
}

/** The codes that `freeze` fixed, where they are what a layer computes with: nothing stands behind the quantizer. Else null. */
export function frozenCodes({ transforms }: Parameter): QTensor | null {
  const last = transforms[transforms.length - 1];
  return last instanceof QuantizedTransform ? last.codes : null;
}

/** Whether a weight (out, …) has a scale for all of it, a row, or a group of a row. */
function isByRows({ granularity, axis }: QuantSpec, { length }: Shape): boolean {
  const grouped = typeof granularity === "object" && length > 1;
  const byRow = granularity === "channel" ? axis % length === 0 : grouped || length === 2;
  return granularity === "tensor" || byRow;
}

/** Whether products with the codes of an input are sums of integers, times scales. */
export function servesIntegers(codes: QTensor): boolean {
  const weight = withZeros(codes);
  return isByRows(weight.spec, weight.shape) && !weight.spec.codebook && zerosOf(weight) !== "float";
}

/** Throws OptionError for weights under `path` that no packed layer reads, as codes of a quantized input where it is `coded`. */
export function checkPackable(path: string, spec: QuantSpec, shape: Shape, coded: boolean): void {
  const { scheme, granularity, axis, zeroPoint, codebook, signed } = spec;
  if (!isByRows(spec, shape)) {
    const by = typeof granularity === "object" ? `in groups of ${granularity.group}` : `a ${granularity}`;
    throw new OptionError(
      `prepare: packed weights have a scale a tensor, a row or a group of a row, got ${scheme} codes ${by}${granularity === "channel" ? ` of axis ${axis}` : ""} for ${show(path)} of ${show(shape)}; give it another config by a rule, or what is not to be packed quantized() by parametrize`,
    );
  }
  if (zeroPoint === "float" && signed) {
    throw new OptionError(
      `prepare: packed codes with float zero points have no sign, got signed ones for ${show(path)}; use signed: false`,
    );
  }
  if (coded && (zeroPoint === "float" || (codebook && !evenLevels(spec)))) {
    throw new OptionError(
      `prepare: a quantized input needs weights of integers, got ${codebook ? "a codebook" : "float zero points"} for ${show(path)}; leave out the input`,
    );
  }
}

/** A quantized weight (out, …) as rows of packed codes, those with a zero point from 0 up. */
export function packedWeight(given: QTensor): PackedWeight {
  const weight = withZeros(given);
  const { codes, scale, spec, shape, zeroPoint } = weight;
  const { granularity, bits, qmin, codebook, scaleDtype } = spec;
  const rows = shape[0] ?? 1;
  const columns = sizeOf(shape.slice(1));
  const grouped = typeof granularity === "object";
  if (!isByRows(spec, shape) || (qmin < 0 && zerosOf(weight) === "float")) {
    throw new OptionError(
      `pack: weights need a scale a tensor, a row or a group of a row, and no sign with float zero points, got ${spec.scheme} codes of ${show(shape)}`,
    );
  }
  const signed = qmin < 0 && !zeroPoint;
  const least = zeroPoint ? qmin : 0;
  const scales = Float32Array.from(scale.data as ArrayLike<number>);
  return PackedWeight.ofCodes({
    rows,
    columns,
    bits,
    signed,
    codes: packCodes(
      least < 0 ? Uint8Array.from(codes.data, (code) => code - least) : codes.data,
      rows,
      columns,
      { bits, signed },
    ),
    scale: scales,
    group: grouped ? granularity.group : null,
    scaleType: noHalf(scales) < 0 ? scaleDtype : "float32",
    codebook: codebook && Array.from({ length: 2 ** bits }, (_, k) => codebook[k] ?? 0),
    zeroPoint: zeroPoint && Float32Array.from(zeroPoint.data, (z) => z - least),
  });
}
