/** What weight-only products are tried on: depths around every width of a vector, all widths of codes, far-apart values. */

import { intArgs } from "../gemm-i8/cases.ts";
import { groupCount } from "../gemm-i8/reference.ts";
import { type FloatShape, type FloatWeights, floatValues } from "./reference.ts";

type Args = [out: Float32Array, x: Float32Array, weights: FloatWeights, shape: FloatShape];

export interface FloatCase {
  m: number;
  n: number;
  k: number;
  bits: number;
  unsignedWeights?: boolean;
  zeros?: boolean;
  /** With zeros: zero points lie half a code above. */
  halves?: boolean;
  /** Zero points that are no integers. */
  offsets?: boolean;
  group?: number;
  bias?: boolean;
  /** Codes of up to 4 bits that stand for levels of a codebook. */
  codebook?: boolean;
  /** How the activations spread: near each other, over many powers of two, with zeros, or past what floats hold. */
  spread?: "near" | "far" | "sparse" | "huge" | "tiny" | "infinite";
  seed?: number;
}

/** The arguments of a case; one element more than the output shows a write outside. */
export function floatArgs({
  spread = "near",
  bias = false,
  codebook = false,
  offsets = false,
  ...rest
}: FloatCase): Args {
  const plain = { ...rest, unsignedWeights: true, zeros: false };
  const given = codebook || offsets ? plain : rest;
  const { m, n, k } = given;
  // Of the integer case the codes and zero points; its activations choose ours.
  const [, codes, weights] = intArgs({ ...given, to: "float32" });
  const power = { near: 1, far: 1, sparse: 1, huge: 2 ** 96, tiny: 2 ** -130, infinite: 1 }[spread];
  const x = Float32Array.from(codes, (code, i) => {
    const value = Math.sin(12.9898 * (i + 1) + code) * power;
    if (spread === "far") return value * 2 ** ((code % 40) - 20);
    if (spread === "sparse") return code % 3 === 0 ? 0 : value;
    return spread === "infinite" && i === k >> 1 ? Infinity : value;
  });
  const grouped = given.group === undefined ? 1 : groupCount(weights);
  const scale = Float32Array.from({ length: n * grouped }, (_, i) => Math.fround(0.02 + 0.01 * Math.sin(i)));
  const start = bias ? Float32Array.from({ length: n }, (_, i) => Math.cos(i)) : undefined;
  const levels = Float32Array.from({ length: 2 ** given.bits }, (_, i) => Math.sin(3.7 * i + 0.1));
  const between = Float32Array.from({ length: n * grouped }, (_, i) => 2 ** given.bits * Math.cos(2.3 * i));
  const all = {
    ...weights,
    scale,
    ...(codebook && { codebook: levels }),
    ...(offsets && !codebook && { offsets: between }),
  };
  return [new Float32Array(m * n + 1).fill(-7), x, all, { m, bias: start }];
}

const depths = [1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 1000, 4097];
const spreads = ["near", "sparse", "far", "near", "huge", "near", "tiny"] as const;

export function* floatCases(): Generator<Args> {
  let turn = 0;
  for (const k of depths)
    for (let bits = 1; bits <= 8; bits++) {
      turn++;
      const form = {
        k,
        bits,
        unsignedWeights: turn % 3 === 1,
        zeros: turn % 5 === 1,
        halves: turn % 2 === 0,
        offsets: turn % 5 === 2,
        bias: turn % 2 === 0,
        spread: spreads[turn % 7],
      };
      yield floatArgs({ m: [1, 3, 5, 6][turn % 4], n: [1, 8, 9, 5][(turn >> 2) % 4], ...form });
      yield floatArgs({ m: 1, n: 17, ...form, spread: "near" });
      if (bits <= 4) yield floatArgs({ m: [1, 6][turn % 2], n: 9, ...form, codebook: true });
      if (k > 32) {
        yield floatArgs({ m: 2, n: 9, ...form, group: [16, 32, 64][turn % 3] });
        yield floatArgs({ m: 11, n: 9, ...form, group: [32, 64, 16][turn % 3] });
      }
    }
  // Groups that begin and end anywhere.
  for (const group of [1, 2, 3, 4, 5, 8, 12, 14, 24, 27, 33, 40])
    for (const m of [1, 6])
      for (const k of [group + 1, 67, 300]) {
        turn++;
        const n = [3, 8, 11][turn % 3];
        const zeros = turn % 4 === 0;
        yield floatArgs({ m, n, k, group, bits: 1 + (turn % 4), codebook: true });
        yield floatArgs({ m, n, k, group, bits: (turn % 8) + 1, zeros, spread: spreads[turn % 7] });
        yield floatArgs({ m, n, k, group, bits: (turn % 8) + 1, zeros: true, halves: true });
        yield floatArgs({ m, n, k, group, bits: (turn % 8) + 1, offsets: true, spread: spreads[turn % 7] });
      }
  for (const bits of [1, 4, 8]) {
    yield floatArgs({ m: 70, n: 40, k: 260, bits, bias: true });
    yield floatArgs({ m: 185, n: 11, k: 513, bits, group: 48 });
    if (bits <= 4)
      for (const m of [1, 5, 90])
        yield floatArgs({ m, n: 19, k: 513, bits, group: 64, codebook: true, bias: true });
    yield floatArgs({ m: 1, n: 12, k: 4200, bits, group: 2112 });
    yield floatArgs({ m: 2, n: 12, k: 64, bits, spread: "infinite", unsignedWeights: true });
    for (const [m, n, k] of [
      [0, 3, 4],
      [3, 0, 4],
      [2, 3, 0],
      [6, 3, 0],
    ])
      yield floatArgs({ m, n, k, bits, bias: true });
  }
}

/** (k + 2) · 2⁻²⁴ · (|bias| + Σ|x||w|) of each element, and what underflow of products may add. */
export function floatTolerance(
  out: Float32Array,
  x: Float32Array,
  weights: FloatWeights,
  { m, bias }: FloatShape,
): Float64Array {
  const { n, k } = weights;
  const values = floatValues(weights).map(Math.abs);
  const bound = new Float64Array(out.length);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = Math.abs(bias?.[j] ?? 0);
      for (let l = 0; l < k; l++) sum += Math.abs(x[i * k + l]) * values[j * k + l];
      bound[i * n + j] = (k + 2) * 2 ** -24 * sum + (k + 1) * 2 ** -149;
    }
  return bound;
}
