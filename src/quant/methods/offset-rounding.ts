/** Offsets of what is rounded, and factors of the ranges that scales are found from: what signRound learns. */

import type { QTensor } from "../../codes/contract.ts";
import { chooseParams, paramsOf, type QuantParams, type Range, rangesOf } from "../../codes/params.ts";
import { roundBy } from "../../codes/rounding.ts";
import { scalarCodes } from "../../codes/scalar.ts";
import type { FloatArray } from "../../dtype.ts";
import { signSgd } from "../../optim/rules/signsgd.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import type { Rounding, Start } from "./reconstruction.ts";

/** Numbers that are learned, and their gradients. */
interface Learned {
  /** An offset of each weight, in codes, from −1/2 to 1/2. */
  readonly v: Float32Array;
  /** Factors from 0 to 1 of the least and of the largest number of each run. */
  readonly least: Float32Array;
  readonly most: Float32Array;
}

/** code = clamp(round(w / scale + V) + zero point), with the scales of ranges times their factors. */
export class OffsetRounding implements Rounding, Learned {
  readonly hard = true;
  readonly v: Float32Array;
  readonly least: Float32Array;
  readonly most: Float32Array;
  private readonly start: Start;
  private readonly lr: number;
  private readonly ranges: readonly Range[] | null;
  private readonly slope: Learned;
  private readonly rule = signSgd();
  /** What the numbers are at present: codes, 1 where none is clamped, and what reads them. */
  private readonly found: Int16Array;
  private readonly inside: Uint8Array;
  private params: QuantParams;

  /** Without `learnsRanges` the scales stay as they are. */
  constructor(start: Start, lr: number, learnsRanges: boolean) {
    const { size } = start.codes.scale;
    const n = start.weight.length;
    this.start = start;
    this.lr = lr;
    this.ranges = learnsRanges ? coveredRanges(start) : null;
    this.v = new Float32Array(n);
    this.least = new Float32Array(size).fill(1);
    this.most = new Float32Array(size).fill(1);
    this.slope = { v: new Float32Array(n), least: new Float32Array(size), most: new Float32Array(size) };
    this.found = new Int16Array(n);
    this.inside = new Uint8Array(n);
    this.params = start.codes;
  }

  values(out: FloatArray): void {
    const { weight, codes, index } = this.start;
    const { spec } = codes;
    const { qmin, qmax } = spec;
    const { valueOf } = scalarCodes(spec);
    const rounding = spec.rounding === "stochastic" ? "half-even" : spec.rounding;
    const float = spec.zeroPoint === "float";
    this.params = this.ranges ? this.scaled(this.ranges, this.least) : codes;
    const [scales, zeros] = arraysOf(this.params);
    for (let i = 0; i < weight.length; i++) {
      const k = index[i];
      const zero = zeros ? zeros[k] : 0;
      // To the bit as the contract has it where V is 0.
      const steps = Math.fround(Math.fround(weight[i]) / scales[k]);
      const shifted = (float ? Math.fround(steps + zero) : steps) + this.v[i];
      const q = roundBy(rounding, shifted) + (float ? 0 : zero);
      const code = Math.min(qmax, Math.max(qmin, q)) + 0;
      this.found[i] = code;
      this.inside[i] = code === q ? 1 : 0;
      out[i] = valueOf(code, scales[k], zero);
    }
  }

  /** Scales and zero points of the ranges times their factors. */
  private scaled(ranges: readonly Range[], least: Float32Array | null): QuantParams {
    const { codes } = this.start;
    const made = ranges.map((range, k) => {
      const [min, max] = [least ? range.min * least[k] : 0, range.max * this.most[k]];
      return { ...range, min, max };
    });
    return paramsOf(made, codes.shape, codes.spec);
  }

