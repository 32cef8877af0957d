import { setFlagsFromString } from "node:v8";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { floatArgs, floatTolerance } from "../../kernels/gemm-i4/cases.ts";
import { gemmFloat as reference } from "../../kernels/gemm-i4/reference.ts";
import { floatExports, prepareFloat, gemmFloat as simd } from "../../kernels/gemm-i4/simd.ts";
import { heapUse } from "../../kernels/wasm/heap.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const anyCase = fc.record({
  m: fc.integer({ min: 1, max: 12 }),
  n: fc.integer({ min: 1, max: 20 }),
  k: fc.integer({ min: 1, max: 300 }),
  bits: fc.integer({ min: 1, max: 8 }),
  unsignedWeights: fc.boolean(),
  zeros: fc.boolean(),
  halves: fc.boolean(),
  offsets: fc.boolean(),
  group: fc.constantFrom(undefined, 3, 10, 16, 32, 48),
  bias: fc.boolean(),
  codebook: fc.boolean(),
  spread: fc.constantFrom("near" as const, "far", "sparse", "huge", "tiny"),
  seed: fc.nat(1e6),
});

describe.each(["plain", "relaxed"] as const)("weight-only products, %s", (build) => {
  const exports = floatExports(build);

  it.skipIf(exports === null)("are within the bound of the reference in any shape and width", () => {
    fc.assert(
      fc.property(anyCase, (given) => {
        const args = floatArgs({ ...given, codebook: given.codebook && given.bits <= 4 });
        const [want, got] = [args[0].slice(), args[0].slice()];
        reference(want, args[1], args[2], args[3]);
        expect(simd(got, args[1], args[2], args[3], exports)).toBe(true);
        const bound = floatTolerance(...args);
        expect(got.findIndex((value, i) => !(Math.abs(value - want[i]) <= bound[i]))).toBe(-1);
      }),
      { numRuns: 300 },
    );
  });

  it.skipIf(exports === null)("keep the smallest activations where the largest meet zeros", () => {
    const k = 256;
    const x = new Float32Array(k).fill(1e-9);
    x[7] = 1e9;
    const codes = new Int8Array(k).fill(3);
    codes[7] = 0;
    const out = new Float32Array(1);
    expect(simd(out, x, { n: 1, k, bits: 4, codes, scale: Float32Array.of(1) }, { m: 1 }, exports)).toBe(
      true,
    );
    expect(Math.abs(out[0] / (255 * 3e-9) - 1)).toBeLessThan(1e-4);
  });

  it.skipIf(exports === null)("let NaN and infinities through", () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      const x = new Float32Array(128).fill(1);
      x[100] = value;
      const out = new Float32Array(1);
      const weights = { n: 1, k: 128, bits: 4, codes: new Int8Array(128).fill(2), scale: Float32Array.of(1) };
      expect(simd(out, x, weights, { m: 1 }, exports)).toBe(true);
      expect(out[0]).toBe(value);
    }
  });
});

it("weight-only layers give their blocks back", () => {
  const [, , weights] = floatArgs({ m: 1, n: 9, k: 64, bits: 4, group: 32, zeros: true });
  const { bytes } = heapUse();
  const layer = prepareFloat(weights, new Float32Array(9));
  expect(heapUse().bytes).toBeGreaterThan(bytes);
  layer!.free();
  expect(heapUse().bytes).toBe(bytes);
  const ragged = prepareFloat({ ...weights, group: 10, scale: new Float32Array(9 * 7) });
  expect(ragged).toMatchObject({ groups: 7 });
  ragged!.free();
});
