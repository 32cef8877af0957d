/** What convolutions of bits are tried on: channels around bytes, strides, dilation, groups, each padding and output. */

import { packBits, packedBytes } from "../bits.ts";
import { convGeometry } from "../conv/cases.ts";
import type { ConvGeometry } from "../conv/reference.ts";
import { codes, outputOf } from "../gemm-b1/cases.ts";
import { type Output, type OutputArray, outputStride } from "../output.ts";
import type { Padding } from "./reference.ts";

export type BitConvArgs = [
  out: OutputArray,
  x: Uint8Array,
  w: Uint8Array,
  geometry: ConvGeometry,
  padding: Padding,
  output: Output,
];

const arrays = {
  int32: Int32Array,
  float32: Float32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bits: Uint8Array,
} as const;

export function bitConvArgs(g: ConvGeometry, padding: Padding, output: Output, seed: number): BitConvArgs {
  const channels = g.c / g.groups;
  const windows = g.n * g.oh * g.ow;
  const row = output.to === "bits" ? g.groups * packedBytes(g.o / g.groups, 1) : outputStride(output.to, g.o);
  const pixels = g.n * g.h * g.w * g.groups;
  const taps = g.o * g.kh * g.kw;
  return [
    // One element more shows a write outside.
    new arrays[output.to](windows * row + 1).fill(output.to === "bits" ? 0 : 7),
    packBits(codes(pixels, channels, 2, seed), pixels, channels, 1),
    packBits(codes(taps, channels, 2, seed + 1), taps, channels, 1),
    g,
    padding,
    output,
  ];
}

const base = { n: 2, c: 8, h: 6, w: 7, o: 5, groups: 1, kh: 3, kw: 3 };
const steps = { strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 };

export function* bitConvCases(): Generator<BitConvArgs> {
  let turn = 0;
  const at = (sizes: Partial<ConvGeometry>, pad: readonly [number, number, number, number]): BitConvArgs => {
    turn++;
    const g = convGeometry({ ...base, ...steps, ...sizes }, pad);
    const output = outputOf(turn % 2 === 0 ? 0 : turn >> 1, g.n * g.oh * g.ow, g.o);
    return bitConvArgs(g, ([-1, 0, 1] as const)[turn % 3], output, turn);
  };
  for (const [c, o, groups] of [
    [1, 1, 1],
    [7, 16, 1],
    [9, 33, 1],
    [16, 17, 1],
    [18, 6, 2],
    [24, 72, 3],
    [5, 5, 5],
  ])
    for (const w of [1, 2, 3, 6, 9]) {
      for (let i = 0; i < 3; i++) yield at({ c, o, groups, w }, [1, 1, 1, 1]);
      yield at({ c, o, groups, w, kh: 1, kw: 1 }, [0, 0, 0, 0]);
      yield at({ c, o, groups, w, kh: 1, kw: 1, strideH: 2, strideW: 2 }, [0, 0, 0, 0]);
      yield at({ c, o, groups, w: w + 3, strideW: 2, dilationH: 2 }, [2, 0, 1, 3]);
      yield at({ c, o, groups, w, kw: 4, strideH: 3, strideW: 3, dilationW: 2 }, [0, 5, 2, 4]);
      yield at({ c, o, groups, w, kh: 2, kw: 2, strideH: 2 }, [0, 1, 1, 0]);
    }
  yield at({ n: 0 }, [0, 0, 0, 0]);
  yield at({ o: 0 }, [0, 0, 0, 0]);
  yield at({ h: 2, w: 2 }, [0, 0, 0, 0]);
  yield at({ h: 2, w: 2 }, [5, 6, 7, 5]);
  yield at({ n: 1, c: 64, o: 64, h: 20, w: 19 }, [1, 1, 1, 1]);
  yield at({ n: 1, c: 256, o: 40, h: 30, w: 31 }, [1, 1, 1, 1]);
}
