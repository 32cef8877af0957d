import { setFlagsFromString } from "node:v8";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { intArgs } from "../../kernels/gemm-i8/cases.ts";
import { layOut, panelBytes } from "../../kernels/gemm-i8/layout.ts";
import { gemmInt as reference } from "../../kernels/gemm-i8/reference.ts";
import { gemmIntHeap, intExports, prepareInt, gemmInt as simd } from "../../kernels/gemm-i8/simd.ts";
import { heapUse, setHeapBudget } from "../../kernels/wasm/heap.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const anyCase = fc.record({
  m: fc.integer({ min: 1, max: 12 }),
  n: fc.integer({ min: 1, max: 20 }),
  k: fc.integer({ min: 1, max: 150 }),
  bits: fc.integer({ min: 1, max: 8 }),
  unsigned: fc.boolean(),
  unsignedWeights: fc.boolean(),
  zeros: fc.boolean(),
  halves: fc.boolean(),
  zeroX: fc.constantFrom(0, 1, 128, -128, 255),
  to: fc.constantFrom("int32" as const, "float32", "int8", "uint8", "bits"),
  scaled: fc.boolean(),
  seed: fc.nat(1e6),
});

describe.each(["plain", "relaxed"] as const)("integer products, %s", (build) => {
  const exports = intExports(build);

  it.skipIf(exports === null)("equal the reference in any shape, width and output", () => {
    fc.assert(
      fc.property(anyCase, fc.constantFrom(undefined, 16, 32, 48), (given, group) => {
        const grouped = group !== undefined && group < given.k;
        const args = intArgs({ ...given, ...(grouped && { group, to: "float32" }) });
        const [want, got] = [args[0].slice(), args[0].slice()];
        reference(want, args[1], args[2], args[3], args[4]);
        expect(simd(got, args[1], args[2], args[3], args[4], exports)).toBe(true);
        expect(got.findIndex((value, i) => value !== want[i])).toBe(-1);
      }),
      { numRuns: 300 },
    );
  });
});

describe("weights on the heap", () => {
  it("take their bits, rows rounded up to 16 codes", () => {
    for (let bits = 1; bits <= 8; bits++)
      for (const k of [1, 16, 17, 1000]) {
        const weights = { n: 16, k, bits, codes: new Uint8Array(16 * k) };
        expect(panelBytes(weights) / 16 - Math.ceil((k * bits) / 8)).toBeLessThanOrEqual(16);
      }
  });

  it("hold each bit of each code in a place of its own", () => {
    const [n, k] = [9, 33];
    for (let bits = 1; bits <= 8; bits++) {
      const seen = new Set<string>();
      for (let at = 0; at < n * k; at++)
        for (let bit = 0; bit < bits; bit++) {
          const weights = { n, k, bits, codes: new Uint8Array(n * k) };
          weights.codes[at] = 1 << bit;
          const bytes = new Uint8Array(panelBytes(weights));
          layOut(bytes, weights);
          const set = [...bytes.entries()].filter(([, byte]) => byte !== 0);
          expect(set).toHaveLength(1);
          seen.add(set.toString());
        }
      expect(seen.size).toBe(n * k * bits);
    }
  });

  it("take groups of any length", () => {
    for (const group of [1, 8, 10, 24]) {
      const [, , weights, , output] = intArgs({ m: 2, n: 3, k: 40, bits: 4, group, to: "float32" });
      const layer = prepareInt(weights, output, false);
      expect(layer).toMatchObject({ groups: Math.ceil(40 / group) });
      layer?.free();
    }
  });

  it("are all given back, also where the heap has no room", () => {
    const [, x, weights, , output] = intArgs({ m: 2, n: 64, k: 4096, bits: 8, to: "float32", scaled: true });
    const before = heapUse();
    prepareInt(weights, output, x instanceof Uint8Array)?.free();
    expect(heapUse().bytes).toBe(before.bytes);
    setHeapBudget(heapUse().reserved);
    try {
      const n = Math.ceil(heapUse().reserved / 4096);
      const many = { ...weights, n, codes: new Int8Array(n * 4096) };
      expect(prepareInt(many, { to: "int32" }, false)).toBeNull();
      expect(heapUse().bytes).toBe(before.bytes);
    } finally {
      setHeapBudget(before.budget);
    }
  });
});

describe("a layer on the heap", () => {
  it("declines where SIMD cannot run", () => {
    const [, , weights, , output] = intArgs({ m: 1, n: 3, k: 5, bits: 8 });
    const layer = prepareInt(weights, output, false);
    expect(layer).not.toBeNull();
    expect(gemmIntHeap(layer!, 0, 0, 1, undefined, null)).toBe(false);
    layer!.free();
  });
});
