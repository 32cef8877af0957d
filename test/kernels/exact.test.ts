import { setFlagsFromString } from "node:v8";
import { describe, expect, it } from "vitest";
import { type Activations, gemmInt as reference } from "../../kernels/gemm-i8/reference.ts";
import { intExports, gemmInt as simd } from "../../kernels/gemm-i8/simd.ts";
import { writeOutput } from "../../kernels/output.ts";
import { type Case, readSuite } from "../golden/case.ts";
import { expectSummary } from "../golden/summary.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const cases = readSuite("exact");
const numbers = (data: readonly (number | string)[]): number[] => data.map(Number);

/** The bits that hold each kind of code. */
const widths: Readonly<Record<string, number>> = {
  int8: 8,
  uint8: 8,
  int4: 4,
  uint4: 4,
  int2: 2,
  ternary: 2,
  binary: 1,
};

type Product = (
  out: Int32Array,
  ...args: Parameters<typeof reference> extends [unknown, ...infer R] ? R : never
) => void;

const products: [name: string, product: Product][] = [["reference", reference]];
for (const build of ["plain", "relaxed"] as const) {
  const exports = intExports(build);
  if (exports !== null)
    products.push([
      build,
      (...args) => void expect(simd(...args, exports), "the kernel declined").toBe(true),
    ]);
}

function activations(data: readonly number[], kind: unknown): Activations {
  return String(kind).startsWith("u") ? Uint8Array.from(data) : Int8Array.from(data);
}

/** a @ bᵀ of a case, by one product. */
function run(given: Case, product: Product): Int32Array {
  const { params, inputs } = given;
  const [a, b] = [inputs.a, inputs.b];
  const [m, k] = a.shape;
  const n = b.shape[0];
  const bits = widths[String(params.b)];
  const codes = numbers(b.data);
  const zeroW = Number(params.b_zero_point ?? 0);
  // A zero point of signed codes is one of unsigned codes, both 2^(bits−1) more.
  const weights =
    zeroW === 0
      ? { n, k, bits, codes: Int8Array.from(codes) }
      : {
          n,
          k,
          bits,
          codes: Uint8Array.from(codes, (code) => code + 128),
          zeros: new Uint8Array(n).fill(zeroW + 128),
        };
  const out = new Int32Array(m * n);
  product(
    out,
    activations(numbers(a.data), params.a),
    weights,
    { m },
    {
      to: "int32",
      zeroX: Number(params.a_zero_point ?? 0),
    },
  );
  return out;
}

describe.each(products)("integer products, %s", (_, product) => {
  const matmuls = cases.filter(({ op }) => /^(matmul_.*|extremes|zero_points)$/.test(op));

  it.each(matmuls.map((given) => ({ id: given.id, given })))("$id is exact", ({ given }) => {
    expect([...run(given, product)]).toEqual(numbers(given.outputs.out.data));
  });

  it.each(cases.filter(({ op }) => op === "large_matmul").map((given) => ({ id: given.id, given })))(
    "$id is exact",
    ({ given }) => {
      const { m, n, k, a, b } = given.params as Record<"m" | "n" | "k", number> &
        Record<"a" | "b", { mul: number; add: number; m: number }>;
      const value = (f: typeof a, i: number): number => ((i * f.mul + f.add) % f.m) - Math.floor(f.m / 2);
      const x = Int8Array.from({ length: m * k }, (_, i) => value(a, i));
      // The case has b as (k, n).
      const codes = Int8Array.from({ length: n * k }, (_, i) => value(b, (i % k) * n + Math.floor(i / k)));
      const out = new Int32Array(m * n);
      product(out, x, { n, k, bits: 8, codes }, { m }, { to: "int32" });
      expectSummary(given, out, [m, n]);
    },
  );
});

describe("requantization", () => {
  it.each(cases.filter(({ op }) => op === "requantize").map((given) => ({ id: given.id, given })))(
    "$id is exact",
    ({ given: { params, inputs, outputs } }) => {
      const { scale, zero_point: outZero, bits } = params as Record<"scale" | "zero_point" | "bits", number>;
      expect(bits).toBe(8);
      const sums = numbers(inputs.acc.data);
      const out = new Int8Array(sums.length);
      const output = { to: "int8", scaleW: Float32Array.of(scale), outZero } as const;
      for (let i = 0; i < sums.length; i++) writeOutput(out, 0, i, sums.length, [sums[i]], output);
      expect([...out]).toEqual(numbers(outputs.out.data));
    },
  );
});
