/**
 * Measures which product of packed weights is faster, by their bits, their size and the rows of input, on the build of the
 * kernels that runs: `npm run bench -- --crossover [--write]`. With --write makes src/packed/products/crossover.ts new, for
 * this build; what was measured for the other one stays. Quantizing the input is part of a product.
 */

import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import cliProgress from "cli-progress";
import { packSigns, packTernary } from "../kernels/bits.ts";
import { encodeExports } from "../kernels/encode/simd.ts";
import { codes } from "../kernels/gemm-b1/cases.ts";
import { gemmHeap } from "../kernels/gemm-f32/simd.ts";
import { gemmFloatHeap, prepareFloat } from "../kernels/gemm-i4/simd.ts";
import { gemmIntHeap, prepareInt } from "../kernels/gemm-i8/simd.ts";
import { digitHeap, prepareDigits } from "../kernels/lookup/digits.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { crossovers } from "../src/packed/products/crossover.ts";
import type { Crossover } from "../src/packed/products/measured.ts";
import { type PairResult, pair, type Side, writeResults } from "./pair.ts";
import { writePage } from "./table.ts";

const sizes = [64, 128, 256, 512, 1024, 2048];
const rowCounts = [1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256];
/** Decoding, a short prompt, a batch: what the one choice of a float32 input has to serve. */
const floatRowCounts = [1, 8, 64];
const group = 32;
/** By how much another product has to be faster before it is taken. */
const margin = 1.05;

const { build } = wasmSupport();
const pack = encodeExports();
if (build === null || pack === null) throw new Error("bench: the SIMD kernels do not run here");

const bar = new cliProgress.SingleBar({ noTTYOutput: false }, cliProgress.Presets.shades_classic);
const quiet = process.env.CI !== undefined || process.env.NO_COLOR !== undefined || !process.stderr.isTTY;
const results: (PairResult & { name: string; build: string })[] = [];

interface Problem {
  readonly bits: number;
  readonly m: number;
  readonly size: number;
}

/** How many times faster the second product is than the first, both on the same numbers. */
async function ratio(
  name: string,
  { m, size }: Problem,
  sides: (at: Addresses) => [Side, Side],
): Promise<number> {
  const [n, k] = [size, size];
  const at = {
    x: alloc(4 * m * k),
    codes: alloc(m * k),
    scales: alloc(4 * m),
    outs: [alloc(4 * m * n), alloc(4 * m * n)],
  };
  view("float32", at.x, m * k).set(Float32Array.from(codes(m, k, 255, 1), (code) => code - 127));
  const [a, b] = sides(at);
  // Sums of floats may differ in their last bits: by the bound of a float32 dot product.
  const tolerance = new Float64Array(m * n).fill(k * 2 ** -23 * k * 128 * 128);
  const result = await pair(a, b, { tolerance, rounds: 9, milliseconds: 4 });
  results.push({ name: `${name}, ${m} x ${k} x ${n}`, build: build!, ...result });
  for (const address of [at.x, at.codes, at.scales, ...at.outs]) free(address);
  bar.increment();
  return result.ratio;
}

interface Addresses {
  readonly x: number;
  readonly codes: number;
  readonly scales: number;
  readonly outs: readonly number[];
}

const side = (name: string, out: number, length: number, run: () => void): Side => ({
  name,
  run,
  result: () => view("float32", out, length),
});

const weightsOf = (bits: number, n: number, k: number): Int8Array =>
  Int8Array.from(codes(n, k, bits === 2 ? 3 : 2 ** bits, 2), (code) =>
    bits === 1 ? 1 - 2 * code : bits === 2 ? code - 1 : code - 2 ** (bits - 1),
  );

/** How many times faster lookup is than products of int8. */
async function lookupRatio(problem: Problem): Promise<number> {
  const { m, size } = problem;
  const bits = problem.bits as 1 | 2;
  const [n, k] = [size, size];
  const numbers = weightsOf(bits, n, k);
  const output = { to: "float32", scaleW: new Float32Array(n).fill(0.5), bias: new Float32Array(n) } as const;
  const rows = bits === 1 ? packSigns(numbers, n, k) : packTernary(numbers, n, k);
  const kind = { weights: bits === 1 ? "signs" : "ternary", bits, lowest: -128, highest: 127 } as const;
  const lookup = prepareDigits(kind, { rows, n, k }, output);
  const ints = prepareInt({ n, k, bits, codes: numbers }, output, false);
  if (!lookup || !ints) throw new Error("bench: the heap is exhausted");
  const name = bits === 1 ? "1-bit by int8, lookup : int8" : "ternary by int8, lookup : int8";
  const got = await ratio(name, problem, ({ x, codes: to, scales, outs }) => {
    const quantize = () => pack!.quantizeRows(to, scales, x, m, k, k, 127);
    return [
      side("int8", outs[0], m * n, () => {
        quantize();
        gemmIntHeap(ints, outs[0], to, m, scales);
      }),
      side("lookup", outs[1], m * n, () => {
        quantize();
        digitHeap(lookup, outs[1], to, { m, scaleX: scales });
      }),
    ];
  });
  lookup.free();
  ints.free();
  return got;
}

