/**
 * Convolution of int8 images with int8 filters beside our float32 convolution of the same numbers, with the quantizing of the float
 * images and without; then on two threads beside one, and signs too: `npm run bench -- conv-ints [--write]`. The results must be
 * equal.
 */

import { packedBytes, packSigns } from "../kernels/bits.ts";
import type { ConvGeometry } from "../kernels/conv/reference.ts";
import { conv2d } from "../kernels/conv/simd.ts";
import { bitConvHeap, prepareBitConv } from "../kernels/conv-b1/simd.ts";
import { convIntHeap, prepareConvInt } from "../kernels/conv-i8/simd.ts";
import { encodeExports } from "../kernels/encode/simd.ts";
import { codes } from "../kernels/gemm-b1/cases.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { pool } from "../kernels/wasm/threads.ts";
import { setThreads } from "../src/backend.ts";
import { convolutions, operations, showConvolution, sizesOf } from "./conv-shapes.ts";
import { type PairResult, pair, type Side, showRatio, writeResults } from "./pair.ts";

const { build } = wasmSupport();
const pack = encodeExports();
if (build === null || pack === null) throw new Error("bench: the SIMD kernels do not run here");

const results: (PairResult & { name: string; build: string })[] = [];

/** Times b beside a, which give the same numbers. */
async function row(name: string, g: ConvGeometry, a: Side, b: Side): Promise<void> {
  const tolerance = new Float64Array(sizesOf(g).results);
  const result = await pair(a, b, { tolerance, rounds: 15, seconds: 3 });
  const speed = (seconds: number): string => (operations(g) / seconds / 1e9).toFixed(1).padStart(6);
  console.log(
    name.padEnd(62),
    `${a.name} ${speed(result.a)}, ${b.name} ${speed(result.b)} Gop/s`,
    showRatio(result),
  );
  results.push({ name, build: build!, ...result });
}

/** What all sides read and write, on the heap. Codes are so small that float32 sums are exact. */
function operandsOf(g: ConvGeometry) {
  const { images, filters, results: outs } = sizesOf(g);
  const address = {
    x: alloc(4 * images),
    w: alloc(4 * filters),
    codes: alloc(images),
    float: alloc(4 * outs),
    int: alloc(4 * outs),
  };
  view("float32", address.x, images).set(Float32Array.from(codes(1, images, 127, 1), (code) => code - 63));
  const small = Int8Array.from(codes(1, filters, 127, 2), (code) => code - 63);
  view("float32", address.w, filters).set(small);
  const layer = prepareConvInt({ codes: small, bits: 8 }, g, { to: "float32" }, false);
  if (layer === null) throw new Error("bench: the heap is exhausted");
  const quantize = (): void => pack!.quantizeBy(address.codes, address.x, 1, images, images, 1, 0, -128, 127);
  quantize();
  const run = (): void => void convIntHeap(layer, g, address.int, address.codes);
  const result = () => view("float32", address.int, outs);
  return {
    small,
    address,
    float: {
      name: "float32",
      run: () =>
        void conv2d(
          view("float32", address.float, outs),
          view("float32", address.x, images),
          view("float32", address.w, filters),
          g,
        ),
      result: () => view("float32", address.float, outs),
    },
    quantized: {
      name: "int8",
      run() {
        quantize();
        run();
      },
      result,
    },
    coded: { name: "int8", run, result },
    free() {
      layer.free();
      for (const block of Object.values(address)) free(block);
    },
  };
}

for (const g of convolutions) {
  const { float, quantized, coded, free } = operandsOf(g);
  await row(showConvolution(g), g, float, quantized);
  await row(`${showConvolution(g)}, codes given`, g, float, coded);
  free();
}

/** The same side on so many threads. */
const on = (threads: number, { run, result }: Side): Side => ({
  name: `${threads} ${threads === 1 ? "thread" : "threads"}`,
  run() {
    pool.active = threads;
    run();
  },
  result,
});

await setThreads(2);
if (pool.threads.length > 0) {
  for (const g of convolutions.slice(0, 2))
    for (const n of [1, 4]) {
      const { coded, small, address, free } = operandsOf({ ...g, n });
      await row(`int8 ${showConvolution({ ...g, n })}, threads`, { ...g, n }, on(1, coded), on(2, coded));
      const signs = prepareBitConv({ rows: packSigns(small, g.o * 9, g.c) }, { ...g, n }, 0, {
        to: "float32",
      });
      if (signs === null || g.c !== packedBytes(g.c, 1) * 8) throw new Error("bench: signs are not served");
      const side = { ...coded, run: () => void bitConvHeap(signs, address.int, address.codes) };
      await row(`signs ${showConvolution({ ...g, n })}, threads`, { ...g, n }, on(1, side), on(2, side));
      signs.free();
      free();
    }
  await setThreads(1);
}
if (process.argv.includes("--write")) writeResults("conv-ints", results, { threads: 2 });
