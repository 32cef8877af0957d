/** What the integer products are tried on: depths around every width of a vector, all widths of codes, extremes, outputs. */

import { codeRange, type Output, type OutputArray, outputStride } from "../output.ts";
import { type Activations, groupCount, type IntShape, type IntWeights } from "./reference.ts";

type Args = [out: OutputArray, x: Activations, weights: IntWeights, shape: IntShape, output: Output];

/** Numbers of 32 bits that repeat: a multiplicative generator (Lehmer, 1951), its high bits taken. */
function integers(seed: number): (below: number) => number {
  let state = (seed * 2 + 1) % 2147483647;
  return (below) => {
    state = Number((BigInt(state) * 48271n) % 2147483647n);
    return Math.floor((state / 2147483647) * below);
  };
}

export interface IntCase {
  m: number;
  n: number;
  k: number;
  bits: number;
  unsigned?: boolean;
  unsignedWeights?: boolean;
  zeros?: boolean;
  /** With zeros: zero points lie half a code above. */
  halves?: boolean;
  group?: number;
  extreme?: boolean;
  to?: Output["to"];
  zeroX?: number;
  scaled?: boolean;
  seed?: number;
}

const outputArray = (to: Output["to"], length: number): OutputArray => {
  if (to === "int32") return new Int32Array(length).fill(-7);
  if (to === "float32") return new Float32Array(length).fill(-7);
  return to === "int8" ? new Int8Array(length).fill(-7) : new Uint8Array(length).fill(to === "bits" ? 0 : 7);
};

/** The arguments of a case; one element more than the output shows a write outside. */
export function intArgs(c: IntCase): Args {
  const { m, n, k, bits, extreme = false, to = "int32", group, zeroX = 0 } = c;
  const next = integers(c.seed ?? m * 7919 + n * 104729 + k * 1299709 + bits);
  const float = (): number => Math.fround((next(2 ** 24) / 2 ** 23 - 1) * 2 ** -7);
  const floats = (length: number): Float32Array => Float32Array.from({ length }, float);
  const x = c.unsigned ? new Uint8Array(m * k) : new Int8Array(m * k);
  for (let i = 0; i < x.length; i++) x[i] = extreme ? (c.unsigned ? 255 : -128) : next(256);
  const unsignedWeights = c.unsignedWeights || c.zeros === true;
  const codes = unsignedWeights ? new Uint8Array(n * k) : new Int8Array(n * k);
  const offset = unsignedWeights ? 0 : 2 ** (bits - 1);
  for (let i = 0; i < codes.length; i++) {
    const code = extreme ? (unsignedWeights ? 2 ** bits - 1 : 0) : next(2 ** bits);
    codes[i] = bits === 1 && !unsignedWeights ? 1 - 2 * code : code - offset;
  }
  let weights: IntWeights = { n, k, bits, codes, group };
  const groups = groupCount(weights);
  if (c.zeros)
    weights = {
      ...weights,
      zeros: Uint8Array.from({ length: n * groups }, () => next(2 ** bits)),
      halves: c.halves,
    };
  const output: Output = {
    to,
    zeroX,
    scaleW: groups > 1 ? floats(n * groups) : c.scaled ? floats(n) : undefined,
    ...(c.scaled && {
      scaleX: floats(m),
      bias: floats(n),
      low: -0.25,
      high: 6,
      inverse: Math.fround(1 / 0.0078),
      outZero: to === "uint8" ? 100 : -3,
    }),
    ...(to === "bits" &&
      !c.scaled && {
        thresholds: Int32Array.from({ length: n }, () => next(2001) - 1000),
        directions: Int8Array.from({ length: n }, () => next(2) * 2 - 1),
      }),
  };
  return [outputArray(to, m * outputStride(to, n) + 1), x, weights, { m }, output];
}

const depths = [1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 1000, 4097];
const outputs = ["int32", "float32", "int8", "uint8", "bits"] as const;

