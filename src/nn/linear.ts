import type { DType } from "../dtype.ts";
import { readOptions, ShapeError, show } from "../errors.ts";
import { indexSelect } from "../ops/index-ops.ts";
import { concat } from "../ops/join.ts";
import type { Rng } from "../random/rng.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank } from "./blank.ts";
import type { Hadamard } from "./hadamard.ts";
import { kaimingUniform, type RngOption, uniform } from "./init.ts";
import { inside } from "./inside.ts";
import type { LowRank } from "./low-rank.ts";
import type { InputQuantizer, PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
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

/** The inputs, rotated, and behind them once more those that `copies` names. */
function multiplied(x: Tensor, { rotation, copies }: Linear): Tensor {
  const turned = rotation ? rotation.forward(x) : x;
  return copies === null ? turned : concat([turned, indexSelect(turned, copies, { axis: -1 })], { axis: -1 });
}

/**
 * x·weightᵀ + bias: (…, in) -> (…, out), with weight (out, in), and what a `correction` adds.
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
  /** Stands in front of the product, and of the quantizer of the input. */
  rotation: Hadamard | null = null;
  /** Inputs that are multiplied once more, by a column each behind the others of the weight: int32 (k); null for none. */
  copies: Tensor | null = null;
  /**
   * A product with x that is added. Where the weight is quantized it belongs to its codes: `whileFloat` leaves both out, and
   * `unprepare` takes both off.
   */
  correction: LowRank | null = null;

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
    return this.weight.shape[1] - (this.copies?.size ?? 0);
  }

  get outFeatures(): number {
    return this.weight.shape[0];
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = multiplied(asTensor("Linear", x), this);
      const y = this.inputQuantizer
        ? this.inputQuantizer.run(x, this, (a, w) => a.linear(w), -1)
        : x.linear(this.weight.effective(), this.bias?.effective());
      return this.correction ? y.add(this.correction.forward(x)) : y;
    });
  }

  /** The input as the matrix that the weight multiplies: (…, in) -> (1, rows, in), rotated, with its copies behind. */
  inputMatrix(x: TensorLike): Tensor {
    x = asTensor("inputMatrix", x);
    if (x.shape.at(-1) !== this.inFeatures) {
      throw new ShapeError(
        `inputMatrix: needs ${this.inFeatures} features along the last axis, got ${show(x.shape)}`,
      );
    }
    return multiplied(x.reshape([1, x.size / this.inFeatures, this.inFeatures]), this);
  }

  toPacked(packer: Packer): PackedFields {
    const input = this.inputQuantizer?.toPacked() ?? null;
    const weight = packer.weight(this.weight, { ofFloats: input === null });
    const copies = this.copies && Array.from(this.copies.data, Number);
    const correction = this.correction && packer.layer(this.correction);
    const rotation = this.rotation && packer.layer(this.rotation);
    return { kind: "linear", weight, bias: packer.floats(this.bias), input, rotation, copies, correction };
  }
}
