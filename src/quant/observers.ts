/** Observers: ranges gathered over batches, for scales that are fixed before inference. */

import { changing } from "../changes.ts";
import { floatsOf } from "../codes/loops.ts";
import type { Observer } from "../codes/observer.ts";
import { paramsOf, type QuantParams, type Range, rangesOf } from "../codes/params.ts";
import { forRuns, scaleShape } from "../codes/runs.ts";
import { checkSpec, isSigns, type QuantSpec } from "../codes/spec.ts";
import { checkInteger, OptionError, readOptions, StageError, show } from "../errors.ts";
import { type Shape, sameShape } from "../shape.ts";
import { asTensor, type Tensor } from "../tensor.ts";
import {
  added,
  count,
  type Histogram,
  leastDivergence,
  leastError,
  quantileOf,
  rebinned,
  widened,
} from "./histogram.ts";
import { binned, leastRanges, shrunk } from "./methods/clips.ts";

/** What an observer remembers, and the range that it makes of that. */
export interface How {
  readonly name: string;
  /** Equal for observers that may be merged; null for one to which the order of batches matters. */
  readonly key: string | null;
  /** How far a batch moves the range towards its own; null for one that only widens. */
  readonly momentum?: number;
  /** Bins that numbers are counted in, or their magnitudes. */
  readonly bins?: number;
  readonly magnitudes?: boolean;
  choose?(range: Range, counts: Histogram, spec: QuantSpec): readonly [min: number, max: number];
}

/** What is known of one run: its range, and how often numbers occurred. */
interface Seen {
  readonly range: Range;
  readonly counts: Histogram | null;
}

/** A class, so that a clone of a model observes for itself. */
class Gathered implements Observer {
  readonly spec: QuantSpec;
  readonly how: How;
  private held: Seen[] | null = null;
  private shape: Shape = [];

  constructor(spec: QuantSpec, how: How) {
    checkSpec("observer", spec);
    if (spec.granularity !== "tensor" && spec.granularity !== "channel") {
      throw new OptionError(
        `observer: needs one scale a tensor or a channel, got granularity ${show(spec.granularity)}`,
      );
    }
    if (how.choose && isSigns(spec)) {
      throw new OptionError(`${how.name}: signs have no range to choose, got bits 1; use minMax`);
    }
    this.spec = spec;
    this.how = how;
  }

  observe(x: Tensor): void {
    x = asTensor("observer", x);
    if (x.size === 0) return;
    const { spec, how } = this;
    const ranges = rangesOf(x, spec);
    const seen: Seen[] = ranges.map((range) => ({ range, counts: null }));
    if (how.bins) {
      const data = how.magnitudes ? floatsOf(x).map(Math.abs) : floatsOf(x);
      forRuns(spec, x.shape, (from, to, k) => {
        const { range, counts } = seen[k];
        const before = this.held?.[k]?.counts;
        const [least, most] = this.sides(range);
        const { low, high } = before ? widened(before, least, most) : { low: least, high: most };
        const more = count(data, from, to, low, high, how.bins!);
        seen[k] = { range, counts: counts ? added(counts, more) : more };
      });
    }
    this.take(seen, x.shape);
  }

  merge(other: Observer): void {
    const { how, held, shape } = other as Gathered;
    const { key, name } = this.how;
    if (key === null || how?.key !== key || JSON.stringify(other.spec) !== JSON.stringify(this.spec)) {
      throw new OptionError(
        `${name}: can be merged with ${key === null ? "none, since its batches have an order" : "its own kind, of equal spec and settings, alone"}, got ${show(how?.name ?? other)}`,
      );
    }
    if (held) this.take(held, shape);
  }

  params(): QuantParams {
    const { held, shape, spec, how } = this;
    if (!held) throw new StageError("observer: no batch was observed, got none; call calibrate first");
    const chosen = held.map(({ range, counts }) => {
      if (!how.choose || !counts) return range;
      const [min, max] = how.choose(range, counts, spec);
      return { ...range, min, max };
    });
    return paramsOf(chosen, shape, spec);
  }

  /** What numbers of a range are counted over. */
  private sides({ min, max }: Range): [low: number, high: number] {
    return this.how.magnitudes ? [0, Math.max(-min, max)] : [min, max];
  }

