/**
 * Products of weights of 1, 2 or 4 bits with integer activations of up to 8, by lookup of bytes: what each nibble of weights
 * adds to a sum, never less than 0, in tables for all pairs of digits of the activations.
 */

import { unpackBits, unpackSigns, unpackTernary } from "../bits.ts";
import { type Output, type OutputArray, outputStride } from "../output.ts";
import { alloc, view } from "../wasm/heap.ts";
import { layOutput, onHeap, placeOutput } from "../wasm/output.ts";
import { staged } from "../wasm/staging.ts";
import {
  inRowTasks,
  lookupExports,
  type PairCall,
  type PairLayer,
  type PairWeights,
  panelsOf,
} from "./simd.ts";

/** What the codes of the weights stand for, and the range of the activations, which are int8 where it has numbers below 0. */
export interface DigitKind {
  readonly weights: "signs" | "ternary" | "signed" | "unsigned";
  readonly bits: 1 | 2 | 4;
  readonly lowest: number;
  readonly highest: number;
}

/** What a code counts; a sign counts its bit, and the sum is Σ x − 2 · Σ x · bit. */
function levelOf({ weights, bits }: DigitKind, code: number): number {
  if (weights === "ternary") return code === 3 ? 0 : code - 1;
  return weights === "signed" && code >= 2 ** (bits - 1) ? code - 2 ** bits : code;
}

/** The weights as numbers. */
export function digitWeights(
  { weights, bits }: DigitKind,
  rows: Uint8Array,
  n: number,
  k: number,
): ArrayLike<number> {
  if (weights === "signs") return unpackSigns(rows, n, k);
  if (weights === "ternary") return unpackTernary(rows, n, k);
  return weights === "signed" ? unpackBits(rows, n, k, bits, { signed: true }) : unpackBits(rows, n, k, bits);
}

interface Plan {
  /** Weights of a step. */
  readonly count: number;
  readonly two: boolean;
  /** What is added to a code before its digits are taken, and to the high digit then. */
  readonly shift: number;
  readonly high: number;
  /** Steps that add up in a byte. */
  readonly group: number;
  /** The digit that slot 0 stands for, and the number of slots, of the low or only digit and of the high one. */
  readonly digits: readonly { first: number; slots: number }[];
  /** What is added to each table so that nothing is below 0. */
  readonly bias: readonly number[];
}

/** The ways to take an activation apart, the fastest that fits in bytes first; null where none does. */
function planOf(kind: DigitKind): Plan | null {
  const { bits, lowest, highest } = kind;
  const count = 4 / bits;
  const levels = Array.from({ length: 2 ** bits }, (_, code) => levelOf(kind, code));
  const least = Math.min(...levels);
  const most = Math.max(...levels);
  const ways = [
    { two: false, shift: -lowest, high: 0, digits: [[lowest, highest]] },
    {
      two: true,
      shift: 8,
      high: 8,
      digits: [
        [-8, 7],
        [(lowest + 8) >> 4, (highest + 8) >> 4],
      ],
    },
    {
      two: true,
      shift: 0,
      high: 8,
      digits: [
        [0, 15],
        [lowest >> 4, highest >> 4],
      ],
    },
  ];
  let best: Plan | null = null;
  for (const { two, shift, high, digits } of ways) {
    const bias: number[] = [];
    let span = 0;
    for (const [low, top] of digits) {
      const products = [least * low, least * top, most * low, most * top];
      bias.push(-count * Math.min(...products));
      span = Math.max(span, count * (Math.max(...products) - Math.min(...products)));
    }
    const group = span <= 36 ? 7 : span <= 63 ? 4 : span <= 127 ? 2 : 0;
    if (group === 0 || digits[0][1] - digits[0][0] > 31 || (best !== null && group <= best.group * 2))
      continue;
    const places = digits.map(([low, top], i) =>
      i === 1 ? { first: -high, slots: top + high + 1 } : { first: low, slots: top - low + 1 },
    );
    best = { count, two, shift, high, group, digits: places, bias };
  }
  return best;
}

const luts = new Map<string, number>();

