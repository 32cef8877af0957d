/** The convolution of a packed layer, by the first of the ways that serves its operands. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { PackedWeight } from "../file/weight.ts";
import { room } from "../values.ts";
import { convFloats } from "./conv-floats.ts";
import { convIntegers } from "./conv-integers.ts";
import { convSigns } from "./conv-signs.ts";
import { convWindows } from "./conv-windows.ts";
import type { PackedInput } from "./input.ts";
import { checkSums } from "./sums.ts";
import { Operands, runFirst, type Way } from "./way.ts";

/** The fastest first. The last of those that serve an operand can always run. */
const ways: readonly Way<ConvGeometry>[] = [convSigns, convIntegers, convWindows, convFloats];

/** Images times filters, which are rows of the weight; padding counts as 0. */
export class Convolution {
  readonly operands: Operands;
  private readonly ways: readonly Way<ConvGeometry>[];

  /** Throws what `checkSums` does. */
  constructor(weight: PackedWeight, input: PackedInput | null, bias: Float32Array | null) {
    if (input !== null) checkSums("conv2d", weight, input);
    this.operands = new Operands("conv2d", weight, input, bias);
    this.ways = ways.filter((way) => way.serves(this.operands));
  }

  /** (n, o, oh, ow) of images (n, c, h, w). */
  run(x: Float32Array, g: ConvGeometry): Float32Array {
    const out = room(g.n * g.o * g.oh * g.ow);
    runFirst(this.ways, out, x, g, this.operands);
    return out;
  }

  /** Gives back what it holds of the SIMD heap. */
  dispose(): void {
    this.operands.free();
  }
}
