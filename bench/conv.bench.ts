/**
 * The SIMD float32 convolution and its gradients beside the reference: `npm run bench -- conv [--write]`. Prints GFLOP/s and the
 * ratio; with --write also stores them in bench/results.
 */

import { convArgs, convRoles, convTolerance } from "../kernels/conv/cases.ts";
import * as reference from "../kernels/conv/reference.ts";
import * as simd from "../kernels/conv/simd.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { convolutions, operations, showConvolution } from "./conv-shapes.ts";
import { pair, showRatio, writeResults } from "./pair.ts";

const { build } = wasmSupport();
if (build === null) throw new Error("bench: the SIMD kernels do not run here");

const kernels = {
  forward: [reference.conv2d, simd.conv2d],
  input: [reference.conv2dInputGrad, simd.conv2dInputGrad],
  weight: [reference.conv2dWeightGrad, simd.conv2dWeightGrad],
} as const;

const results = [];
for (const geometry of convolutions)
  for (const direction of Object.keys(convRoles) as (keyof typeof convRoles)[]) {
    const [slow, fast] = kernels[direction];
    const [out, a, b] = convArgs(geometry, direction);
    const held = [out, a, b].map((array) => {
      const address = alloc(array.byteLength);
      view("float32", address, array.length).set(array);
      return { address, array: view("float32", address, array.length) };
    });
    const [to, left, right] = held.map(({ array }) => array);
    const tolerance = convTolerance(slow, direction)(out, a, b, geometry);
    const result = await pair(
      { name: "reference", run: () => slow(out, a, b, geometry), result: () => out },
      { name: "simd", run: () => void fast(to, left, right, geometry), result: () => to },
      { tolerance, rounds: 3, fewest: 3, seconds: 2 },
    );
    const name = `${showConvolution(geometry)}, ${direction === "forward" ? direction : `gradient of ${direction}`}`;
    const speed = (seconds: number): number => operations(geometry) / seconds / 1e9;
    console.log(
      name.padEnd(62),
      `reference ${speed(result.a).toFixed(2).padStart(5)}, simd ${speed(result.b).toFixed(1).padStart(5)} GFLOP/s`,
      showRatio(result),
    );
    results.push({ name, build, gflops: speed(result.b), ...result });
    for (const { address } of held) free(address);
  }
if (process.argv.includes("--write")) writeResults("conv", results);