/** How many times faster float32 weights are than codes in groups. */
async function floatRatio(problem: Problem): Promise<number> {
  const { bits, m, size } = problem;
  const [n, k] = [size, size];
  const numbers = weightsOf(bits, n, k);
  const scale = new Float32Array((n * k) / group).fill(0.5);
  const packed = prepareFloat({ n, k, bits, codes: numbers, scale, group });
  const floats = alloc(4 * n * k);
  if (!packed || floats === 0) throw new Error("bench: the heap is exhausted");
  view("float32", floats, n * k).set(Float32Array.from(numbers, (code) => code * 0.5));
  const got = await ratio(`${bits}-bit by float32, float32 : packed`, problem, ({ x, outs }) => [
    side("packed", outs[0], m * n, () => void gemmFloatHeap(packed, outs[0], x, m)),
    side("float32", outs[1], m * n, () => void gemmHeap(outs[1], x, floats, { m, n, k, transposeB: true })),
  ]);
  packed.free();
  free(floats);
  return got;
}

/** Rows up to which lookup is faster: the choice that loses the least over all counts. */
async function lookupRows(bits: 1 | 2, size: number): Promise<number> {
  const ratios: number[] = [];
  for (const m of rowCounts) ratios.push(await lookupRatio({ bits, m, size }));
  const lost = (taken: number): number =>
    ratios.reduce((sum, r, i) => sum + Math.max(0, i < taken ? -Math.log(r) : Math.log(r)), 0);
  const losses = Array.from({ length: ratios.length + 1 }, (_, taken) => lost(taken));
  const taken = losses.indexOf(Math.min(...losses));
  return taken === 0 ? 0 : taken === ratios.length ? Infinity : rowCounts[taken - 1];
}

/** Weights up to which float32 is faster; halfway, in logarithms, to the size that is not. */
async function floatWeights(bits: number): Promise<number> {
  let most = 0;
  for (const [i, size] of sizes.entries()) {
    let product = 1;
    for (const m of floatRowCounts) product *= await floatRatio({ bits, m, size });
    if (product ** (1 / floatRowCounts.length) > margin && most === (i === 0 ? 0 : sizes[i - 1] * size))
      most = size * (sizes[i + 1] ?? size);
  }
  return most;
}

const lines = (name: string, crossover: Crossover | null): string =>
  crossover === null
    ? `  ${name}: null,\n`
    : [
        `  ${name}: {`,
        `    machine: ${JSON.stringify(crossover.machine)},`,
        "    lookupRows: {",
        ...([1, 2] as const).flatMap((bits) => [
          `      ${bits}: [`,
          ...crossover.lookupRows[bits].map(([weights, rows]) => `        [${weights}, ${rows}],`),
          "      ],",
        ]),
        "    },",
        `    floatWeights: [${crossover.floatWeights.join(", ")}],`,
        "  },\n",
      ].join("\n");

const lookups = 2 * sizes.length * rowCounts.length;
if (!quiet) bar.start(lookups + 8 * sizes.length * floatRowCounts.length, 0);
const steps = async (bits: 1 | 2): Promise<[number, number][]> => {
  const found: [number, number][] = [];
  for (const size of sizes) found.push([size * size, await lookupRows(bits, size)]);
  return found;
};
const measured: Crossover = {
  machine: `${cpus()[0]?.model ?? "unknown processor"}, Node ${process.version}, ${build} SIMD`,
  lookupRows: { 1: await steps(1), 2: await steps(2) },
  floatWeights: [],
};
const limits = measured.floatWeights as number[];
for (let bits = 1; bits <= 8; bits++) limits.push(await floatWeights(bits));
bar.stop();
for (const { name, ratio: times } of results) console.log(name.padEnd(52), `${times.toFixed(2)}x`);
console.log(measured);

if (process.argv.includes("--write")) {
  writeResults(`crossover-${build}`, results);
  const all = { ...crossovers, [build]: measured };
  const file = fileURLToPath(new URL("../src/packed/products/crossover.ts", import.meta.url));
  writeFileSync(
    file,
    [
      "/** Measured by `npm run bench -- --crossover --write`, which makes this file; `choice.ts` reads it. */\n",
      'import type { Crossover } from "./measured.ts";\n',
      "export const crossovers: { readonly plain: Crossover; readonly relaxed: Crossover | null } = {",
      `${lines("plain", all.plain)}${lines("relaxed", all.relaxed)}};\n`,
    ].join("\n"),
  );
  writePage(all);
}
