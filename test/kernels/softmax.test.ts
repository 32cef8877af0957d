import { describe, expect, it } from "vitest";
import { logSoftmax, logSoftmaxGrad, softmax, softmaxGrad } from "../../kernels/softmax/reference.ts";
import { dot, expectClose, numericGrad, values } from "./check.ts";

const inf = Number.POSITIVE_INFINITY;
const sizes = [1, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65];

describe("softmax", () => {
  it("equals exp(x) over its sum along the middle axis, and logSoftmax is its logarithm", () => {
    for (const n of sizes)
      for (const inner of [1, 3]) {
        const x = values(2 * n * inner, n);
        const want = new Float64Array(x.length);
        for (let o = 0; o < 2; o++)
          for (let j = 0; j < inner; j++) {
            const at = Array.from({ length: n }, (_, k) => (o * n + k) * inner + j);
            const sum = at.reduce((total, i) => total + Math.exp(x[i]), 0);
            for (const i of at) want[i] = Math.exp(x[i]) / sum;
          }
        const got = new Float64Array(x.length);
        softmax(got, x, { outer: 2, n, inner });
        expectClose(got, want);
        logSoftmax(got, x, { outer: 2, n, inner });
        expectClose(got, want.map(Math.log));
      }
  });

  it("does not overflow where exp would", () => {
    const out = new Float64Array(2);
    softmax(out, Float64Array.of(1000, 1000), { outer: 1, n: 2, inner: 1 });
    expect(Array.from(out)).toEqual([0.5, 0.5]);
    logSoftmax(out, Float64Array.of(-1e5, 0), { outer: 1, n: 2, inner: 1 });
    expect(Array.from(out)).toEqual([-1e5, 0]);
  });

  it("gives hidden elements probability 0, and NaN to rows of −Infinity, with +Infinity or with NaN", () => {
    const x = Float32Array.of(-inf, 0, -inf, -inf, inf, 0, Number.NaN, 0);
    const out = new Float32Array(8);
    const nan = Number.NaN;
    softmax(out, x, { outer: 4, n: 2, inner: 1 });
    expect(Array.from(out)).toEqual([0, 1, nan, nan, nan, nan, nan, nan]);
    logSoftmax(out, x, { outer: 4, n: 2, inner: 1 });
    expect(Array.from(out)).toEqual([-inf, 0, nan, nan, nan, nan, nan, nan]);
  });

  it("takes zero sizes and its own input as output", () => {
    for (const size of [
      { outer: 0, n: 3, inner: 2 },
      { outer: 3, n: 0, inner: 2 },
      { outer: 3, n: 2, inner: 0 },
    ])
      for (const f of [softmax, logSoftmax])
        expect(() => f(new Float32Array(0), new Float32Array(0), size)).not.toThrow();
    const x = values(12, 1);
    const apart = new Float64Array(12);
    softmax(apart, x, { outer: 3, n: 4, inner: 1 });
    softmax(x, x, { outer: 3, n: 4, inner: 1 });
    expect(x).toEqual(apart);
  });

  for (const [name, forward, backward] of [
    ["softmax", softmax, softmaxGrad],
    ["logSoftmax", logSoftmax, logSoftmaxGrad],
  ] as const)
    it(`${name} has the gradient that central differences give`, () => {
      const size = { outer: 2, n: 5, inner: 3 };
      const x = values(30, 1);
      const dOut = values(30, 2);
      const out = new Float64Array(30);
      const numeric = numericGrad(() => {
        forward(out, x, size);
        return dot(out, dOut);
      }, x);
      forward(out, x, size);
      const dx = new Float64Array(30);
      backward(dx, dOut, out, size);
      expectClose(dx, numeric, 1e-8);
    });
});
