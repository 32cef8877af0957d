/** gemm-f64: the contract of gemm-f32/reference.ts for results in double precision, of any operands, bit for bit. */

import type { TypedArray } from "../../src/dtype.ts";
import { gemmCases } from "../gemm-f32/cases.ts";
import { type GemmShape, gemm as reference } from "../gemm-f32/reference.ts";
import type { Kernel } from "../kernel.ts";
import { wasmSupport } from "../wasm/load.ts";
import { gemm64Exports, gemm as simd } from "./simd.ts";

type Args = [out: Float64Array, a: TypedArray, b: TypedArray, shape: GemmShape];

const types = [Float64Array, Float32Array, Int8Array, Uint8Array, Int32Array, Uint32Array];

/** Numbers of a type in the place of those of a wave; among floats also what is not finite, denormal, and −0. */
function as(numbers: Float32Array, type: number, odd: boolean): TypedArray {
  const made = types[type].from(type < 2 ? numbers : numbers.map((x) => Math.trunc(Math.abs(x) * 120)));
  const specials = [Number.NaN, -0, Number.POSITIVE_INFINITY, 5e-324, 1e308];
  if (odd && type < 2) for (let i = 0; i < made.length; i += 7) made[i] = specials[i % specials.length];
  return made;
}

function* cases(): Generator<Args> {
  let turn = 0;
  for (const [out, a, b, shape] of gemmCases()) {
    const { m, n, k, bias } = shape;
    // What it leaves to the reference.
    if (m < 2 || n < 2 || k === 0) continue;
    const [left, right] = [turn % types.length, Math.floor(turn / types.length) % types.length];
    const odd = turn++ % 5 === 0;
    const wide = { ...shape, bias: bias && Float64Array.from(bias) };
    yield [Float64Array.from(out), as(a, left, odd), as(b, right, odd), wide];
  }
}

const build = (name: "plain" | "relaxed") => () => {
  const exports = gemm64Exports(name);
  if (exports === null) return wasmSupport().reason ?? `the ${name} build does not run here`;
  return (...args: Args) => {
    if (!simd(...args, exports)) throw new Error("gemm-f64: the heap is exhausted");
  };
};

export const gemmF64: Kernel<Args> = {
  name: "gemm-f64",
  reference,
  implementations: { "simd, plain": build("plain"), "simd, relaxed": build("relaxed") },
  cases,
  tolerance: () => null,
};
