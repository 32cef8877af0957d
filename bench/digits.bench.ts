/**
 * Products of 1- and 2-bit weights and integer activations beside our own float32 product of the same numbers: `npm run bench
 * -- digits [--write]`. Both have their weights pinned; the quantizing of the float activations is included. The results must be
 * equal.
 */

import { packBits } from "../kernels/bits.ts";
import { encodeExports } from "../kernels/encode/simd.ts";
import { codes } from "../kernels/gemm-b1/cases.ts";
import { packedBytes as floatBytes, gemmHeap, packB } from "../kernels/gemm-f32/simd.ts";
import { gemmIntHeap, prepareInt } from "../kernels/gemm-i8/simd.ts";
import { type DigitKind, digitHeap, digitWeights, prepareDigits } from "../kernels/lookup/digits.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { pair, showRatio, writeResults } from "./pair.ts";
import { type Bounds, besideFloat, free as none, writePage } from "./table.ts";

const { build } = wasmSupport();
const pack = encodeExports();
if (build === null || pack === null) throw new Error("bench: the SIMD kernels do not run here");

const int8 = { lowest: -128, highest: 127 };
const rows: readonly [name: string, kind: DigitKind, ways: readonly ("lookup" | "products")[]][] = [
  ["ternary by int8", { weights: "ternary", bits: 2, ...int8 }, ["products", "lookup"]],
  ["1-bit by int8", { weights: "signs", bits: 1, ...int8 }, ["lookup", "products"]],
  ["1-bit by 4 bits", { weights: "signs", bits: 1, lowest: 0, highest: 15 }, ["lookup"]],
  ["1-bit by 2 bits", { weights: "signs", bits: 1, lowest: 0, highest: 3 }, ["lookup"]],
  ["2 by 2 bits", { weights: "signed", bits: 2, lowest: -2, highest: 1 }, ["lookup"]],
];

const results = [];
for (const [title, kind, ways] of rows)
  for (const [m, n, k] of [
    [1024, 1024, 1024],
    [1, 2048, 2048],
  ])
    for (const way of ways) {
      const { lowest, highest } = kind;
      const packed = packBits(
        codes(n, k, kind.weights === "ternary" ? 3 : 2 ** kind.bits, 2),
        n,
        k,
        kind.bits,
      );
      const numbers = Int8Array.from(digitWeights(kind, packed, n, k));
      const at = {
        x: alloc(4 * m * k),
        w: alloc(4 * n * k),
        f: alloc(floatBytes(n, k)),
        codes: alloc(m * k),
      };
      const outs = [alloc(4 * m * n), alloc(4 * m * n)];
      view("float32", at.x, m * k).set(
        Float32Array.from(codes(m, k, highest - lowest + 1, 1), (code) => code + lowest),
      );
      view("float32", at.w, n * k).set(numbers);
      packB(at.f, at.w, { n, k, transposeB: true });
      const layer = prepareDigits(kind, { rows: packed, n, k }, { to: "int32" });
      const ints = prepareInt({ n, k, bits: kind.bits, codes: numbers }, { to: "int32" }, lowest >= 0);
      if (layer === null || ints === null) throw new Error("bench: the heap is exhausted");
      const floats = m < 8 ? { transposeB: true } : { packed: true };
      const result = await pair(
        {
          name: "float32",
          run: () => void gemmHeap(outs[0], at.x, m < 8 ? at.w : at.f, { m, n, k, ...floats }),
          result: () => view("float32", outs[0], m * n),
        },
        {
          name: way,
          run() {
            pack.quantizeBy(at.codes, at.x, m, k, k, 1, 0, lowest, highest);
            if (way === "lookup") digitHeap(layer, outs[1], at.codes, { m });
            else gemmIntHeap(ints, outs[1], at.codes, m);
          },
          result: () => view("int32", outs[1], m * n),
        },
        // Sums up to 2²⁴ are exact in float32.
        { tolerance: new Float64Array(m * n), rounds: 9 },
      );
      const speed = (seconds: number): string => ((2 * m * n * k) / seconds / 1e9).toFixed(1).padStart(6);
      const name = `${title}, by ${way}, ${m}x${k}x${n}`;
      const bounds: Bounds = title === "ternary by int8" && m > 1 && way === ways[0] ? [1.6, 3] : none;
      console.log(
        name.padEnd(44),
        `float32 ${speed(result.a)}, integers ${speed(result.b)} Gop/s`,
        showRatio(result),
      );
      results.push(besideFloat(name, result, bounds, { unit: "Gop/s", work: (2 * m * n * k) / 1e9 }));
      layer.free();
      ints.free();
      for (const address of [...Object.values(at), ...outs]) free(address);
    }
if (process.argv.includes("--write")) {
  writeResults("digits", results);
  writePage();
}
