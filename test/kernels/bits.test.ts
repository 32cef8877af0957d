import { setFlagsFromString } from "node:v8";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packBits, packSigns, packTernary } from "../../kernels/bits.ts";
import { integerGemm } from "../../kernels/gemm-b1/reference.ts";
import { lookupExports, type PairKind, pairArrays } from "../../kernels/lookup/simd.ts";
import type { Output } from "../../kernels/output.ts";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { readSuite } from "../golden/case.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const cases = readSuite("exact");
const numbers = (data: readonly (number | string)[]): number[] => data.map(Number);
const builds = (["plain", "relaxed"] as const).filter((build) => lookupExports(build) !== null);

type Pack = (x: ArrayLike<number>, rows: number, n: number) => Uint8Array;
const packOnes: Pack = (x, rows, n) => packBits(x, rows, n, 1);

/** What each product takes: numbers of the operands, and how they are packed. */
const operands: Record<PairKind, [a: readonly number[], packA: Pack, w: readonly number[], packW: Pack]> = {
  differ: [[1, -1], packSigns, [1, -1], packSigns],
  both: [[0, 1], packOnes, [1, -1], packSigns],
  ternarySigns: [[1, -1], packSigns, [-1, 0, 1], packTernary],
  ternaryTernary: [[-1, 0, 1], packTernary, [-1, 0, 1], packTernary],
};
const kinds = Object.keys(operands) as PairKind[];

function product(
  build: "plain" | "relaxed",
  kind: PairKind,
  a: ArrayLike<number>,
  w: ArrayLike<number>,
  shape: { m: number; n: number; k: number },
  output?: Output,
  out: Int32Array | Uint8Array = new Int32Array(shape.m * shape.n),
): Int32Array | Uint8Array {
  const [, packA, , packW] = operands[kind];
  const { m, n, k } = shape;
  const done = pairArrays(kind, out, packA(a, m, k), packW(w, n, k), shape, output, lookupExports(build));
  expect(done, "the kernel declined").toBe(true);
  return out;
}

it("the SIMD products run here", () => {
  expect(builds).toContain("plain");
});

describe.each(builds)("products of few bits, %s", (build) => {
  const kindOf = (a: unknown, b: unknown): PairKind | null => {
    if (b === "binary") return a === "binary" ? "differ" : null;
    return a === "ternary" && b === "ternary" ? "ternaryTernary" : null;
  };
  const served = cases.filter(
    ({ op, params }) => /^(matmul_|extremes)/.test(op) && kindOf(params.a, params.b) !== null,
  );

  it.each(served.map((given) => ({ id: given.id, given })))("$id is exact", ({ given }) => {
    const { a, b } = given.inputs;
    const shape = { m: a.shape[0], n: b.shape[0], k: a.shape[1] };
    const kind = kindOf(given.params.a, given.params.b)!;
    const got = product(build, kind, numbers(a.data), numbers(b.data), shape);
    expect([...got]).toEqual(numbers(given.outputs.out.data));
  });

  it.each(cases.filter(({ op }) => op === "popcount_dot").map((given) => ({ id: given.id, given })))(
    "$id is exact",
    ({ given: { inputs, outputs } }) => {
      const { a, b } = inputs;
      const shape = { m: a.shape[0], n: b.shape[0], k: a.shape[1] };
      const dot = [...product(build, "differ", numbers(a.data), numbers(b.data), shape)];
      expect(dot).toEqual(numbers(outputs.dot.data));
      expect(dot.map((sum) => (shape.k - sum) / 2)).toEqual(numbers(outputs.xor_popcount.data));
    },
  );

  it("counts the bits of the words of exact/popcount32", () => {
    const { inputs, outputs } = cases.find(({ op }) => op === "popcount32")!;
    const words = numbers(inputs.input.data);
    const bits = words.flatMap((word) => Array.from({ length: 32 }, (_, i) => (word >>> i) & 1));
    const shape = { m: words.length, n: 1, k: 32 };
    const ones = product(build, "both", bits, new Int8Array(32).fill(1), shape);
    expect([...ones]).toEqual(numbers(outputs.out.data));
  });

  it.each(kinds)("%s equals plain loops on any operands", (kind) => {
    const [valuesA, , valuesW] = operands[kind];
    const size = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(
        size,
        size,
        fc.integer({ min: 1, max: 300 }),
        fc.infiniteStream(fc.nat(5)),
        (m, n, k, stream) => {
          const draw = (count: number, values: readonly number[]): Int8Array =>
            Int8Array.from({ length: count }, () => values[stream.next().value % values.length]);
          const [a, w] = [draw(m * k, valuesA), draw(n * k, valuesW)];
          const want = new Int32Array(m * n);
          integerGemm(want, a, w, { m, n, k });
          expect([...product(build, kind, a, w, { m, n, k })]).toEqual([...want]);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("folds batch normalisation and the next sign into a threshold, either way up", () => {
    // K 10, gamma ±0.5, beta 0.2, mean 1, deviation 2: +1 from popcount 0 to 4, or from 5 on.
    const k = 10;
    const a = Array.from({ length: 11 }, (_, p) =>
      Array.from({ length: k }, (_, i) => (i < p ? -1 : 1)),
    ).flat();
    const w = new Array<number>(2 * k).fill(1);
    // A bit of 1 is negative: the sum k − 2p is at most 0 where p is at least 5, and at least 2 where it is at most 4.
    const output: Output = {
      to: "bits",
      thresholds: Int32Array.of(0, 2),
      directions: Int8Array.of(-1, 1),
    };
    const bits = product(build, "differ", a, w, { m: 11, n: 2, k }, output, new Uint8Array(11));
    expect([...bits]).toEqual([2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]);
  });

  it("leaves nothing on the heap", () => {
    const run = (): void => {
      product(build, "differ", new Int8Array(640).fill(1), new Int8Array(640).fill(-1), {
        m: 10,
        n: 10,
        k: 64,
      });
    };
    run();
    const before = heapUse().bytes;
    run();
    expect(heapUse().bytes).toBe(before);
  });
});
