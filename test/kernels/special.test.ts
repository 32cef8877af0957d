import { describe, expect, it } from "vitest";
import { erf, erfinv, roundEven, sigmoid, softplus } from "../../kernels/elementwise/special.ts";
import { expectClose } from "./check.ts";

describe("erf", () => {
  it("has the published values in each of its ranges", () => {
    // Abramowitz and Stegun, table 7.1, and the tail 1 − erfc(x).
    const table = [
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [1.2, 0.9103139782296354],
      [2, 0.9953222650189527],
      [3, 0.9999779095030014],
    ];
    for (const [x, y] of table) {
      expectClose([erf(x)], [y], 2e-16);
      expect(erf(-x)).toBe(-erf(x));
    }
    expect([erf(0), erf(7), erf(Number.NEGATIVE_INFINITY)]).toEqual([0, 1, -1]);
    expect(erf(Number.NaN)).toBeNaN();
  });

  it("equals the integral of the Gaussian by Simpson's rule", () => {
    const gauss = (t: number) => (2 / Math.sqrt(Math.PI)) * Math.exp(-t * t);
    const got: number[] = [];
    const want: number[] = [];
    let sum = 0;
    const h = 1 / 512;
    for (let i = 0; i < 4 * 512; i++) {
      sum += (h / 6) * (gauss(i * h) + 4 * gauss((i + 0.5) * h) + gauss((i + 1) * h));
      got.push(erf((i + 1) * h));
      want.push(sum);
    }
    expectClose(got, want, 1e-12);
  });

  it("is undone by erfinv", () => {
    for (let y = -0.999; y < 1; y += 0.037) expectClose([erf(erfinv(y))], [y], 4e-16);
    expect([erfinv(1), erfinv(-1), erfinv(0)]).toEqual([
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      0,
    ]);
    expect(erfinv(1.01)).toBeNaN();
  });
});

describe("roundEven", () => {
  it("rounds halves to even and keeps the sign of zero", () => {
    const given = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, -0.2, -0, 2 ** 53 - 1, -3.7];
    const wanted = [0, 2, 2, -0, -2, -2, 0, -0, -0, 2 ** 53 - 1, -4];
    expect(given.map(roundEven)).toEqual(wanted);
    expect(roundEven(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
    expect(roundEven(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
    expect(roundEven(Number.NaN)).toBeNaN();
  });
});

describe("sigmoid and softplus", () => {
  it("neither overflow nor lose small values", () => {
    expect([sigmoid(0), sigmoid(800), sigmoid(-800)]).toEqual([0.5, 1, 0]);
    expectClose([sigmoid(-40)], [Math.exp(-40)], 1e-30);
    expect([softplus(0), softplus(800), softplus(-800)]).toEqual([Math.LN2, 800, 0]);
    expectClose([softplus(-40)], [Math.exp(-40)], 1e-30);
  });
});
