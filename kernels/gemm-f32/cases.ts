/** What every product is tried on: sizes around the tile and the blocks, each transpose, offsets, accumulation. */

import { type GemmShape, gemm } from "./reference.ts";

type Args = [out: Float32Array, a: Float32Array, b: Float32Array, shape: GemmShape];

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

function args(m: number, n: number, k: number, form: number): Args {
  const [aOffset, bOffset, outOffset] = form & 8 ? [3, 5, 2] : [0, 0, 0];
  const shape = {
    m,
    n,
    k,
    transposeA: (form & 1) !== 0,
    transposeB: (form & 2) !== 0,
    accumulate: (form & 4) !== 0,
    aOffset,
    bOffset,
    outOffset,
    bias: form & 16 ? wave(n, 4) : null,
  };
  // One element more on each side shows a write outside.
  return [wave(outOffset + m * n + 1, 3), wave(aOffset + m * k + 1, 1), wave(bOffset + k * n + 1, 2), shape];
}

export function* gemmCases(): Generator<Args> {
  let turn = 0;
  // Accumulation and a bias exclude each other.
  const forms = Array.from({ length: 32 }, (_, form) => form).filter((form) => (form & 20) !== 20);
  for (const m of [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13])
    for (const n of [0, 1, 3, 4, 5, 7, 8, 9, 16, 17])
      for (const k of [0, 1, 2, 3, 4, 5, 8, 13]) yield args(m, n, k, forms[turn++ % forms.length]);
  const blocks = [
    [179, 9, 4],
    [181, 8, 257],
    [4, 511, 3],
    [5, 513, 256],
    [33, 65, 511],
    [200, 520, 260],
    [1, 37, 4099],
    [3, 5, 8200],
    [67, 2, 4097],
    [70, 1, 300],
    [64, 64, 64],
  ];
  for (const [m, n, k] of blocks) for (const form of [0, 5, 10, 15, 18]) yield args(m, n, k, form);
  // Products below the normal numbers.
  for (const form of [0, 2]) {
    const [out, a, b, shape] = args(13, 17, 65, form);
    yield [out, a.map((x) => x * 1e-20), b.map((x) => x * 1e-20), shape];
  }
}

/**
 * The dot-product bound k · 2⁻²⁴ · Σ|a||b| of each element, what it accumulates to counted as one product more, and what
 * underflow of products may add.
 */
export function gemmTolerance(
  out: Float32Array,
  a: Float32Array,
  b: Float32Array,
  shape: GemmShape,
): Float64Array {
  const bound = Float64Array.from(out, Math.abs);
  const bias = shape.bias ? Float64Array.from(shape.bias, Math.abs) : null;
  gemm(bound, Float64Array.from(a, Math.abs), Float64Array.from(b, Math.abs), { ...shape, bias });
  const first = shape.outOffset ?? 0;
  const terms = shape.k + (shape.accumulate || bias ? 2 : 0);
  // Outside of the product nothing may change.
  return bound.map((value, i) =>
    i >= first && i < first + shape.m * shape.n ? terms * (value * 2 ** -24 + 2 ** -149) : 0,
  );
}
