import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  attentionArgs,
  attentionTolerance,
  type BackwardArgs,
  backward,
  backwardArgs,
  backwardTolerance,
  type ForwardArgs,
  forward,
} from "../../kernels/attention/cases.ts";
import { attention as reference, attentionGrad as referenceGrad } from "../../kernels/attention/reference.ts";
import { attention, attentionExports, attentionGrad } from "../../kernels/attention/simd.ts";
import { alloc, free, heapUse, view } from "../../kernels/wasm/heap.ts";
import { exhausted, expectWithin, onHeap } from "./heap.ts";

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
