/**
 * The SIMD float32 product beside tfjs-backend-wasm on one thread: `npm ci` here, then `npx tsx bench/peers/gemm.ts`. Both
 * sides keep their operands; tfjs packs b once for each tensor, so ours is timed both ways.
 */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { flops, operands, products, showProduct } from "../gemm-shapes.ts";
import { pair, type Side, showRatio, writeResults } from "../pair.ts";

const entry = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
setWasmPaths(`${join(dirname(entry), "../wasm-out")}/`);
setThreadsCount(1);
await tf.setBackend("wasm");

const results = [];
for (const product of products) {
  const { m, n, k, batch = 1, transposeA = false, transposeB = false } = product;
  const { a, b, simd, tolerance } = operands(product);
  const left = tf.tensor3d(a.slice(), transposeA ? [batch, k, m] : [batch, m, k]);
  const right = tf.tensor3d(b.slice(), transposeB ? [batch, n, k] : [batch, k, n]);
  let last: tf.Tensor | null = null;
  const tfjs: Side = {
    name: "tfjs-wasm",
    run() {
      last?.dispose();
      last = tf.matMul(left, right, transposeA, transposeB);
    },
    result: () => last!.dataSync() as Float32Array,
  };
  // tfjs sums in another order, so each side may be off by the bound.
  const result = await pair(tfjs, simd, { tolerance: tolerance.map((bound) => 2 * bound) });
  const speed = (seconds: number): string => (flops(product) / seconds / 1e9).toFixed(2).padStart(6);
  console.log(
    showProduct(product).padEnd(28),
    `tfjs-wasm ${speed(result.a)}, simd ${speed(result.b)} GFLOP/s`,
    showRatio(result),
  );
  results.push({ name: showProduct(product), ...result });
}
if (process.argv.includes("--write")) writeResults("peers-gemm", results);
