/** The product of a packed layer, by the first of the ways that serves its operands. */

import type { PackedWeight } from "../file/weight.ts";
import { room, work } from "../values.ts";
import { floats } from "./floats.ts";
import type { PackedInput } from "./input.ts";
import { integers } from "./integers.ts";
import { lookup } from "./lookup.ts";
import { signs } from "./signs.ts";
import { checkSums } from "./sums.ts";
import { Operands, runFirst, type Way } from "./way.ts";
import { weightOnly } from "./weight-only.ts";

/** The fastest first. The last of those that serve an operand can always run. */
const ways: readonly Way<number>[] = [signs, lookup, integers, weightOnly, floats];

/** out = x·weightᵀ + bias for rows of x. */
export class Product {
  readonly operands: Operands;
  private readonly ways: readonly Way<number>[];

  /** Throws what `checkSums` does. */
  constructor(op: string, weight: PackedWeight, input: PackedInput | null, bias: Float32Array | null) {
    if (input !== null) checkSums(op, weight, input);
    this.operands = new Operands(op, weight, input, bias);
    this.ways = ways.filter((way) => way.serves(this.operands));
  }

  /** (m, rows) of x (m, columns). */
  run(x: Float32Array, m: number): Float32Array {
    const { rows: n, columns: k } = this.operands.weight;
    const out = room(m * n);
    if (out.length === 0) return out;
    work(m * n * k);
    runFirst(this.ways, out, x, m, this.operands);
    return out;
  }

  /** Gives back what it holds of the SIMD heap. */
  dispose(): void {
    this.operands.free();
  }
}
