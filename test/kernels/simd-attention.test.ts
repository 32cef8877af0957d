import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  attentionArgs,
  attentionTolerance,
  type BackwardArgs,
  backward,
  backwardArgs,
  backwardTolerance,
  besides,
  type ForwardArgs,
  forward,
} from "../../kernels/attention/cases.ts";
import {
  type AttentionSizes,
  layoutOf,
  attention as reference,
  attentionGrad as referenceGrad,
} from "../../kernels/attention/reference.ts";
import { attention, attentionCode, attentionExports, attentionGrad } from "../../kernels/attention/simd.ts";
import { alloc, free, heapUse, view } from "../../kernels/wasm/heap.ts";
import type { FloatArray } from "../../src/dtype.ts";
import { exhausted, expectWithin, onHeap } from "./heap.ts";

/** An operand that lies as `beside` says, from one whose heads lie one behind the other. */
function moved(
  x: Float32Array,
  sizes: AttentionSizes,
  name: "q" | "k" | "v" | "out",
  beside: AttentionSizes["beside"],
): Float32Array {
  const [from, to] = [layoutOf(sizes)[name], layoutOf({ ...sizes, beside })[name]];
  const { b, h, hkv, tq, tk } = sizes;
  const [heads, rows] = name === "q" || name === "out" ? [h, tq] : [hkv, tk];
  const result = new Float32Array(x.length);
  for (let batch = 0; batch < b; batch++)
    for (let head = 0; head < heads; head++)
      for (let row = 0; row < rows; row++) {
        const start = batch * from.batch + head * from.head + row * from.row;
        const at = batch * to.batch + head * to.head + row * to.row;
        result.set(x.subarray(start, start + from.row), at);
      }
  return result;
}

const expectSame = (got: FloatArray, want: FloatArray): void =>
  expect(got.findIndex((x, i) => !Object.is(x, want[i]))).toBe(-1);

const geometry = fc.record({
  b: fc.integer({ min: 1, max: 2 }),
  hkv: fc.integer({ min: 1, max: 2 }),
  share: fc.integer({ min: 1, max: 3 }),
  tq: fc.integer({ min: 1, max: 70 }),
  tk: fc.integer({ min: 1, max: 70 }),
  d: fc.integer({ min: 1, max: 20 }),
  dv: fc.integer({ min: 1, max: 20 }),
  causal: fc.boolean(),
  form: fc.integer({ min: 0, max: 5 }),
  hides: fc.boolean(),
});

