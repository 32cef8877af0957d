/** What convolutions of codes are tried on: channels around the vectors, filters, strides, dilation, padding, groups, outputs. */

import { convGeometry } from "../conv/cases.ts";
import type { ConvGeometry } from "../conv/reference.ts";
import { intArgs } from "../gemm-i8/cases.ts";
import type { Activations } from "../gemm-i8/reference.ts";
import type { OutputArray } from "../output.ts";
import type { ConvOutput, Filters } from "./reference.ts";

export type ConvIntArgs = [
  out: OutputArray,
  x: Activations,
  filters: Filters,
  geometry: ConvGeometry,
  output: ConvOutput,
];

export interface ConvIntCase {
  bits?: number;
  unsigned?: boolean;
  unsignedWeights?: boolean;
  zeros?: boolean;
  halves?: boolean;
  /** Every code at the end of its range. */
  extreme?: boolean;
  to?: ConvOutput["to"];
  zeroX?: number;
  /** Scales, a bias and bounds; with "one" a single scale of the filters. */
  scaled?: boolean | "one";
  /** Scales of images, not of all of them. */
  images?: boolean;
  seed?: number;
}

/** The arguments of a case; one element more than the output shows a write outside. */
export function convIntArgs(g: ConvGeometry, c: ConvIntCase): ConvIntArgs {
  const { bits = 8, to = "int32", scaled = false, images = false, ...rest } = c;
  // The operands of the product (n pixels, c) · (o, terms), whatever their sizes.
  const of = (m: number, n: number, k: number) =>
    intArgs({ m, n, k, bits, to, scaled: scaled !== false, seed: m + 31 * n + 17 * k, ...rest });
  const [, x] = of(g.n * g.h * g.w, 0, g.c);
  const [out, , { codes, zeros, halves }] = of(0, g.o, (g.c / g.groups) * g.kh * g.kw);
  const [, , , , output] = of(1, g.o, 1);
  const size = g.n * g.o * g.oh * g.ow + 1;
  const room = new (out.constructor as Float32ArrayConstructor)(size).fill(7);
  const scaleW = scaled === "one" ? output.scaleW?.slice(0, 1) : output.scaleW;
  // One scale for all images, or one each.
  const scaleX = output.scaleX && images ? of(g.n, 1, 1)[4].scaleX : output.scaleX;
  return [room, x, { codes, bits, zeros, halves }, g, { ...output, scaleW, scaleX, to }];
}

const base = { n: 2, c: 8, h: 6, w: 7, o: 5, groups: 1, kh: 3, kw: 3 };
const steps = { strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 };
const outputs = ["int32", "float32", "int8", "uint8"] as const;

export function* convIntCases(): Generator<ConvIntArgs> {
  let turn = 0;
  const at = (
    sizes: Partial<ConvGeometry>,
    pad: readonly [number, number, number, number] = [0, 0, 0, 0],
    given: ConvIntCase = {},
  ): ConvIntArgs => {
    turn++;
    const unsigned = turn % 2 === 1;
    // The zero points at both ends of the range among them.
    const zeroX = unsigned ? [0, 255, 117][turn % 3] : [0, -128, 127, -5][turn % 4];
    const g = convGeometry({ ...base, ...steps, ...sizes }, pad);
    const scaled = turn % 8 === 4 ? "one" : turn % 8 !== 7;
    const form = { bits: [8, 4, 1, 8, 2, 3][turn % 6], to: outputs[turn % 4], scaled } as const;
    return convIntArgs(g, {
      unsigned,
      zeroX,
      unsignedWeights: turn % 7 === 1,
      zeros: turn % 5 === 3,
      halves: turn % 2 === 0,
      images: turn % 3 > 0,
      ...form,
      seed: turn,
      ...given,
    });
  };
  for (const [c, o, groups] of [
    [1, 1, 1],
    [1, 16, 1],
    [3, 7, 1],
    [7, 8, 1],
    [16, 17, 1],
    [17, 9, 1],
    [33, 6, 1],
    [18, 6, 2],
    [24, 27, 3],
    [5, 5, 5],
    [3, 6, 3],
    [17, 17, 17],
  ])
    for (const w of [1, 2, 4, 7, 8, 13]) {
      yield at({ c, o, groups, w }, [1, 1, 1, 1]);
      yield at({ c, o, groups, w }, [1, 1, 1, 1]);
      yield at({ c, o, groups, w, kh: 1, kw: 1 });
      yield at({ c, o, groups, w: w + 2, kh: 1, kw: 1, strideH: 2, strideW: 2 });
      yield at({ c, o, groups, w: w + 4, h: 7, kh: 5, kw: 5 }, [2, 2, 2, 2]);
      yield at({ c, o, groups, w: w + 6, h: 3, kh: 1, kw: 7 }, [0, 3, 0, 3]);
      yield at({ c, o, groups, w: w + 3, strideW: 2, dilationH: 2 }, [2, 0, 1, 3]);
      yield at({ c, o, groups, w, h: 11, kw: 4, strideH: 3, strideW: 3, dilationW: 2 }, [0, 5, 2, 4]);
      yield at({ c, o, groups, w, kh: 2, kw: 2, strideH: 2 }, [0, 1, 1, 0]);
    }
  // Every width of codes, and all codes at the ends of their ranges: −128 · −128 and 255 · −128.
  for (const groups of [1, 12])
    for (let bits = 1; bits <= 8; bits++)
      for (const unsigned of [false, true]) {
        const sizes = { c: 12, o: 12, groups };
        yield at(sizes, [1, 1, 1, 1], { bits, unsigned, zeroX: 0 });
        yield at(sizes, [1, 0, 0, 2], { bits, unsigned, zeroX: 0, unsignedWeights: true });
        yield at(sizes, [1, 1, 1, 1], { bits, unsigned, extreme: true, zeroX: 0, to: "int32" });
        yield at(sizes, [1, 1, 1, 1], {
          bits,
          unsigned,
          extreme: true,
          zeroX: unsigned ? 0 : 127,
          to: "int32",
        });
      }
  for (const groups of [1, 8])
    for (const to of outputs) {
      yield at({ n: 0, groups }, [0, 0, 0, 0], { to });
      yield at({ o: 0, groups }, [0, 0, 0, 0], { to });
      yield at({ h: 2, w: 2, groups, o: 8 }, [0, 0, 0, 0], { to });
      yield at({ h: 2, w: 2, groups, o: 8 }, [5, 6, 7, 5], { to });
      yield at({ n: 5, h: 3, w: 3, groups, o: 16 }, [1, 1, 1, 1], { to });
    }
  // More windows, rows and images than are done at once.
  yield at({ n: 1, c: 64, o: 64, h: 20, w: 19 }, [1, 1, 1, 1], { bits: 8 });
  yield at({ n: 70, c: 8, o: 9, h: 3, w: 3 }, [1, 1, 1, 1], { bits: 8 });
  yield at({ n: 1, c: 40, o: 8, h: 40, w: 41 }, [1, 1, 1, 1], { bits: 4 });
  yield at({ n: 1, c: 33, o: 9, h: 2, w: 1030 }, [1, 1, 1, 1], { bits: 8 });
  yield at({ n: 1, c: 2, o: 4, groups: 2, h: 70, w: 90 }, [1, 1, 1, 1], { bits: 8 });
  yield at({ n: 1, c: 2, o: 2, groups: 2, h: 3, w: 4000 }, [1, 1, 1, 1], { bits: 8 });
}
