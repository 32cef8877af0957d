/**
 * Products of low-bit integer weights beside our own float32 SIMD product of the same shape: `npm run bench -- ints
 * [--write]`. Prints Gop/s (2 m n k) and the ratio; with --write also stores them in bench/results and makes the tables of
 * docs/performance.md new.
 */

import { gemmHeap } from "../kernels/gemm-f32/simd.ts";
import { floatArgs } from "../kernels/gemm-i4/cases.ts";
import { gemmFloatHeap, prepareFloat } from "../kernels/gemm-i4/simd.ts";
import { intArgs } from "../kernels/gemm-i8/cases.ts";
import { gemmIntHeap, prepareInt } from "../kernels/gemm-i8/simd.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { pair, type Side, showRatio, writeResults } from "./pair.ts";
import { type Bounds, besideFloat, free as none, writePage } from "./table.ts";

const { build, reason } = wasmSupport();
if (build === null) throw new Error(`bench: the SIMD kernels do not run here: ${reason}`);
console.log(`${build} SIMD${reason === null ? "" : `: ${reason}`}`);

type Shape = readonly [m: number, n: number, k: number];

interface Row {
  readonly name: string;
  readonly shape: Shape;
  readonly bounds: Bounds;
  /** A row's own run on the heap, and what gives its blocks back. */
  make(out: number, x: number): { run(): void; free(): void };
}

const integers = (
  name: string,
  shape: Shape,
  form: Omit<Parameters<typeof intArgs>[0], "m" | "n" | "k">,
  bounds: Bounds = none,
): Row => ({
  ...{ name, shape, bounds },
  make(out, at) {
    const [m, n, k] = shape;
    const [, x, weights, , output] = intArgs({ m, n, k, ...form });
    const layer = prepareInt(weights, output, x instanceof Uint8Array)!;
    view(x instanceof Uint8Array ? "uint8" : "int8", at, m * k).set(x);
    return { run: () => void gemmIntHeap(layer, out, at, m), free: () => layer.free() };
  },
});

const floats = (
  name: string,
  shape: Shape,
  form: Omit<Parameters<typeof floatArgs>[0], "m" | "n" | "k">,
  bounds: Bounds = none,
): Row => ({
  ...{ name, shape, bounds },
  make(out, at) {
    const [m, n, k] = shape;
    const [, x, weights] = floatArgs({ m, n, k, ...form });
    const layer = prepareFloat(weights)!;
    view("float32", at, m * k).set(x);
    return { run: () => void gemmFloatHeap(layer, out, at, m), free: () => layer.free() };
  },
});

const one: Shape = [1, 2048, 2048];
const many: Shape = [64, 2048, 2048];
const int4 = { bits: 4, group: 32 };

const widths = [1, 2, 3, 4, 5, 6, 7, 8];

/** Every width of weights, with a scale a row. */
const byWidth = (shape: Shape, bounds: Bounds): Row[] => [
  ...widths.map((bits) =>
    integers(`int8 by ${bits}-bit`, shape, { bits, to: "float32", scaled: true }, bounds),
  ),
  ...widths.map((bits) => floats(`float32 by ${bits}-bit`, shape, { bits }, bounds)),
];

const bytes = { bits: 8, unsigned: true };
const group40 = { bits: 4, group: 40, to: "float32" } as const;

const rows: readonly Row[] = [
  integers("uint8 by int8 to int32", [128, 1024, 1024], bytes),
  integers("uint8 by int8 to int8", [128, 1024, 1024], { ...bytes, to: "int8", scaled: true }),
  floats("float32 by int4 in groups of 32", one, int4, [0.8, 1.1]),
  floats("float32 by int4 in groups of 32", [1, 4096, 11008], int4, [2, 3]),
  integers("int8 by int4 in groups of 32", one, { ...int4, to: "float32" }, [2, 2.5]),
  floats("float32 by int4 in groups of 32", many, int4, [0.9, 1.1]),
  integers("int8 by int4 in groups of 32", many, { ...int4, to: "float32" }, [1.5, null]),
  integers("int8 by int4 in groups of 40", one, group40),
  integers("int8 by int4 in groups of 40", many, group40),
  ...byWidth(one, [1, null]),
  ...byWidth(many, [1, null]),
];

const results = [];
for (const { name, shape, bounds, make } of rows) {
  const [m, n, k] = shape;
  const [x, b, out, outFloat] = [m * k * 4, n * k * 4, m * n * 4, m * n * 4].map(alloc);
  const low = make(out, x);
  const left = alloc(m * k * 4);
  view("float32", left, m * k).fill(0.5);
  view("float32", b, n * k).fill(0.25);
  // The two compute different things: what is compared is their time alone.
  const side = (label: string, run: () => void): Side => ({ name: label, run, result: () => [] });
  const result = await pair(
    side("float32", () => void gemmHeap(outFloat, left, b, { m, n, k, transposeB: true })),
    side(name, low.run),
    { tolerance: [], rounds: 15, milliseconds: 10 },
  );
  const speed = (seconds: number): number => (2 * m * n * k) / seconds / 1e9;
  const title = `${name}, ${m}x${k}x${n}`;
  console.log(
    title.padEnd(48),
    `float32 ${speed(result.a).toFixed(1).padStart(6)}, low-bit ${speed(result.b).toFixed(1).padStart(6)} Gop/s`,
    showRatio(result),
  );
  results.push(besideFloat(title, result, bounds, { unit: "Gop/s", work: (2 * m * n * k) / 1e9 }));
  low.free();
  for (const address of [x, b, out, outFloat, left]) free(address);
}
if (process.argv.includes("--write")) {
  writeResults("ints", results);
  writePage();
}
