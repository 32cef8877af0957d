/** The contracts of reference.ts, bit for bit. Each function returns false, nothing written, where it does not apply. */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks } from "../wasm/parallel.ts";
import { pays, staged } from "../wasm/staging.ts";
import type { Key } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";
import { TWO_32 } from "./threefry.ts";

type Draw = (...addressesAndNumbers: number[]) => void;

/** What simd.as.ts exports. */
export interface RandomExports {
  words: Draw;
  normals: Draw;
  bernoulli: Draw;
}

export const randomExports = /* @__PURE__ */ wasmKernel<RandomExports>(bytes);

// Below, staging plain arrays costs more than it saves.
const fewElements = 96;
/** Elements of a task. */
const each = 2 ** 16;
// A chunk of words and the places of some of them, as simd.as.ts has them.
const localBytes = 8192 + 64;

function fill(
  exports: RandomExports | null,
  name: keyof RandomExports,
  out: TypedArray,
  [k0, k1]: Key,
  start: number,
  ...numbers: number[]
): boolean {
  const { length, BYTES_PER_ELEMENT: size } = out;
  if (exports === null || !pays(length, fewElements, out)) return false;
  return staged((staging) => {
    const to = staging.output(out, 0, length, false);
    return (
      to !== 0 &&
      inTasks(length * 8, localBytes, [exports], (job) => {
        for (let first = 0; first < length; first += each) {
          const counter = start + first / 2;
          const stream = [k0, k1, counter >>> 0, Math.floor(counter / TWO_32)];
          job
            .of(exports)
            [name](to + first * size, job.local, ...stream, Math.min(each, length - first), ...numbers);
          job.next();
        }
      })
    );
  });
}

export const words = (out: Uint32Array, key: Key, start: number, exports = randomExports()): boolean =>
  fill(exports, "words", out, key, start);

export const normals = (
  out: Float32Array,
  key: Key,
  start: number,
  mean: number,
  std: number,
  exports = randomExports(),
): boolean => fill(exports, "normals", out, key, start, mean, std);

/** For bytes. */
export function bernoulli(
  out: Uint8Array | FloatArray,
  key: Key,
  start: number,
  p: number,
  exports = randomExports(),
): boolean {
  // Whole numbers are below p · 2³² where they are below the next whole one.
  const limit = Math.ceil(p * TWO_32);
  return out instanceof Uint8Array && limit < TWO_32 && fill(exports, "bernoulli", out, key, start, limit);
}