describe("SIMD attention on the heap", () => {
  it("stays within the bound of the reference at any geometry, forward and backward", () => {
    fc.assert(
      fc.property(geometry, ({ share, causal, form, hides, ...sizes }) => {
        const args = attentionArgs({ ...sizes, h: sizes.hkv * share }, causal, form, hides);
        onHeap(args, (placed: ForwardArgs) => {
          const want: ForwardArgs = [new Float32Array(args[0].length), ...(args.slice(1) as never)] as never;
          forward(reference)(...want);
          forward((...given) => expect(attention(...given)).toBe(true))(...placed);
          expectWithin(placed[0], want[0], attentionTolerance(...args));
        });
        const back = backwardArgs(...args);
        onHeap(back, (placed: BackwardArgs) => {
          const want: BackwardArgs = [new Float32Array(back[0].length), ...(back.slice(1) as never)] as never;
          backward(referenceGrad)(...want);
          backward((...given) => expect(attentionGrad(...given)).toBe(true))(...placed);
          expectWithin(placed[0], want[0], backwardTolerance(...back));
        });
      }),
      { numRuns: 60 },
    );
  });

  it("gives the same bits for heads side by side as one behind the other, but for heads of one feature", () => {
    const builds = (["plain", "relaxed"] as const)
      .map((name) => attentionCode(name))
      .filter((code) => code !== null);
    for (const beside of besides)
      for (const [tq, tk, d, dv] of [
        [1, 9, 8, 5],
        [3, 5, 2, 2],
        [33, 34, 9, 2],
        [40, 300, 3, 6],
        [65, 70, 16, 12],
        [20, 300, 260, 5],
      ])
        for (const hkv of [4, 2]) {
          const sizes = { b: tk > 100 ? 1 : 2, h: 4, hkv, tq, tk, d, dv };
          const wide = { ...sizes, beside };
          const lie = (["q", "k", "v"] as const).map((name) => [name, layoutOf(wide)[name]] as const);
          const args = attentionArgs(sizes, true, tq % 6);
          const back = backwardArgs(...args);
          const [, q, k, v, , options] = args;
          const [, dOut, , , , out, lse] = back;
          const [wq, wk, wv] = [q, k, v].map((x, i) => moved(x, sizes, lie[i][0], beside));
          const [wOut, wdOut] = [out, dOut].map((x) => moved(x, sizes, "out", beside));
          for (const code of builds) {
            const [to, wTo] = [out, out].map((x) => new Float32Array(x.length));
            const [sums, wSums] = [lse, lse].map((x) => new Float64Array(x.length));
            attention(to, sums, q, k, v, sizes, options, code);
            attention(wTo, wSums, wq, wk, wv, wide, options, code);
            expectSame(wTo, moved(to, sizes, "out", beside));
            expectSame(wSums, sums);
            const grads = [q, k, v].map((x) => new Float32Array(x.length));
            const wGrads = [q, k, v].map((x) => new Float32Array(x.length));
            const [dq, dk, dv] = grads;
            attentionGrad(dq, dk, dv, dOut, q, k, v, out, lse, sizes, options, code);
            const [wdq, wdk, wdv] = wGrads;
            attentionGrad(wdq, wdk, wdv, wdOut, wq, wk, wv, wOut, lse, wide, options, code);
            wGrads.forEach((grad, i) => {
              expectSame(grad, moved(grads[i], sizes, lie[i][0], beside));
            });
          }
        }
  });

  it("declines other types and a heap that is exhausted, writing nothing and keeping nothing", () => {
    const [out, q, k, v, sizes, options] = attentionArgs(
      { b: 1, h: 1, hkv: 1, tq: 4000, tk: 4000, d: 8, dv: 8 },
      false,
      0,
    );
    const lse = new Float64Array(4000);
    expect(attention(Float64Array.from(out), lse, q, k, v, sizes, options)).toBe(false);
    const { bytes, reserved } = heapUse();
    const before = out.slice();
    // More than what is reserved: as many copies as it takes.
    const large = { ...sizes, b: Math.ceil(reserved / (4000 * 8 * 4)) };
    const many = (x: Float32Array): Float32Array => new Float32Array(x.length * large.b);
    const lses = new Float64Array(4000 * large.b);
    exhausted(() => expect(attention(many(q), lses, many(q), many(k), many(v), large, options)).toBe(false));
    expect(out).toEqual(before);
    expect(lses.every((x) => x === 0)).toBe(true);
    expect(heapUse().bytes).toBe(bytes);
  });

  it("takes exp within 3e-7 of its value, 0 below the normal numbers, and keeps NaN", () => {
    for (const build of ["plain", "relaxed"] as const) {
      const exports = attentionExports(build);
      if (exports === null) continue;
      const n = 40_000;
      const address = alloc((n + 16) * 4);
      const norm = view("float32", address, 1).fill(0);
      const x = view("float32", address + 64, n);
      x.forEach((_, i) => {
        x[i] = -87.3 + (i * 175) / n;
      });
      x.set([-3e38, -88, Number.NaN, 0, -0]);
      const given = x.slice();
      exports.probabilities(x.byteOffset, n, 1, n, n, 0, 1, 0, 0, 0, norm.byteOffset);
      expect([...x.subarray(0, 5)]).toEqual([0, 0, Number.NaN, 1, 1]);
      for (let i = 5; i < n; i++) {
        const want = Math.exp(given[i]);
        if (!(Math.abs(x[i] - want) <= 3e-7 * want)) expect.fail(`exp(${given[i]}): ${x[i]}, want ${want}`);
      }
      free(address);
    }
  });
});
