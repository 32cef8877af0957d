import { readOptions } from "../errors.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank } from "./blank.ts";
import { kaimingUniform, type RngOption, zeros } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
import { checkSizes } from "./sizes.ts";

/**
 * (x·aᵀ)·bᵀ: (…, in) -> (…, out), with a (rank, in) and b (out, rank): a product with a matrix of low rank. As the
 * `correction` of a linear layer it makes up for what a quantized weight has lost, or adapts a frozen one. Drawn as LoRA
 * draws it, a as PyTorch's Linear and b of zeros, so that it gives 0 at first. Hu et al., 2021, arXiv:2106.09685.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 * import { Linear, LowRank, namedParameters } from "bitgrad/nn";
 *
 * const layer = new Linear(8, 4);
 * layer.correction = new LowRank(8, 4, 2);
 * console.log(layer.forward(ones([3, 8])).shape); // [3, 4]
 * console.log(namedParameters(layer).map(([name]) => name));
 * // ["weight", "bias", "correction.a", "correction.b"]
 * ```
 */
export class LowRank {
  a: Parameter;
  b: Parameter;

  constructor(inFeatures: number, outFeatures: number, rank: number, options?: Partial<RngOption>) {
    checkSizes("LowRank", { inFeatures, outFeatures, rank });
    const { rng } = readOptions<RngOption>("LowRank", options, { rng: null });
    this.a = kaimingUniform(new Parameter(blank([rank, inFeatures])), { a: Math.sqrt(5), rng });
    this.b = zeros(new Parameter(blank([outFeatures, rank])));
  }

  get rank(): number {
    return this.a.shape[0];
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => asTensor("LowRank", x).linear(this.a.effective()).linear(this.b.effective()));
  }

  toPacked(packer: Packer): PackedFields {
    const product = (parameter: Parameter): PackedFields => ({
      kind: "linear",
      weight: packer.weight(parameter, { ofFloats: true }),
      bias: null,
      input: null,
    });
    return packer.sequence(product(this.a), product(this.b));
  }
}
