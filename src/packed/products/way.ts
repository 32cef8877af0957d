/** Way: one way to compute a product, and the operands that all ways are given. */

import type { Output } from "../../../kernels/output.ts";
import type { PackedWeight } from "../file/weight.ts";
import { lasting } from "../values.ts";
import type { PackedInput } from "./input.ts";
import { Laid } from "./laid.ts";
import type { Fold } from "./thresholds.ts";

/** Of a product of rows `S` is their count, of a convolution its geometry. */
export interface Way<S> {
  /** Whether it computes products of such operands at all. */
  serves(of: Pick<Operands, "weight" | "input">): boolean;
  /** Writes the product of x to `out`. False, with nothing written, where it cannot now: then the next way is asked. */
  run(out: Float32Array, x: Float32Array, size: S, of: Operands): boolean;
}

/** A weight, how its input becomes codes, and what is added. */
export class Operands {
  /** For messages. */
  readonly op: string;
  readonly weight: PackedWeight;
  /** Null for float32 input. */
  readonly input: PackedInput | null;
  readonly bias: Float32Array | null;
  /** With it products of signs become bits. */
  readonly fold: Fold | null;
  readonly laid = new Laid();
  private start: Float32Array | null = null;

  constructor(
    op: string,
    weight: PackedWeight,
    input: PackedInput | null,
    bias: Float32Array | null,
    fold: Fold | null = null,
  ) {
    this.op = op;
    this.weight = weight;
    this.input = input;
    this.bias = bias;
    this.fold = fold;
  }

  /** The bias where products of floats start from it. */
  get lastingBias(): Float32Array | null {
    if (this.bias && this.start === null) {
      this.start = lasting(this.bias.length);
      this.start.set(this.bias);
    }
    return this.start;
  }

  /** Gives back what is laid on the heap; what is used again is made anew. */
  free(): void {
    this.laid.free();
  }

  /** What becomes of integer sums; `scaleX` where the input's scales do not change from call to call. */
  output(scaleX: Float32Array | null): Output {
    const { input, bias, weight, fold } = this;
    return {
      to: "float32",
      zeroX: input?.kind === "static" ? input.zeroPoint : 0,
      scaleW: weight.integerScale,
      ...(scaleX && { scaleX }),
      // A bias of 0 where there is none: a sum of −0 then becomes 0 everywhere.
      bias: bias ?? new Float32Array(weight.rows),
      ...fold,
    };
  }
}
