/** Rounding down or up, and all between: what adaRound learns. */

import type { QTensor } from "../../codes/contract.ts";
import { scalarCodes } from "../../codes/scalar.ts";
import { isSigns, type QuantSpec } from "../../codes/spec.ts";
import type { FloatArray } from "../../dtype.ts";
import { adam } from "../../optim/rules/adam.ts";
import type { Rounding, Start } from "./reconstruction.ts";

export interface SoftOptions {
  /** Adam's learning rate. */
  lr: number;
  /** What a rounding that is undecided costs; the error of the codes at the start is 1. Default 0.01. */
  lambda: number;
  /**
   * The exponent β of that cost, 1 − |2h − 1|^β, at first and in the end, on a line between. A large one moves only
   * roundings that are nearly decided. Default 20, 2.
   */
  beta: readonly [number, number];
  /** Share of the iterations before which nothing costs. Default 0.2. */
  warmup: number;
}

/** h(V) is a sigmoid that is stretched to −0.1 … 1.1 and clipped, so that it reaches 0 and 1. */
const [low, width] = [-0.1, 1.2];

/** Numbers as places among the codes of a spec: code k of those in order stands at place k, other numbers between. */
interface Places {
  readonly first: number;
  readonly last: number;
  codeAt(place: number): number;
  placeOf(x: number, scale: number, zeroPoint: number): number;
}

function placesOf(spec: QuantSpec): Places {
  const { qmin, qmax, codebook } = spec;
  const same = (place: number): number => place;
  if (isSigns(spec)) {
    // Of a scale of 0 both codes are 0.
    const placeOf = (x: number, scale: number): number => (scale === 0 ? 1 : (x / scale + 1) / 2);
    return { first: 0, last: 1, codeAt: (place) => 2 * place - 1, placeOf };
  }
  if (!codebook)
    return { first: qmin, last: qmax, codeAt: same, placeOf: (x, scale, zero) => x / scale + zero };
  const placeOf = (x: number, scale: number): number => {
    const u = x / scale;
    let k = 0;
    while (k < qmax && u >= codebook[k + 1]) k++;
    return k === qmax ? k : k + (u - codebook[k]) / (codebook[k + 1] - codebook[k]);
  };
  return { first: 0, last: qmax, codeAt: same, placeOf };
}

/** Each weight between the values of the codes below and above it, h(V) of the way up. */
export class SoftRounding implements Rounding {
  readonly hard = false;
  /** What is learned; 0 and more is up. */
  readonly v: Float32Array;
  private readonly start: Start;
  private readonly options: SoftOptions;
  private readonly below: Int16Array;
  private readonly above: Int16Array;
  /** The value of the code below, and how far that of the other is from it. */
  private readonly from: Float64Array;
  private readonly gap: Float64Array;
  /** h(V) before it is clipped, of the numbers that `values` gave last. */
  private readonly h: Float64Array;
  private readonly slope: Float32Array;
  private readonly rule = adam();
  private readonly state: ReturnType<ReturnType<typeof adam>["init"]>;

  constructor(start: Start, options: SoftOptions) {
    const { weight, codes, mask, index } = start;
    const { spec, scale, zeroPoint } = codes;
    const { first, last, codeAt, placeOf } = placesOf(spec);
    const { valueOf } = scalarCodes(spec);
    const n = weight.length;
    this.start = start;
    this.options = options;
    this.v = new Float32Array(n);
    this.below = new Int16Array(n);
    this.above = new Int16Array(n);
    this.from = new Float64Array(n);
    this.gap = new Float64Array(n);
    this.h = new Float64Array(n);
    this.slope = new Float32Array(n);
    const codeNear = (place: number): number => codeAt(Math.min(last, Math.max(first, place)));
    for (let i = 0; i < n; i++) {
      const s = scale.data[index[i]] as number;
      const zero = (zeroPoint?.data[index[i]] as number | undefined) ?? 0;
      const place = placeOf(weight[i], s, zero);
      const floor = Math.floor(place);
      const stays = mask?.[i] === 0;
      this.below[i] = stays ? codes.codes.data[i] : codeNear(floor);
      this.above[i] = stays ? codes.codes.data[i] : codeNear(floor + 1);
      this.from[i] = valueOf(this.below[i], s, zero);
      this.gap[i] = valueOf(this.above[i], s, zero) - this.from[i];
      // h(V) begins where the weight is.
      this.v[i] = -Math.log(width / (place - floor - low) - 1);
    }
    this.state = this.rule.init(n, this.v);
  }

  values(out: FloatArray): void {
    const { v, h, from, gap } = this;
    for (let i = 0; i < v.length; i++) {
      h[i] = width / (1 + Math.exp(-v[i])) + low;
      out[i] = from[i] + gap[i] * Math.min(1, Math.max(0, h[i]));
    }
  }

  /** The gradient with respect to V: that of the error, given for the numbers, and that of λ Σ (1 − |2h − 1|^β). */
  gradient(of: FloatArray, lambda: number, beta: number): Float32Array {
    const { h, gap, slope } = this;
    for (let i = 0; i < h.length; i++) {
      slope[i] = 0;
      if (h[i] < 0 || h[i] > 1) continue;
      const side = 2 * h[i] - 1;
      // x^β as exp(β log x): `**` takes several times as long.
      const power = lambda === 0 || side === 0 ? 0 : Math.exp((beta - 1) * Math.log(Math.abs(side)));
      const cost = -2 * lambda * beta * power * Math.sign(side);
      slope[i] = ((of[i] * gap[i] + cost) * (h[i] - low) * (low + width - h[i])) / width;
    }
    return slope;
  }

  step(of: FloatArray, at: number, iterations: number): void {
    const { lr, lambda, beta, warmup } = this.options;
    const begin = warmup * iterations;
    const slope = this.gradient(of, at < begin ? 0 : lambda, annealed(beta, at, begin, iterations));
    this.rule.update(this.v, slope, this.state, lr);
  }

  codes(): QTensor {
    const { v, below, above, start } = this;
    return start.made(
      below.map((code, i) => (v[i] >= 0 ? above[i] : code)),
      start.codes,
    );
  }
}

/** From `first` to `last` on a line from step `begin` to step `end`. */
export const annealed = (
  [first, last]: readonly [number, number],
  at: number,
  begin: number,
  end: number,
): number => (at <= begin ? first : last + (first - last) * Math.max(0, 1 - (at - begin) / (end - begin)));
