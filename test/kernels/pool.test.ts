import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { avgPool2d, avgPool2dGrad, maxPool2dIndices } from "../../kernels/pool/reference.ts";
import { dot, expectClose, values } from "./check.ts";

const small = (max: number, min = 1) => fc.integer({ min, max });

/** Windows that all start on a pixel or in the padding before it, some reaching past the padding as in ceil mode. */
const geometries = fc
  .record({
    n: small(2),
    c: small(2),
    h: small(8),
    w: small(8),
    kh: small(4),
    kw: small(4),
    strideH: small(3),
    strideW: small(3),
    padTop: small(2, 0),
    padLeft: small(2, 0),
    padBottom: small(2, 0),
    padRight: small(2, 0),
    dilationH: small(3),
    dilationW: small(3),
    countIncludePad: fc.boolean(),
  })
  .map((g) => ({
    ...g,
    oh: Math.ceil((g.h + g.padTop) / g.strideH),
    ow: Math.ceil((g.w + g.padLeft) / g.strideW),
  }));

describe("maxPool2dIndices", () => {
  it("names the first maximum of each dilated window and never the padding", () => {
    fc.assert(
      fc.property(geometries, fc.boolean(), (g, ties) => {
        const x = values(g.n * g.c * g.h * g.w, 1).map((v) => (ties ? Math.floor(3 * v) : v - 2));
        const got = new Int32Array(g.n * g.c * g.oh * g.ow);
        maxPool2dIndices(got, null, x, g);
        const want = got.map((_, at) => {
          const ox = at % g.ow;
          const oy = Math.floor(at / g.ow) % g.oh;
          const plane = Math.floor(at / (g.oh * g.ow)) * g.h * g.w;
          const pixels: number[] = [];
          for (let i = 0; i < g.kh; i++)
            for (let j = 0; j < g.kw; j++) {
              const iy = oy * g.strideH - g.padTop + i * g.dilationH;
              const ix = ox * g.strideW - g.padLeft + j * g.dilationW;
              if (iy >= 0 && iy < g.h && ix >= 0 && ix < g.w) pixels.push(iy * g.w + ix);
            }
          const max = Math.max(...pixels.map((p) => x[plane + p]));
          return pixels.find((p) => x[plane + p] === max) ?? -1;
        });
        expect(got).toEqual(want);
      }),
    );
  });

  it("lets NaN win and finds the maximum of a window of −Infinity", () => {
    const line = {
      ...{ n: 1, c: 1, h: 1, w: 6, kh: 1, kw: 3, oh: 1, ow: 2, strideH: 1, strideW: 3 },
      ...{ padTop: 0, padLeft: 0, dilationH: 1, dilationW: 1 },
    };
    const low = Number.NEGATIVE_INFINITY;
    const indices = new Int32Array(2);
    maxPool2dIndices(indices, null, Float32Array.of(5, Number.NaN, 9, low, low, low), line);
    expect(Array.from(indices)).toEqual([1, 3]);
  });
});

describe("avgPool2d", () => {
  it("divides each window's sum as PyTorch does, and avgPool2dGrad is its adjoint", () => {
    fc.assert(
      fc.property(geometries, (g) => {
        const x = values(g.n * g.c * g.h * g.w, 1);
        const want = new Float64Array(g.n * g.c * g.oh * g.ow).map((_, at) => {
          const ox = at % g.ow;
          const oy = Math.floor(at / g.ow) % g.oh;
          const plane = Math.floor(at / (g.oh * g.ow)) * g.h * g.w;
          let sum = 0;
          let pixels = 0;
          let padded = 0;
          for (let iy = oy * g.strideH - g.padTop, i = 0; i < g.kh; i++, iy++)
            for (let ix = ox * g.strideW - g.padLeft, j = 0; j < g.kw; j++, ix++) {
              if (iy < g.h + g.padBottom && ix < g.w + g.padRight) padded++;
              if (iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) continue;
              pixels++;
              sum += x[plane + iy * g.w + ix];
            }
          return pixels === 0 ? 0 : sum / (g.countIncludePad ? padded : pixels);
        });
        const got = new Float64Array(want.length);
        avgPool2d(got, x, g);
        expectClose(got, want);
        const u = values(want.length, 2);
        const dx = new Float64Array(x.length).fill(9);
        avgPool2dGrad(dx, u, g);
        expectClose([dot(dx, x)], [dot(u, got)]);
      }),
    );
  });
});
