import type { DType } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import type { Rng } from "../random/rng.ts";
import { sameShape, sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank } from "./blank.ts";
import { kaimingUniform, type RngOption, uniform } from "./init.ts";
import { packedInput, ranByCodes } from "./input-quantizer.ts";
import { inside } from "./inside.ts";
import { isLayer, type Layer } from "./layer.ts";
import type { InputQuantizer, PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
import { applied } from "./sequential.ts";
import { checkFloat, checkSizes } from "./sizes.ts";

export interface LinearOptions extends RngOption {
  bias: boolean;
  dtype: DType;
}

/** A weight and a bias drawn as PyTorch's Linear and Conv draw them: both uniform in ±1/√fanIn. */
export function weightAndBias(
  op: string,
  shape: readonly number[],
  { bias, dtype, rng }: LinearOptions,
  outputs = shape[0],
): { weight: Parameter; bias: Parameter | null } {
  checkFloat(op, dtype);
  const weight = kaimingUniform(new Parameter(blank(shape, dtype)), { a: Math.sqrt(5), rng });
  if (!bias) return { weight, bias: null };
  const bound = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1));
  return {
    weight,
    bias: uniform(new Parameter(blank([outputs], dtype)), { low: -bound, high: bound, rng }),
  };
}

/** A layer that stands in front of a product: (…, features) -> (…, columns), in any number of axes. */
export interface InputStep extends Layer {
  /** How many features it takes, where it does not give as many: `inFeatures` of the layer is told by it. */
  readonly features?: number;
  forward(x: Tensor): Tensor;
}

/** A layer whose result, of the shape of a product, is added to it: (…, columns of its weight) -> (…, out). */
export interface Correction extends Layer {
  forward(x: Tensor): Tensor;
}

/** Throws OptionError for what is no layer; functions have no packed form and no path. */
function checkLayer(op: string, name: string, layer: unknown): void {
  if (isLayer(layer)) return;
  const mend = typeof layer === "function" ? "; put functions into a Sequential" : "";
  throw new OptionError(`${op}: ${name} must be a layer, got ${show(layer)}${mend}`);
}

/** The steps in front of a product. Throws OptionError where one is no layer. */
export function stepsOf(op: string, { inputSteps }: { readonly inputSteps: unknown }): readonly InputStep[] {
  if (!Array.isArray(inputSteps))
    throw new OptionError(`${op}: inputSteps must be a list of layers, got ${show(inputSteps)}`);
  for (const [i, step] of inputSteps.entries()) checkLayer(op, `inputSteps.${i}`, step);
  return inputSteps;
}

/** What the steps make of x. Throws OptionError where one gives no tensor. */
const stepped = (op: string, layer: Linear, x: Tensor): Tensor =>
  stepsOf(op, layer).reduce((given, step, i) => applied(op, layer, `inputSteps.${i}`, step, given), x);

/**
 * What the correction makes of x. Throws ShapeError where that has another shape than the product y, and OptionError where
 * it is no layer or gives no tensor.
 */
function correctionOf(layer: Linear, correction: Correction, x: Tensor, y: Tensor): Tensor {
  checkLayer("Linear", "correction", correction);
  const added = applied("Linear", layer, "correction", correction, x);
  if (sameShape(added.shape, y.shape)) return added;
  throw new ShapeError(`Linear: the correction must give ${show(y.shape)}, got ${show(added.shape)}`);
}

/**
 * x·weightᵀ + bias: (…, in) -> (…, out), with weight (out, in). What methods that quantize put around the product are
 * layers: `inputSteps` make of x what the weight multiplies, then (out, columns), and a `correction` is added. Their numbers
 * are saved, cloned, trained and packed as those of other layers are.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 *
 * const layer = new Linear(4, 2);
 * console.log(layer.forward(zeros([3, 4])).shape, layer.weight.shape); // [3, 2] [2, 4]
 * ```
 */
export class Linear {
  weight: Parameter;
  bias: Parameter | null;
  /** Makes codes of the input, where it is quantized. */
  inputQuantizer: InputQuantizer | null = null;
  /**
   * One after another, in front of the product and of the quantizer of the input, such as a `Hadamard` or `CopyFeatures`.
   */
  inputSteps: InputStep[] = [];
  /**
   * What it makes of the input behind these steps is added, as by `LowRank`. Where the weight is quantized it belongs to its
   * codes: `whileFloat` leaves both out, and `unprepare` takes both off.
   */
  correction: Correction | null = null;

  constructor(inFeatures: number, outFeatures: number, options?: Partial<LinearOptions>) {
    checkSizes("Linear", { inFeatures, outFeatures });
    const settings = readOptions<LinearOptions>("Linear", options, {
      bias: true,
      dtype: "float32",
      rng: null as Rng | null,
    });
    const drawn = weightAndBias("Linear", [outFeatures, inFeatures], settings);
    this.weight = drawn.weight;
    this.bias = drawn.bias;
  }

  get inFeatures(): number {
    const steps = stepsOf("inFeatures", this);
    return steps.reduceRight((columns, { features }) => features ?? columns, this.weight.shape[1]);
  }

  get outFeatures(): number {
    return this.weight.shape[0];
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = stepped("Linear", this, asTensor("Linear", x));
      const y =
        ranByCodes("Linear", this, x, (a, w) => a.linear(w), -1) ??
        x.linear(this.weight.effective(), this.bias?.effective());
      return this.correction ? y.add(correctionOf(this, this.correction, x, y)) : y;
    });
  }

  /** The input as the matrix that the weight multiplies, behind the input steps: (…, in) -> (1, rows, columns). */
  inputMatrix(x: TensorLike): Tensor {
    const given = stepped("inputMatrix", this, asTensor("inputMatrix", x));
    const columns = this.weight.shape[1];
    if (given.shape.at(-1) !== columns) {
      throw new ShapeError(
        `inputMatrix: needs ${columns} features along the last axis, got ${show(given.shape)}`,
      );
    }
    return given.reshape([1, sizeOf(given.shape.slice(0, -1)), columns]);
  }

  toPacked(packer: Packer): PackedFields {
    const input = packedInput(this);
    const weight = packer.weight(this.weight, { ofFloats: input === null });
    const inputSteps = stepsOf("pack", this).map((step) => packer.layer(step));
    const correction = this.correction && packer.layer(this.correction);
    return { kind: "linear", weight, bias: packer.floats(this.bias), input, inputSteps, correction };
  }
}