export function* intCases(): Generator<Args> {
  let turn = 0;
  for (const k of depths)
    for (let bits = 1; bits <= 8; bits++) {
      turn++;
      const [unsigned, unsignedWeights, zeros] = [turn % 2 === 1, turn % 3 === 1, turn % 5 === 1];
      const m = [1, 3, 4, 6][turn % 4];
      const n = [1, 8, 9, 5][(turn >> 2) % 4];
      const zeroX = turn % 4 === 0 ? 0 : unsigned ? 117 : -5;
      const form = { k, bits, unsigned, unsignedWeights, zeros, halves: turn % 2 === 0, zeroX };
      yield intArgs({ m, n, ...form });
      yield intArgs({
        m: turn % 2 === 0 ? 2 : 5,
        n: 17,
        ...form,
        to: outputs[turn % 5],
        scaled: turn % 7 !== 0,
      });
      if (k > 32)
        yield intArgs({
          m,
          n,
          ...form,
          group: [16, 32, 64][turn % 3],
          to: "float32",
          scaled: turn % 2 === 0,
        });
      if (k <= 128) {
        yield intArgs({ m: 4, n: 3, k, bits, extreme: true, unsigned });
        yield intArgs({ m: 1, n: 3, k, bits, extreme: true, unsigned: !unsigned, unsignedWeights: true });
      }
    }
  // Up to the bounds of the accumulator: 2³¹ less than one product.
  for (const m of [1, 4]) {
    yield intArgs({ m, n: 1, k: 131_071, bits: 8, extreme: true });
    yield intArgs({ m, n: 1, k: 65_793, bits: 8, extreme: true, unsigned: true });
    yield intArgs({ m, n: 1, k: 65_793, bits: 4, extreme: true, unsigned: true, unsignedWeights: true });
    yield intArgs({ m, n: 1, k: 33_025, bits: 8, extreme: true, unsigned: true, unsignedWeights: true });
  }
  // Past what sums of whole bytes may add up to, and far below the bound.
  // So many rows that threads share them out.
  for (const k of [33, 512]) yield intArgs({ m: 333, n: 21, k, bits: 8, to: "float32", unsigned: true });
  yield intArgs({ m: 1, n: 8, k: 140_000, bits: 4, extreme: true, unsignedWeights: true });
  // Rows, columns and depths around what is multiplied in halves.
  for (const [m, n, k] of [
    [30, 16, 256],
    [43, 17, 288],
    [47, 9, 500],
    [58, 33, 541],
    [60, 24, 4096],
  ])
    for (const bits of [8, (k % 7) + 1]) {
      turn++;
      const form = { m, n, k, bits, unsigned: turn % 2 === 0, unsignedWeights: turn % 4 < 2 };
      yield intArgs({
        ...form,
        to: outputs[turn % 5],
        scaled: turn % 3 !== 0,
        zeroX: turn % 3,
        zeros: turn % 4 === 1,
        halves: bits === 8,
      });
      yield intArgs({ ...form, extreme: true });
    }
  // Groups that begin and end anywhere.
  for (const group of [1, 2, 3, 4, 5, 8, 12, 14, 24, 27, 33, 40])
    for (const m of [1, 2, 6])
      for (const k of [group + 1, 67, 96]) {
        turn++;
        const bits = (turn % 8) + 1;
        const scaled = turn % 2 === 0;
        const form = { m, n: [3, 8, 11][turn % 3], k, group, to: "float32", scaled } as const;
        yield intArgs({ ...form, bits });
        yield intArgs({ ...form, bits: 9 - bits, unsigned: true, zeroX: turn % 3, zeros: turn % 4 === 0 });
        yield intArgs({ ...form, bits, zeros: true, halves: true, zeroX: turn % 2 });
      }
  for (const bits of [4, 8]) {
    yield intArgs({ m: 70, n: 40, k: 260, bits, to: "float32", scaled: true });
    yield intArgs({ m: 131, n: 24, k: 2100, bits, unsigned: true, zeroX: 3 });
    yield intArgs({ m: 7, n: 12, k: 4200, bits, group: 2112, to: "float32" });
  }
  for (const to of outputs)
    for (const [m, n, k] of [
      [0, 3, 4],
      [3, 0, 4],
      [2, 3, 0],
      [6, 3, 0],
    ])
      yield intArgs({ m, n, k, bits: 8, to, scaled: to !== "bits" });
  for (const to of ["int8", "uint8"] as const) yield wideOutputs(to);
}

/** Scaled sums on, beside and far outside of the range of the codes. */
function wideOutputs(to: "int8" | "uint8"): Args {
  const [out, x, weights, shape, output] = intArgs({ m: 5, n: 16, k: 64, bits: 8, to });
  const [least, most] = codeRange(to);
  const scaleW = Float32Array.from({ length: 16 }, (_, i) => 10 ** (i - 4));
  const bias = Float32Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? least : most) + (i % 3) / 2);
  return [out, x, weights, shape, { ...output, scaleW, bias, inverse: 1, outZero: 0 }];
}
