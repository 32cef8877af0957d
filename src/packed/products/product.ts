/** The product of a packed layer, by the first of the ways that serves its operands. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { PackedWeight } from "../file/weight.ts";
import { room } from "../values.ts";
import { convFloats } from "./conv-floats.ts";
import { convIntegers } from "./conv-integers.ts";
import { convSigns } from "./conv-signs.ts";
import { convWindows } from "./conv-windows.ts";
import { floats } from "./floats.ts";
import type { PackedInput } from "./input.ts";
import { integers } from "./integers.ts";
import { lookup } from "./lookup.ts";
import { mixedConv, mixedRows } from "./mixed.ts";
import { signs } from "./signs.ts";
import { checkSums } from "./sums.ts";
import { Operands, type Way } from "./way.ts";
import { weightOnly } from "./weight-only.ts";

// The fastest first. The last of those that serve an operand can always run.

const rowCodes: readonly Way<number>[] = [signs, lookup, integers];
const convCodes: readonly Way<ConvGeometry>[] = [convSigns, convIntegers, convWindows];

/** x·weightᵀ + bias for rows of x. */
export const rowWays: readonly Way<number>[] = [mixedRows(rowCodes), ...rowCodes, weightOnly, floats];
/** Images times filters, which are rows of the weight; padding counts as 0. */
export const convWays: readonly Way<ConvGeometry>[] = [mixedConv(convCodes), ...convCodes, convFloats];

export class Product<S> extends Operands {
  private readonly ways: readonly Way<S>[];

  /** Throws what `checkSums` does. */
  constructor(
    ways: readonly Way<S>[],
    op: string,
    weight: PackedWeight,
    input: PackedInput | null,
    bias: Float32Array | null,
  ) {
    super(op, weight, input, bias);
    if (input !== null) checkSums(op, weight, input);
    this.ways = ways.filter((way) => way.serves(this));
  }

  /** The `length` numbers that the product of x is. */
  run(x: Float32Array, size: S, length: number): Float32Array {
    const out = room(length);
    if (length > 0) this.ways.find((way) => way.run(out, x, size, this));
    return out;
  }
}
