/** Hadamard: a random rotation of features that costs n·log n, in front of a product. */

import { hadamard, powerOfTwoIn } from "../../kernels/linalg/hadamard.ts";
import { isFloat } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { defineOp, type Op } from "../ops/op.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { asTensor, type Tensor, type TensorLike, tensor } from "../tensor.ts";
import type { RngOption } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
import { checkSizes } from "./sizes.ts";
import { signs as signStore } from "./store.ts";

export interface HadamardOptions extends RngOption {
  /** Features that are transformed together, a power of two; default: the largest that divides all of them. */
  block: number | null;
  /** Whether features are first multiplied by random signs, so that numbers that are all alike do not become one spike. */
  signs: boolean;
}

/** 1 and −1, drawn with equal chances. */
export function randomSigns(count: number, rng: Rng | null): Int8Array {
  const drawn = new Uint8Array(count);
  (rng ?? defaultRng()).fillBernoulli(drawn, 0.5);
  return Int8Array.from(drawn, (bit) => 1 - 2 * bit);
}

/** x·H/√block over the last axis, block by block; the matrix is symmetric, so that it is its own gradient. */
const transform: Op<[x: Tensor], { block: number }, Tensor> = defineOp<[x: Tensor], { block: number }>(
  "hadamard",
  {
    options: { block: 1 },
    arity: 1,
    writesAll: true,
    shape: ([x]) => x,
    dtype: ([x]) => (isFloat(x.dtype) ? x.dtype : "float32"),
    forward(out, [x], { block }) {
      const piece = new Float64Array(block);
      for (let from = 0; from < out.length; from += block) {
        for (let i = 0; i < block; i++) piece[i] = Number(x.data[from + i]);
        hadamard(piece, block);
        out.set(piece, from);
      }
    },
    vjp: (grad, _, { block }) => [transform(grad, { block })],
  },
);

/**
 * A random Hadamard transform of the features, (…, C) -> (…, C): x times random signs, then block by block times the
 * Walsh–Hadamard matrix in Sylvester's order over √block. It is orthogonal, and spreads what is large in one feature over
 * all of its block, so that few bits serve rows with outliers better. Among the `inputSteps` of a linear layer it stands in
 * front of the product and of the quantizer of the input, and the weight is multiplied by it too; in front of projections
 * of low bits that are trained with it: Wang et al., 2025, arXiv:2504.18415. Sums are in double precision. Ashkboos et al.,
 * 2024, arXiv:2404.00456. Throws OptionError for a block that is no power of two or does not divide the features.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { Hadamard } from "bitgrad/nn";
 *
 * const layer = new Hadamard(4, { signs: false });
 * console.log(layer.forward(tensor([[0, 0, 6, 0]])).toArray()); // [[3, 3, -3, -3]]
 * console.log(new Hadamard(12).block); // 4
 * ```
 */
export class Hadamard {
  readonly features: number;
  readonly block: number;
  /** 1 or −1 per feature: int8 (C); null for none. */
  signs: Tensor | null;

  constructor(features: number, options?: Partial<HadamardOptions>) {
    checkSizes("Hadamard", { features });
    const read = readOptions<HadamardOptions>("Hadamard", options, { block: null, signs: true, rng: null });
    const most = powerOfTwoIn(features);
    this.block = read.block ?? most;
    if (!Number.isSafeInteger(this.block) || this.block < 1 || most % this.block !== 0) {
      throw new OptionError(
        `Hadamard: block must be a power of two that divides the features, got ${show(this.block)} for ${features}`,
      );
    }
    this.features = features;
    this.signs = read.signs ? tensor(randomSigns(features, read.rng), { dtype: "int8" }) : null;
  }

  /** Throws ShapeError where x does not end in as many features. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("Hadamard", x);
      const { features, block, signs } = this;
      if (x.shape.at(-1) !== features)
        throw new ShapeError(`Hadamard: x must end in ${features} features, got ${show(x.shape)}`);
      return transform(signs ? x.mul(signs) : x, { block });
    });
  }

  toPacked(packer: Packer): PackedFields {
    const { features, block } = this;
    const kept =
      this.signs &&
      new Parameter(tensor(Float32Array.from(this.signs.data, Number), { shape: [1, features] }), {
        store: signStore,
      });
    return { kind: "hadamard", features, block, signs: kept && packer.weight(kept) };
  }
}