  private take(seen: readonly Seen[], shape: Shape): void {
    const { spec, held } = this;
    if (held && !sameShape(scaleShape(spec, this.shape), scaleShape(spec, shape))) {
      throw new OptionError(
        `observer: batches must have equal channels, got ${show(shape)} after ${show(this.shape)}`,
      );
    }
    changing(this, () => {
      const before = { held: this.held, shape: this.shape };
      return () => Object.assign(this, before);
    });
    this.held = held ? held.map((each, k) => this.joined(each, seen[k])) : [...seen];
    this.shape = shape;
  }

  private joined(held: Seen, seen: Seen): Seen {
    const range = this.moved(held.range, seen.range);
    if (!held.counts || !seen.counts) return { range, counts: null };
    const { low, high } = widened(held.counts, seen.counts.low, seen.counts.high);
    return { range, counts: added(rebinned(held.counts, low, high), rebinned(seen.counts, low, high)) };
  }

  private moved(held: Range, seen: Range): Range {
    const { momentum } = this.how;
    const sums = { sum: held.sum + seen.sum, count: held.count + seen.count };
    if (momentum === undefined) {
      return { ...sums, min: Math.min(held.min, seen.min), max: Math.max(held.max, seen.max) };
    }
    const toward = (from: number, to: number) =>
      Math.fround(from + Math.fround(momentum * Math.fround(to - from)));
    return { ...sums, min: toward(held.min, seen.min), max: toward(held.max, seen.max) };
  }
}

/** An observer that remembers and chooses as told. */
export const gathered = (spec: QuantSpec, how: How): Observer => new Gathered(spec, how);

/**
 * The range of everything observed.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { minMax, spec } from "bitgrad/quant";
 *
 * const observer = minMax(spec({ bits: 8, granularity: "tensor" }));
 * for (const batch of [[1, -1.27], [0.5, 0.2]]) observer.observe(tensor(batch));
 * console.log(observer.params().scale.item()); // 0.01
 * ```
 */
export const minMax = (spec: QuantSpec): Observer => new Gathered(spec, { name: "minMax", key: "minMax" });

/**
 * Ranges that move by `momentum` of the way to each batch's, from the first batch's on. Default 0.01, as in PyTorch.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { movingAverage, spec } from "bitgrad/quant";
 *
 * const observer = movingAverage(spec({ bits: 8, granularity: "tensor" }), { momentum: 0.5 });
 * for (const batch of [[-1.27, 1.27], [-2.54, 2.54]]) observer.observe(tensor(batch));
 * console.log(observer.params().scale.item()); // 0.015
 * ```
 */
export function movingAverage(spec: QuantSpec, options?: { momentum?: number }): Observer {
  const { momentum } = readOptions("movingAverage", options, { momentum: 0.01 });
  if (!(momentum > 0 && momentum <= 1)) {
    throw new OptionError(`movingAverage: momentum must lie in (0, 1], got ${momentum}`);
  }
  return new Gathered(spec, { name: "movingAverage", key: null, momentum });
}

export function binCount(op: string, name: string, value: number, least: number): number {
  const most = 65_536;
  checkInteger(op, name, value, least);
  if (value > most) throw new OptionError(`${op}: ${name} must be at most ${most}, got ${value}`);
  return value;
}

/**
 * The range between two quantiles: below and above it lies 1 − `percent` / 100 of all numbers each, 0.001 % unless told
 * otherwise, by linear interpolation within bins.
 *
 * @example
 * ```ts
 * import { arange } from "bitgrad";
 * import { percentile, spec } from "bitgrad/quant";
 *
 * const observer = percentile(spec({ bits: 8, scheme: "affine" }), { percent: 99 });
 * observer.observe(arange(0, 101));
 * console.log(observer.params().scale.mul(255).item()); // 99.0
 * ```
 */
