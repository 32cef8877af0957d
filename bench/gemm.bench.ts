/**
 * The SIMD float32 product beside the reference: `npm run bench -- gemm [--write]`. Prints GFLOP/s and the ratio; with
 * --write also stores them in bench/results.
 */

import { wasmSupport } from "../kernels/wasm/load.ts";
import { flops, operands, products, showProduct } from "./gemm-shapes.ts";
import { pair, showRatio, writeResults } from "./pair.ts";

const { build, reason } = wasmSupport();
if (build === null) throw new Error(`bench: the SIMD kernels do not run here: ${reason}`);
console.log(`${build} SIMD${reason === null ? "" : `: ${reason}`}`);

const results = [];
for (const product of products) {
  const { reference, simd, tolerance } = operands(product);
  const result = await pair(reference, simd, { tolerance });
  const speed = (seconds: number): number => flops(product) / seconds / 1e9;
  console.log(
    showProduct(product).padEnd(28),
    `reference ${speed(result.a).toFixed(2).padStart(6)}, simd ${speed(result.b).toFixed(2).padStart(6)} GFLOP/s`,
    showRatio(result),
  );
  results.push({ name: showProduct(product), build, gflops: speed(result.b), ...result });
}
if (process.argv.includes("--write")) writeResults("gemm", results);
