/** Kernels of rows on a heap that has no room for all of them: by halves, with the same bits. */

import { expect, it } from "vitest";
import { gelu, geluSlope } from "../../kernels/elementwise/activation.ts";
import * as elementwise from "../../kernels/elementwise/simd.ts";
import * as loss from "../../kernels/loss/simd.ts";
import * as softmax from "../../kernels/softmax/simd.ts";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { onlyRoomFor } from "./heap.ts";

// 3.3 MB, of which 1 MiB has room: an odd number of rows, and of elements.
const [outer, n] = [101, 8191];
const size = outer * n;
const wave = (length: number, seed: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => 3 * Math.sin(i * 0.7 + seed));
const x = wave(size, 1);
const y = wave(size, 2);
const targets = Int32Array.from({ length: outer }, (_, i) => (i * 7919) % n);
const options = { ignoreIndex: -100, weight: null, labelSmoothing: 0.1 };
const flat = { outer, n, inner: 1 };
const columns = { outer, n: n / 8191, inner: 8191 };
const lse = new Float64Array(outer).fill(9);
const stats = Float64Array.from({ length: outer * 4 }, (_, i) => 1 + (i % 5));
const perRow = wave(outer, 3);

type Out = Float32Array | Float64Array;
const runs: Record<string, [make: () => Out[], run: (...outs: never[]) => boolean]> = {
  crossEntropy: [
    () => [new Float32Array(outer), new Float64Array(outer)],
    (a: Float32Array, b: Float64Array) => loss.crossEntropy(a, b, x, targets, flat, options),
  ],
  crossEntropyGrad: [
    () => [new Float32Array(size)],
    (a: Float32Array) => loss.crossEntropyGrad(a, perRow, lse, x, targets, flat, options),
  ],
  divergence: [
    () => [new Float32Array(outer), new Float64Array(outer * 4)],
    (a: Float32Array, b: Float64Array) => loss.divergence(a, b, x, y, n, 2),
  ],
  divergenceGrad: [
    () => [new Float32Array(size)],
    (a: Float32Array) => loss.divergenceGrad(a, perRow, stats, x, y, n, 2),
  ],
  softmax: [() => [new Float32Array(size)], (a: Float32Array) => softmax.softmax(a, x, flat)],
  softmaxGrad: [() => [new Float32Array(size)], (a: Float32Array) => softmax.softmaxGrad(a, x, y, flat)],
  logSumExp: [() => [new Float32Array(outer)], (a: Float32Array) => softmax.logSumExp(a, x, flat)],
  "softmax over an inner axis": [
    () => [new Float32Array(size)],
    (a: Float32Array) => softmax.softmax(a, x, columns),
  ],
  gelu: [() => [new Float32Array(size)], (a: Float32Array) => elementwise.unary(a, x, gelu)],
  "the gradient of gelu": [
    () => [new Float32Array(size)],
    (a: Float32Array) => elementwise.unaryGrad(a, y, x, x, geluSlope),
  ],
};

it.each(Object.entries(runs))("%s", (_, [make, run]) => {
  const [want, got] = [make(), make()];
  expect(run(...(want as never[]))).toBe(true);
  const { bytes } = heapUse();
  onlyRoomFor(1, () => expect(run(...(got as never[]))).toBe(true));
  expect(heapUse().bytes).toBe(bytes);
  got.forEach((array, i) => {
    expect(Buffer.compare(Buffer.from(array.buffer), Buffer.from(want[i].buffer))).toBe(0);
  });
});