export function percentile(spec: QuantSpec, options?: { percent?: number; bins?: number }): Observer {
  const { percent, bins } = readOptions("percentile", options, { percent: 99.999, bins: 2048 });
  if (!(percent > 50 && percent <= 100))
    throw new OptionError(`percentile: percent must lie in (50, 100], got ${percent}`);
  return new Gathered(spec, {
    name: "percentile",
    key: `percentile ${percent} ${bins}`,
    bins: binCount("percentile", "bins", bins, 1),
    choose: (_range, counts) => [quantileOf(counts, 1 - percent / 100), quantileOf(counts, percent / 100)],
  });
}

/**
 * The least error: of the range of everything observed, and of it shrunk in even `steps` towards 0, the one whose codes have
 * the least Σ|x − x̂|^`norm`. Of equal ones the widest. 100 steps and the squared error unless told otherwise.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 * import { minMax, mse, spec } from "bitgrad/quant";
 *
 * const int4 = spec({ bits: 4, granularity: "tensor" });
 * const [whole, clipped] = [minMax(int4), mse(int4)];
 * for (const each of [whole, clipped]) each.observe(randn([10_000], { rng: new Rng("x") }));
 * console.log(clipped.params().scale.item() < whole.params().scale.item()); // true
 * ```
 */
export function mse(spec: QuantSpec, options?: { norm?: number; steps?: number; bins?: number }): Observer {
  const { norm, steps, bins } = readOptions("mse", options, { norm: 2, steps: 100, bins: 2048 });
  if (!(norm > 0 && norm < Infinity)) throw new OptionError(`mse: norm must be positive, got ${norm}`);
  binCount("mse", "steps", steps, 1);
  return new Gathered(spec, {
    name: "mse",
    key: `mse ${norm} ${steps} ${bins}`,
    bins: binCount("mse", "bins", bins, 1),
    choose(range, counts, spec) {
      const numbers = binned(counts, range, spec);
      const [{ min, max }] = leastRanges(numbers, shrunk([range], steps), norm);
      return [min, max];
    },
  });
}

/**
 * The range of PyTorch's HistogramObserver: tails are dropped while that makes the squared error of even levels less. 2048
 * bins unless told otherwise.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { calibrate, histogram, plan, prepare, staticInput, ste } from "bitgrad/quant";
 *
 * const config = { weight: ste({ bits: 8 }), input: staticInput({ observer: histogram }) };
 * const model = prepare(new Linear(64, 8), plan({ default: config }));
 * await calibrate(model, [randn([16, 64], { rng: new Rng("x") })]);
 * ```
 */
export function histogram(spec: QuantSpec, options?: { bins?: number }): Observer {
  const { bins } = readOptions("histogram", options, { bins: 2048 });
  return new Gathered(spec, {
    name: "histogram",
    key: `histogram ${bins}`,
    bins: binCount("histogram", "bins", bins, 1),
    choose: (_range, counts, { bits }) => leastError(counts, 2 ** bits),
  });
}

/**
 * The range whose codes keep most of the information: magnitudes are clamped where the Kullback–Leibler divergence of the
 * clamped distribution from that of its codes is least. 2048 bins unless told otherwise. At 8 bits it clamps too much where
 * outliers matter; `mse` does not. Migacz, 8-bit inference with TensorRT, 2017.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 * import { entropy, minMax, spec } from "bitgrad/quant";
 *
 * const int4 = spec({ bits: 4, granularity: "tensor" });
 * const [whole, clamped] = [minMax(int4), entropy(int4)];
 * for (const each of [whole, clamped]) each.observe(randn([10_000], { rng: new Rng("x") }));
 * console.log(clamped.params().scale.item() < whole.params().scale.item()); // true
 * ```
 */
export function entropy(spec: QuantSpec, options?: { bins?: number }): Observer {
  const { bins } = readOptions("entropy", options, { bins: 2048 });
  checkSpec("entropy", spec);
  return new Gathered(spec, {
    name: "entropy",
    key: `entropy ${bins}`,
    bins: binCount("entropy", "bins", bins, 2 ** spec.bits),
    magnitudes: true,
    choose({ min, max }, counts, { bits, scheme }) {
      // Codes of magnitudes: half of all where numbers have both signs.
      const oneSided = scheme === "affine" && (min >= 0 || max <= 0);
      const limit = leastDivergence(counts, 2 ** (oneSided ? bits : bits - 1));
      return [Math.max(min, -limit), Math.min(max, limit)];
    },
  });
}
