/**
 * Products of few bits beside our own float32 product of the same numbers: `npm run bench -- bits [--write]`. Both have their
 * weights pinned; the packing of the float activations is included. The results must be equal.
 */

import { packedBytes, packSigns, packTernary } from "../kernels/bits.ts";
import { codes } from "../kernels/gemm-b1/cases.ts";
import { gemmHeap, packB, packedBytes as floatBytes } from "../kernels/gemm-f32/simd.ts";
import { type PairKind, pairHeap, preparePairs } from "../kernels/lookup/simd.ts";
import { packExports } from "../kernels/pack/simd.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { pair, showRatio, writeResults } from "./pair.ts";

const { build } = wasmSupport();
const pack = packExports();
if (build === null || pack === null) throw new Error("bench: the SIMD kernels do not run here");

/** A product's operands as numbers, and how it packs its activations. */
const kinds: Record<
  PairKind,
  {
    activation: readonly number[];
    weight: readonly number[];
    pack(to: number, x: number, m: number, k: number): void;
  }
> = {
  differ: {
    activation: [1, -1],
    weight: [1, -1],
    pack: (to, x, m, k) => pack.packBits(to, x, m, k, packedBytes(k, 1), 0, 0),
  },
  both: {
    activation: [0, 1],
    weight: [1, -1],
    pack: (to, x, m, k) => pack.packBits(to, x, m, k, packedBytes(k, 1), 0.5, 1),
  },
  ternarySigns: {
    activation: [1, -1],
    weight: [-1, 0, 1],
    pack: (to, x, m, k) => pack.packBits(to, x, m, k, packedBytes(k, 1), 0, 0),
  },
  // Ternary activations arrive packed.
  ternaryTernary: { activation: [-1, 0, 1], weight: [-1, 0, 1], pack: () => {} },
};

const sizes = [
  [1024, 1024, 1024],
  [256, 256, 256],
  [2048, 2048, 2048],
  [64, 2048, 2048],
  [1, 2048, 2048],
];

const levels = (rows: number, k: number, of: readonly number[], seed: number): Float32Array =>
  Float32Array.from(codes(rows, k, of.length, seed), (code) => of[code]);

const results = [];
for (const kind of Object.keys(kinds) as PairKind[]) {
  const { activation, weight, pack: packRows } = kinds[kind];
  for (const [m, n, k] of kind === "differ" ? sizes : sizes.slice(0, 1)) {
    const x = levels(m, k, activation, 1);
    const w = levels(n, k, weight, 2);
    const bits = weight.length === 2 ? 1 : 2;
    const packed = bits === 1 ? packSigns(w, n, k) : packTernary(w, n, k);
    const layer = preparePairs(kind, { rows: packed, n, k }, { to: "int32" });
    if (layer === null) throw new Error("bench: the heap is exhausted");
    const at = { x: alloc(4 * m * k), w: alloc(4 * n * k), f: alloc(floatBytes(n, k)) };
    const rows = alloc(m * packedBytes(k, 2));
    const outs = [alloc(4 * m * n), alloc(4 * m * n)];
    view("float32", at.x, m * k).set(x);
    view("float32", at.w, n * k).set(w);
    packB(at.f, at.w, { n, k, transposeB: true });
    if (kind === "ternaryTernary") view("uint8", rows, m * packedBytes(k, 2)).set(packTernary(x, m, k));
    const shape = { m, n, k };
    // A product of one row reads the weights as they are.
    const floats =
      m < 8
        ? () => void gemmHeap(outs[0], at.x, at.w, { ...shape, transposeB: true })
        : () => void gemmHeap(outs[0], at.x, at.f, { ...shape, packed: true });
    const result = await pair(
      { name: "float32", run: floats, result: () => view("float32", outs[0], m * n) },
      {
        name: kind,
        run() {
          packRows(rows, at.x, m, k);
          pairHeap(layer, outs[1], rows, { m });
        },
        result: () => view("int32", outs[1], m * n),
      },
      { tolerance: new Float64Array(m * n), rounds: 9 },
    );
    const speed = (seconds: number): string => ((2 * m * n * k) / seconds / 1e9).toFixed(1).padStart(6);
    const name = `${kind} ${m} x ${k} x ${n}`;
    console.log(
      name.padEnd(34),
      `float32 ${speed(result.a)}, bits ${speed(result.b)} Gop/s`,
      showRatio(result),
    );
    results.push({ name, build, ...result });
    layer.free();
    for (const address of [at.x, at.w, at.f, rows, ...outs]) free(address);
  }
}
if (process.argv.includes("--write")) writeResults("bits", results);