  /**
   * The gradient with respect to what is learned, from that with respect to the numbers that `values` gave last. It passes
   * straight through rounding, that of zero points too.
   */
  gradient(of: FloatArray): Learned {
    const { weight, index, mask } = this.start;
    const [scales, zeros] = arraysOf(this.params);
    const { v } = this.slope;
    const toScale = new Float64Array(scales.length);
    const toZero = new Float64Array(scales.length);
    for (let i = 0; i < weight.length; i++) {
      const k = index[i];
      const inside = this.inside[i] === 1;
      // A weight that is masked stays on the code of 0.
      v[i] = inside && mask?.[i] !== 0 ? of[i] * scales[k] : 0;
      if (!inside) toZero[k] -= of[i] * scales[k];
      const steps = this.found[i] - (zeros ? zeros[k] : 0);
      toScale[k] += of[i] * (inside ? steps - weight[i] / scales[k] : steps);
    }
    if (this.ranges) this.toFactors(this.ranges, toScale, toZero);
    return this.slope;
  }

  /** From scales and zero points on to the factors of their ranges. */
  private toFactors(ranges: readonly Range[], toScale: Float64Array, toZero: Float64Array): void {
    const { qmin, qmax, zeroPoint, includeZero } = this.start.codes.spec;
    const { least, most } = this.slope;
    const [scales] = arraysOf(this.params);
    // Without a zero point one end makes the scale, which is a multiple of its factor.
    const ofMost = zeroPoint === "none" ? arraysOf(this.scaled(ranges, null))[0] : scales;
    for (const [k, { min, max }] of ranges.entries()) {
      const scale = scales[k];
      least[k] = 0;
      most[k] = 0;
      if (zeroPoint === "none") {
        const [side, factors] = max > 0 && ofMost[k] === scale ? [most, this.most] : [least, this.least];
        side[k] = factors[k] === 0 ? 0 : (toScale[k] * scale) / factors[k];
        continue;
      }
      // scale = (upper − lower) / (qmax − qmin) and zero point = qmin − lower / scale.
      const [low, high] = includeZero ? [Math.min(min, 0), Math.max(max, 0)] : [min, max];
      const lower = low * this.least[k];
      const along = (toScale[k] + (toZero[k] * lower) / scale ** 2) / (qmax - qmin);
      most[k] = along * high;
      least[k] = -along * low - (toZero[k] * low) / scale;
    }
  }

  step(of: FloatArray, at: number, iterations: number): void {
    const slope = this.gradient(of);
    const lr = this.lr * (1 - at / iterations);
    const pairs = [
      [this.v, slope.v, -0.5, 0.5],
      [this.least, slope.least, 0, 1],
      [this.most, slope.most, 0, 1],
    ] as const;
    for (const [learned, gradient, low, high] of pairs) {
      this.rule.update(learned, gradient, {}, lr);
      for (let i = 0; i < learned.length; i++) learned[i] = Math.min(high, Math.max(low, learned[i]));
    }
  }

  codes(): QTensor {
    return this.start.made(this.found, this.params);
  }
}

const arraysOf = ({ scale, zeroPoint }: QuantParams): [scales: Float32Array, zeros: Float32Array | null] => [
  scale.data as Float32Array,
  (zeroPoint?.data ?? null) as Float32Array | null,
];

const same = (a: Tensor | null, b: Tensor | null): boolean =>
  a === b || (a !== null && b !== null && (a.data as Float32Array).every((value, k) => value === b.data[k]));

/** The ranges that the scales of the start cover: those of the weights, unless the scales come from elsewhere. */
function coveredRanges({ weight, codes }: Start): Range[] {
  const { spec, scale, zeroPoint, shape } = codes;
  const x = wrap(Float32Array.from(weight), shape, "float32");
  const ranges = rangesOf(x, spec);
  const fitting = chooseParams(x, spec);
  if (same(scale, fitting.scale) && same(zeroPoint, fitting.zeroPoint)) return ranges;
  const [scales, zeros] = arraysOf({ scale, zeroPoint });
  const { qmin, qmax } = spec;
  return ranges.map((range, k) => {
    if (zeros) return { ...range, min: (qmin - zeros[k]) * scales[k], max: (qmax - zeros[k]) * scales[k] };
    const ratio = scales[k] / (fitting.scale.data[k] as number);
    const [min, max] = [range.min * ratio, range.max * ratio];
    return { ...range, min: Math.min(min, max), max: Math.max(min, max) };
  });
}
