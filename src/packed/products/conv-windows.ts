/** Convolution of codes with filters whose codes have scales by groups: windows times filters, as rows are multiplied. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { convByRows } from "../../../kernels/conv-i8/rows.ts";
import { PackedWeight, scalesPerRow } from "../file/weight.ts";
import { bitRoom, codeRoom, room, scaleRoom } from "../values.ts";
import { codesOf } from "./input.ts";
import { multiplyCodes } from "./integers.ts";
import { Operands, type Way } from "./way.ts";

/** Codes of windows that are laid out at once. */
const mostCodes = 2 ** 18;

export const convWindows: Way<ConvGeometry> = {
  serves: ({ input }) => input !== null,

  run(out, x, g, of) {
    const { input, weight, laid, op } = of;
    const { codes, scale, zeroPoint } = codesOf(op, x, g.n, g.c * g.h * g.w, input!);
    const filters = g.o / g.groups;
    const count = Math.max(1, Math.min(g.oh * g.ow, Math.floor(mostCodes / weight.columns)));
    const rows = (codes instanceof Int8Array ? codeRoom : bitRoom)(count * weight.columns);
    const each = input!.kind === "dynamic" ? scaleRoom(count) : null;
    convByRows(out, codes, g, zeroPoint, rows, room(count * filters), (sums, from, m, image, group) => {
      each?.fill(scale![image]);
      const some = laid.get(`group ${group}`, () => filtersOf(of, group * filters, filters))!;
      multiplyCodes(sums, { codes: from, zeroPoint, scale: each ?? scale }, m, some);
    });
    return true;
  },
};

/** Rows first … first + count − 1 of the weight, whose input is the same. */
function filtersOf({ op, weight, input, bias }: Operands, first: number, count: number): Operands {
  const { codes, scale, zeroPoint } = weight.coded!;
  const part = <A extends Uint8Array | Float32Array>(x: A, step: number): A =>
    x.subarray(first * step, (first + count) * step) as A;
  const scales = scalesPerRow(weight.coded!);
  // One that all rows share stays as it is.
  const own = (x: Float32Array): Float32Array => (scales === 0 ? x : part(x, scales));
  const some = PackedWeight.ofCodes({
    ...weight.coded!,
    rows: count,
    codes: part(codes, codes.length / weight.rows),
    scale: own(scale),
    zeroPoint: zeroPoint && own(zeroPoint),
  });
  return new Operands(op, some, input, bias && part(bias, 1));
}
