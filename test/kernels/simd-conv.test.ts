import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConvArgs, convArgs, convGeometry, convTolerance } from "../../kernels/conv/cases.ts";
import * as reference from "../../kernels/conv/reference.ts";
import * as simd from "../../kernels/conv/simd.ts";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { expectWithin, onHeap } from "./heap.ts";

const small = (max: number, min = 1) => fc.integer({ min, max });

const geometry = fc
  .record({
    sizes: fc.record({
      n: small(2),
      h: small(12),
      w: small(20),
      kh: small(4),
      kw: small(4),
      strideH: small(3),
      strideW: small(3),
      dilationH: small(3),
      dilationW: small(3),
    }),
    groups: small(4),
    channels: small(3),
    filters: small(5),
    pad: fc.tuple(small(4, 0), small(4, 0), small(4, 0), small(4, 0)),
  })
  .map(({ sizes, groups, channels, filters, pad }) =>
    convGeometry({ ...sizes, groups, c: groups * channels, o: groups * filters }, pad),
  );

const directions = [
  ["forward", reference.conv2d, simd.conv2d],
  ["input", reference.conv2dInputGrad, simd.conv2dInputGrad],
  ["weight", reference.conv2dWeightGrad, simd.conv2dWeightGrad],
] as const;

describe("SIMD convolution on the heap", () => {
  for (const [direction, definition, fast] of directions)
    it(`stays within the bound of the reference at any geometry: ${direction}`, () => {
      const before = heapUse().bytes;
      fc.assert(
        fc.property(geometry, (g) => {
          const args = convArgs(g, direction);
          const want = args[0].slice();
          definition(want, args[1], args[2], g);
          onHeap(args, (placed: ConvArgs) => {
            expect(fast(...placed)).toBe(true);
            expectWithin(placed[0], want, convTolerance(definition, direction)(...args));
          });
        }),
        { numRuns: 200 },
      );
      // What stays is the products' own scratch.
      expect(heapUse().bytes - before).toBeLessThan(2 ** 20);
    });

  it("declines arrays of other types and leaves them alone", () => {
    const [out, x, w, g] = convArgs(
      convGeometry(
        {
          n: 1,
          c: 1,
          h: 3,
          w: 3,
          o: 1,
          groups: 1,
          kh: 3,
          kw: 3,
          strideH: 1,
          strideW: 1,
          dilationH: 1,
          dilationW: 1,
        },
        [0, 0, 0, 0],
      ),
      "forward",
    );
    const doubles = Float64Array.from(out);
    expect(simd.conv2d(doubles, x, w, g)).toBe(false);
    expect(doubles).toEqual(Float64Array.from(out));
  });
});
