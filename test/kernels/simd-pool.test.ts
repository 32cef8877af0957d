import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  averageArgs,
  averageGradTolerance,
  averageTolerance,
  maxArgs,
  poolWindows,
} from "../../kernels/pool/cases.ts";
import * as reference from "../../kernels/pool/reference.ts";
import * as simd from "../../kernels/pool/simd.ts";
import { expectWithin, onHeap } from "./heap.ts";

const small = (max: number, min = 1) => fc.integer({ min, max });

const windows = fc
  .record({
    sizes: fc.record({
      n: small(2),
      c: small(2),
      h: small(9),
      w: small(24),
      kh: small(4),
      kw: small(4),
      strideH: small(3),
      strideW: small(3),
    }),
    pad: fc.tuple(small(2, 0), small(2, 0), small(2, 0), small(2, 0)),
    dilation: small(2),
    countPad: fc.boolean(),
    ceil: fc.boolean(),
  })
  .map(({ sizes, pad, dilation, countPad, ceil }) => ({
    dilated: poolWindows({ ...sizes, dilationH: dilation, dilationW: dilation }, pad, countPad, ceil),
    dense: poolWindows({ ...sizes, dilationH: 1, dilationW: 1 }, pad, countPad, ceil),
  }));

describe("SIMD pooling on the heap", () => {
  it("agrees with the reference at any geometry", () => {
    fc.assert(
      fc.property(windows, ({ dilated, dense }) => {
        const max = maxArgs(dilated);
        const places = max[0].slice();
        reference.maxPool2dIndices(places, null, max[2], dilated);
        onHeap(max, (placed: typeof max) => {
          expect(simd.maxPool2dIndices(...placed)).toBe(true);
          expect([...placed[0]]).toEqual([...places]);
        });
        const args = averageArgs(dense);
        const [out, x] = [args[0].slice(), args[1].slice()];
        reference.avgPool2d(out, args[1], dense);
        reference.avgPool2dGrad(x, args[0], dense);
        onHeap(args, (placed: typeof args) => {
          expect(simd.avgPool2dGrad(placed[1], placed[0], dense)).toBe(true);
          expectWithin(placed[1], x, averageGradTolerance(args[1], args[0], dense));
          placed[1].set(args[1]);
          expect(simd.avgPool2d(...placed)).toBe(true);
          expectWithin(placed[0], out, averageTolerance(...args));
        });
      }),
      { numRuns: 300 },
    );
  });

  it("declines other types", () => {
    const g = poolWindows(
      { n: 1, c: 1, h: 2, w: 2, kh: 2, kw: 2, strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 },
      [0, 0, 0, 0],
      true,
      false,
    );
    expect(simd.avgPool2d(new Float64Array(1), new Float64Array(4), g)).toBe(false);
    expect(simd.maxPool2dIndices(new Int32Array(1), null, new Int32Array(4), g)).toBe(false);
  });
});
