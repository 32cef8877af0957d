/**
 * Convolution of codes with filters whose codes have scales by groups: windows are laid out as rows, some at once, and multiplied
 * by the filters as rows are.
 */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { PackedWeight, scalesPerRow } from "../file/weight.ts";
import { codeRoom, room, scaleRoom } from "../values.ts";
import { codesOf } from "./input.ts";
import { multiplyCodes } from "./integers.ts";
import { Operands, type Way } from "./way.ts";

/** Codes of windows that are laid out at once. */
const mostCodes = 2 ** 18;

export const convWindows: Way<ConvGeometry> = {
  serves: ({ input }) => input !== null,

  run(out, x, g, of) {
    const images = codesOf(of.op, x, g.n, g.c * g.h * g.w, of.input!);
    const windows = g.oh * g.ow;
    const [filters, k] = [g.o / g.groups, of.weight.columns];
    const count = Math.max(1, Math.min(windows, Math.floor(mostCodes / k)));
    const signed = codeRoom(count * k);
    const rows =
      images.codes instanceof Int8Array
        ? signed
        : new Uint8Array(signed.buffer, signed.byteOffset, signed.length);
    const scales = of.input!.kind === "dynamic" ? scaleRoom(count) : images.scale;
    const sums = room(count * filters);
    for (let group = 0; group < g.groups; group++) {
      const some = of.laid.get(`group ${group}`, () => filtersOf(of, group, filters));
      for (let image = 0; image < g.n; image++) {
        if (of.input!.kind === "dynamic") scales!.fill(images.scale![image]);
        const plane = (image * g.o + group * filters) * windows;
        for (let first = 0; first < windows; first += count) {
          const m = Math.min(count, windows - first);
          layWindows(rows, images.codes, g, image, group, first, m, images.zeroPoint);
          multiplyCodes(sums.subarray(0, m * filters), { ...images, codes: rows, scale: scales }, m, some!);
          for (let f = 0; f < filters; f++)
            for (let i = 0; i < m; i++) out[plane + f * windows + first + i] = sums[i * filters + f];
        }
      }
    }
    return true;
  },
};

/** What the filters of a group of channels are multiplied as. */
function filtersOf({ op, weight, input, bias }: Operands, group: number, count: number): Operands {
  const { coded, columns } = weight;
  const { codes, scale, zeroPoint } = coded!;
  const each = scalesPerRow(coded!);
  const part = <A extends Uint8Array | Float32Array>(x: A, step: number): A =>
    x.subarray(group * count * step, (group + 1) * count * step) as A;
  const some = PackedWeight.ofCodes({
    ...coded!,
    rows: count,
    columns,
    codes: part(codes, codes.length / weight.rows),
    scale: part(scale, each),
    zeroPoint: zeroPoint && part(zeroPoint, each),
  });
  return new Operands(op, some, input, bias && part(bias, 1));
}

/** Windows first … first + count − 1 of an image as rows of codes, those of padding `zero`. */
function layWindows(
  rows: Int8Array | Uint8Array,
  x: Int8Array | Uint8Array,
  g: ConvGeometry,
  image: number,
  group: number,
  first: number,
  count: number,
  zero: number,
): void {
  const { c, h, w, kh, kw, ow, groups } = g;
  const channels = c / groups;
  let to = 0;
  for (let i = first; i < first + count; i++) {
    const top = Math.floor(i / ow) * g.strideH - g.padTop;
    const left = (i % ow) * g.strideW - g.padLeft;
    for (let q = 0; q < channels; q++) {
      const plane = (image * c + group * channels + q) * h;
      for (let ty = 0; ty < kh; ty++) {
        const row = top + ty * g.dilationH;
        for (let tx = 0; tx < kw; tx++, to++) {
          const column = left + tx * g.dilationW;
          const inside = row >= 0 && row < h && column >= 0 && column < w;
          rows[to] = inside ? x[(plane + row) * w + column] : zero;
        }
      }
    }
  }
}
