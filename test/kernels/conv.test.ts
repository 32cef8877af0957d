import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ConvGeometry,
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  fold,
  unfold,
} from "../../kernels/conv/reference.ts";
import { dot, expectClose, values } from "./check.ts";

/** The definition of conv2d; asking it for every product gives the gradients too. */
function eachProduct(g: ConvGeometry, visit: (out: number, x: number, w: number) => void): void {
  const channels = g.c / g.groups;
  const filters = g.o / g.groups;
  for (let n = 0; n < g.n; n++)
    for (let o = 0; o < g.o; o++)
      for (let oy = 0; oy < g.oh; oy++)
        for (let ox = 0; ox < g.ow; ox++)
          for (let c = 0; c < channels; c++)
            for (let i = 0; i < g.kh; i++)
              for (let j = 0; j < g.kw; j++) {
                const iy = oy * g.strideH - g.padTop + i * g.dilationH;
                const ix = ox * g.strideW - g.padLeft + j * g.dilationW;
                if (iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) continue;
                const channel = Math.floor(o / filters) * channels + c;
                visit(
                  ((n * g.o + o) * g.oh + oy) * g.ow + ox,
                  ((n * g.c + channel) * g.h + iy) * g.w + ix,
                  ((o * channels + c) * g.kh + i) * g.kw + j,
                );
              }
}

function expectDefinition(g: ConvGeometry): void {
  const x = values(g.n * g.c * g.h * g.w, 1);
  const w = values((g.o * g.c * g.kh * g.kw) / g.groups, 2);
  const dOut = values(g.n * g.o * g.oh * g.ow, 3);
  const out = new Float64Array(dOut.length);
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(w.length);
  eachProduct(g, (at, xi, wi) => {
    out[at] += x[xi] * w[wi];
    dx[xi] += dOut[at] * w[wi];
    dw[wi] += dOut[at] * x[xi];
  });
  const got = [out, dx, dw].map((array) => new Float64Array(array.length).fill(9));
  conv2d(got[0], x, w, g);
  conv2dInputGrad(got[1], dOut, w, g);
  conv2dWeightGrad(got[2], x, dOut, g);
  expectClose(got[0], out);
  expectClose(got[1], dx);
  expectClose(got[2], dw);
}

const reach = (size: number, pad: number, dilation: number, kernel: number, stride: number): number =>
  Math.max(0, Math.floor((size + pad - dilation * (kernel - 1) - 1) / stride) + 1);

const small = (max: number, min = 1) => fc.integer({ min, max });

const geometries = fc
  .record({
    n: small(3),
    groups: small(3),
    channels: small(3),
    filters: small(3),
    h: small(9),
    w: small(9),
    kh: small(4),
    kw: small(4),
    strideH: small(3),
    strideW: small(3),
    padTop: small(3, 0),
    padBottom: small(3, 0),
    padLeft: small(3, 0),
    padRight: small(3, 0),
    dilationH: small(3),
    dilationW: small(3),
  })
  .map(({ channels, filters, padBottom, padRight, ...g }) => ({
    ...g,
    c: channels * g.groups,
    o: filters * g.groups,
    oh: reach(g.h, g.padTop + padBottom, g.dilationH, g.kh, g.strideH),
    ow: reach(g.w, g.padLeft + padRight, g.dilationW, g.kw, g.strideW),
  }));

const plain: ConvGeometry = {
  n: 2,
  c: 3,
  h: 6,
  w: 5,
  o: 4,
  kh: 3,
  kw: 3,
  oh: 6,
  ow: 5,
  strideH: 1,
  strideW: 1,
  padTop: 1,
  padLeft: 1,
  dilationH: 1,
  dilationW: 1,
  groups: 1,
};

describe("conv2d", () => {
  it("and its gradients equal the definition for random strides, padding, dilation and groups", () => {
    fc.assert(fc.property(geometries, expectDefinition), { numRuns: 300 });
  });

  it("and its gradients equal the definition for 1 x 1 filters, which skip the columns", () => {
    const pointwise = { ...plain, kh: 1, kw: 1, padTop: 0, padLeft: 0 };
    expectDefinition(pointwise);
    expectDefinition({ ...pointwise, c: 4, groups: 2 });
    expectDefinition({ ...pointwise, strideH: 2, oh: 3 });
    expectDefinition({ ...pointwise, oh: 4 });
  });

  it("and its gradients equal the definition for depthwise filters with a multiplier", () => {
    expectDefinition({ ...plain, c: 4, groups: 4, o: 8, strideW: 2, ow: 3 });
  });

  it("takes zero sizes: no images, no channels, no filters, no windows", () => {
    for (const empty of [{ n: 0 }, { c: 0 }, { o: 0 }, { oh: 0 }, { c: 0, o: 0, groups: 1 }])
      expectDefinition({ ...plain, ...empty });
  });

  it("rounds a float32 result once from the double sum", () => {
    const x = Float32Array.from(values(2 * 3 * 30, 1));
    const w = Float32Array.from(values(4 * 27, 2));
    const single = new Float32Array(2 * 4 * 30);
    const double = new Float64Array(single.length);
    conv2d(single, x, w, plain);
    conv2d(double, Float64Array.from(x), Float64Array.from(w), plain);
    expect(single).toEqual(Float32Array.from(double));
  });
});

describe("unfold", () => {
  it("puts tap (c, i, j) of window l at row c·kh·kw + i·kw + j, column l, and fold is its adjoint", () => {
    fc.assert(
      fc.property(geometries, (g) => {
        const x = values(g.n * g.c * g.h * g.w, 1);
        const taps = g.c * g.kh * g.kw;
        const want = new Float64Array(g.n * taps * g.oh * g.ow);
        eachProduct({ ...g, o: 1, groups: 1 }, (at, xi, wi) => {
          const image = Math.floor(at / (g.oh * g.ow));
          want[(image * taps + wi) * g.oh * g.ow + (at % (g.oh * g.ow))] = x[xi];
        });
        const got = new Float64Array(want.length).fill(9);
        unfold(got, x, g);
        expect(got).toEqual(want);
        const u = values(want.length, 2);
        const folded = new Float64Array(x.length).fill(9);
        fold(folded, u, g);
        expectClose([dot(folded, x)], [dot(u, got)]);
      }),
    );
  });
});