/** Tables of all pairs of digits: 16 KB for the first two weights of a step, and for the last two, a digit. */
function lutOf(kind: DigitKind, { count, digits, bias }: Plan): number {
  const key = `${kind.weights} ${kind.bits} ${kind.lowest} ${kind.highest}`;
  const known = luts.get(key);
  if (known !== undefined) return known;
  const address = alloc(65536);
  if (address === 0) return 0;
  const to = view("uint8", address, 65536).fill(0);
  const level = (nibble: number, i: number): number =>
    levelOf(kind, (nibble >> (i * kind.bits)) & (2 ** kind.bits - 1));
  digits.forEach(({ first, slots }, d) => {
    for (let a = 0; a < slots; a++)
      for (let b = 0; b < (count === 1 ? 1 : slots); b++)
        for (let nibble = 0; nibble < 16; nibble++) {
          const at = d * 32768 + (count === 1 ? a : a * 32 + b) * 16 + nibble;
          const [x, y] = [first + a, first + b];
          to[at] = bias[d] + x * level(nibble, 0) + (count === 1 ? 0 : y * level(nibble, 1));
          if (count === 4) to[at + 16384] = x * level(nibble, 2) + y * level(nibble, 3);
        }
  });
  luts.set(key, address);
  return address;
}

/** The sums of rows of weights whose layers are laid out. */
const knownSums = new WeakMap<PairWeights, Int32Array>();

export interface DigitLayer extends Omit<PairLayer, "kind"> {
  readonly kind: DigitKind;
}

/** Lays a layer out; groups of scales are not served. Null where sums do not fit, without SIMD, or with the heap exhausted. */
export function prepareDigits(
  kind: DigitKind,
  weights: PairWeights,
  output: Output,
  code = lookupExports(),
): DigitLayer | null {
  if (code === null || planOf(kind) === null) return null;
  const { n, k } = weights;
  const bytes = Math.ceil((k * kind.bits) / 8);
  return onHeap((blocks) => {
    const panels = panelsOf(blocks, weights, bytes, code);
    let sums = knownSums.get(weights) ?? null;
    if (output.zeroX && sums === null) {
      sums = new Int32Array(n);
      const numbers = digitWeights(kind, weights.rows.subarray(0, n * bytes), n, k);
      for (let j = 0; j < n; j++) for (let l = 0; l < k; l++) sums[j] += numbers[j * k + l];
      knownSums.set(weights, sums);
    }
    const spec = layOutput(blocks, output, n, false, sums);
    const unit = output.to === "int32" || output.to === "float32" ? 4 : 1;
    return {
      kind,
      n,
      k,
      step: outputStride(output.to, n) * unit,
      panels,
      output: spec,
      free: () => blocks.free(),
    };
  });
}

/**
 * out (m, n) = the layer's transform of X (m, k) · Wᵀ at heap addresses, X of bytes within the range of the kind. False, with
 * nothing done, where SIMD cannot run or the heap is exhausted.
 */
export function digitHeap(
  layer: DigitLayer,
  out: number,
  x: number,
  { m, lda, scaleX }: PairCall,
  code = lookupExports(),
): boolean {
  const { kind, n, k, step, panels, output } = layer;
  const plan = planOf(kind);
  if (code === null || plan === null) return false;
  const { count, two, shift, high, group, bias } = plan;
  const steps = Math.ceil(k / count);
  const lut = lutOf(kind, plan);
  if (lut === 0) return false;
  placeOutput(output, { out, step, scaleX });
  const signs = kind.weights === "signs";
  const factor = signs ? -2 : 1;
  const base = -factor * steps * (bias[0] + (two ? 16 * bias[1] : 0));
  const rowX = lda ?? k;
  const digits = [count, two ? 1 : 0, kind.lowest < 0 ? 1 : 0, shift, high, group] as const;
  const sums = [base, factor, signs ? 1 : 0] as const;
  return inRowTasks(
    code,
    {
      m,
      nanoseconds: m * n * k * (two ? 0.014 : 0.007),
      bytes: (rows) => code.digitScratchBytes(rows, steps, two ? 1 : 0),
    },
    ({ digitGemm }, first, rows, space) => {
      const from = x + first * rowX;
      digitGemm(output, first, from, rowX, panels, rows, n, k, ...digits, ...sums, lut, space);
    },
  );
}

/** The same for activations in a typed array. Returns false, with nothing written, where it does not apply. */
export function digitArrays(
  kind: DigitKind,
  out: OutputArray,
  x: Int8Array | Uint8Array,
  w: Uint8Array,
  { m, n, k }: { m: number; n: number; k: number },
  output: Output = { to: "int32" },
  code = lookupExports(),
): boolean {
  const layer = prepareDigits(kind, { rows: w, n, k }, output, code);
  if (layer === null) return false;
  try {
    return staged((staging) => {
      const from = staging.input(x, 0, m * k);
      const to = staging.output(out, 0, m * outputStride(output.to, n), true);
      return from !== 0 && to !== 0 && digitHeap(layer, to, from, { m }, code ?? undefined);
    });
  } finally {
    layer.free();
  }
}
