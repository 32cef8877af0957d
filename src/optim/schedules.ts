/**
 * Learning-rate schedules. A schedule is a pure function of the step k = 0, 1, … that gives the MULTIPLIER of every group's
 * initial learning rate at that step, so one schedule serves groups of different rates and nothing but k has to be saved.
 * The rate the optimizer was made with is therefore the peak (1 in the formulas), as it is in PyTorch's factor schedules;
 * `noam` alone counts from a rate of 1.
 */

import { isFunction, OptionError, readOptions, show } from "../errors.ts";
import { checkAtLeast, checkCount, checkPositive } from "./options.ts";

export type Schedule = (step: number) => number;

/** Options of which those named K must be given. */
type Needs<T, K extends keyof T> = Partial<T> & Pick<T, K>;

const cosineBetween = (from: number, to: number, part: number): number =>
  to + (from - to) * 0.5 * (1 + Math.cos(Math.PI * part));

const lineBetween = (from: number, to: number, part: number): number => from + (to - from) * part;

/**
 * `factor` for the first `total` steps (for ever by default), then 1. As ConstantLR.
 *
 * @example
 * ```ts
 * import { constant } from "bitgrad/optim";
 *
 * const rate = constant({ factor: 0.5, total: 10 });
 * console.log(rate(0), rate(10)); // 0.5 1
 * ```
 */
export function constant(options?: { factor?: number; total?: number }): Schedule {
  const { factor, total } = readOptions("constant", options, { factor: 1, total: Infinity });
  checkAtLeast("constant", "factor", factor, 0);
  if (total !== Infinity) checkCount("constant", "total", total, 0);
  return (k) => (k < total ? factor : 1);
}

/**
 * From `start` (1) to `end` (0) in a straight line over `total` steps, then `end`. As LinearLR.
 *
 * @example
 * ```ts
 * import { linear } from "bitgrad/optim";
 *
 * const rate = linear({ start: 1, end: 0.2, total: 100 });
 * console.log(rate(0), rate(50), rate(100)); // 1 0.6 0.2
 * ```
 */
export function linear(options: Needs<{ start: number; end: number; total: number }, "total">): Schedule {
  const { start, end, total } = readOptions("linear", options, { start: 1, end: 0, total: 0 });
  checkAtLeast("linear", "start", start, 0);
  checkAtLeast("linear", "end", end, 0);
  checkCount("linear", "total", total, 1);
  return (k) => lineBetween(start, end, Math.min(k, total) / total);
}

/**
 * (1 − k / total)^power, then 0. As PolynomialLR.
 *
 * @example
 * ```ts
 * import { polynomial } from "bitgrad/optim";
 *
 * const rate = polynomial({ total: 100, power: 2 });
 * console.log(rate(0), rate(50)); // 1 0.25
 * ```
 */
export function polynomial(options: Needs<{ total: number; power: number }, "total">): Schedule {
  const { total, power } = readOptions("polynomial", options, { total: 0, power: 1 });
  checkCount("polynomial", "total", total, 1);
  checkPositive("polynomial", "power", power);
  return (k) => (1 - Math.min(k, total) / total) ** power;
}

/**
 * gamma^⌊k / size⌋. As StepLR.
 *
 * @example
 * ```ts
 * import { step } from "bitgrad/optim";
 *
 * const rate = step({ size: 30, gamma: 0.1 });
 * console.log(rate(0), rate(30), rate(60)); // 1 0.1 0.01
 * ```
 */
export function step(options: Needs<{ size: number; gamma: number }, "size">): Schedule {
  const { size, gamma } = readOptions("step", options, { size: 0, gamma: 0.1 });
  checkCount("step", "size", size, 1);
  checkPositive("step", "gamma", gamma);
  return (k) => gamma ** Math.floor(k / size);
}

/**
 * gamma to the number of `milestones` reached; one listed twice counts twice. As MultiStepLR.
 *
 * @example
 * ```ts
 * import { multiStep } from "bitgrad/optim";
 *
 * const rate = multiStep({ milestones: [60, 80], gamma: 0.1 });
 * console.log(rate(59), rate(60), rate(80)); // 1 0.1 0.01
 * ```
 */
export function multiStep(options: { milestones: readonly number[]; gamma?: number }): Schedule {
  const { milestones, gamma } = readOptions("multiStep", options, {
    milestones: null as unknown as readonly number[],
    gamma: 0.1,
  });
  checkMilestones("multiStep", milestones);
  checkPositive("multiStep", "gamma", gamma);
  return (k) => gamma ** milestones.filter((at) => at <= k).length;
}

/**
 * gamma^k. As ExponentialLR.
 *
 * @example
 * ```ts
 * import { exponential } from "bitgrad/optim";
 *
 * const rate = exponential({ gamma: 0.5 });
 * console.log(rate(0), rate(3)); // 1 0.125
 * ```
 */
export function exponential(options: { gamma: number }): Schedule {
  const { gamma } = readOptions("exponential", options, { gamma: 0 });
  checkPositive("exponential", "gamma", gamma);
  return (k) => gamma ** k;
}

/**
 * (k + 1) / warmup over the first `warmup` steps, then half a cosine from 1 to `floor` that ends at step `total`, and `floor`
 * from there on.
 *
 * @example
 * ```ts
 * import { cosine } from "bitgrad/optim";
 *
 * const rate = cosine({ warmup: 10, total: 100, floor: 0.1 });
 * console.log(rate(0), rate(9), rate(100)); // 0.1 1 0.1
 * ```
 */
export function cosine(options: Needs<{ warmup: number; total: number; floor: number }, "total">): Schedule {
  const { warmup, total, floor } = readOptions("cosine", options, { warmup: 0, total: 0, floor: 0 });
  checkCount("cosine", "warmup", warmup, 0);
  checkCount("cosine", "total", total, 1);
  checkAtLeast("cosine", "floor", floor, 0);
  if (warmup >= total)
    throw new OptionError(`cosine: warmup must be below total, got ${warmup} and ${total}`);
  return (k) =>
    k < warmup ? (k + 1) / warmup : cosineBetween(1, floor, (Math.min(k, total) - warmup) / (total - warmup));
}

/**
 * A cosine between 1 and `floor` that falls for `period` steps and rises for as many, for ever. As CosineAnnealingLR.
 *
 * @example
 * ```ts
 * import { cosineAnnealing } from "bitgrad/optim";
 *
 * const rate = cosineAnnealing({ period: 50, floor: 0.1 });
 * console.log(rate(0), rate(50), rate(100)); // 1 0.1 1
 * ```
 */
export function cosineAnnealing(options: Needs<{ period: number; floor: number }, "period">): Schedule {
  const { period, floor } = readOptions("cosineAnnealing", options, { period: 0, floor: 0 });
  checkCount("cosineAnnealing", "period", period, 1);
  checkAtLeast("cosineAnnealing", "floor", floor, 0);
  return (k) => cosineBetween(1, floor, k / period);
}

/**
 * Half a cosine from 1 to `floor` over `period` steps, then again from 1 over `growth` times as many, and so on. As
 * CosineAnnealingWarmRestarts; Loshchilov and Hutter, 2016, arXiv:1608.03983.
 *
 * @example
 * ```ts
 * import { cosineRestarts } from "bitgrad/optim";
 *
 * const rate = cosineRestarts({ period: 10, growth: 2 });
 * console.log(rate(5), rate(10), rate(20)); // 0.5 1 0.5
 * ```
 */
export function cosineRestarts(
  options: Needs<{ period: number; growth: number; floor: number }, "period">,
): Schedule {
  const { period, growth, floor } = readOptions("cosineRestarts", options, {
    period: 0,
    growth: 1,
    floor: 0,
  });
  checkCount("cosineRestarts", "period", period, 1);
  checkCount("cosineRestarts", "growth", growth, 1);
  checkAtLeast("cosineRestarts", "floor", floor, 0);
  return (k) => {
    let since = growth === 1 ? k % period : k;
    let length = period;
    for (; since >= length; length *= growth) since -= length;
    return cosineBetween(1, floor, since / length);
  };
}

/**
 * Up from `start` to `peak` over the first `rise` (a fraction) of `total` steps, down to `end` over the rest, and `end` from
 * there on; `anneal` is the form of both. As OneCycleLR, whose div factors 25 and 1e4 are the defaults of `start` and `end`;
 * its momentum is the same function with other ends. Smith and Topin, 2017, arXiv:1708.07120.
 *
 * @example
 * ```ts
 * import { oneCycle } from "bitgrad/optim";
 *
 * const rate = oneCycle({ total: 100, rise: 0.3 });
 * console.log(rate(0), Math.max(...Array.from({ length: 100 }, (_, k) => rate(k)))); // 0.04 1.0
 * ```
 */
export function oneCycle(
  options: Needs<
    { total: number; rise: number; start: number; peak: number; end: number; anneal: "cosine" | "linear" },
    "total"
  >,
): Schedule {
  const { total, rise, start, peak, end, anneal } = readOptions("oneCycle", options, {
    total: 0,
    rise: 0.3,
    start: 1 / 25,
    peak: 1,
    end: 1 / 25e4,
    anneal: "cosine" as "cosine" | "linear",
  });
  checkCount("oneCycle", "total", total, 2);
  if (!(rise * total > 1 && rise < 1)) {
    throw new OptionError(
      `oneCycle: rise must be below 1 and cover more than one step, got ${rise} of ${total}`,
    );
  }
  for (const [name, value] of Object.entries({ start, peak, end })) checkAtLeast("oneCycle", name, value, 0);
  if (anneal !== "cosine" && anneal !== "linear") {
    throw new OptionError(`oneCycle: anneal must be "cosine" or "linear", got ${show(anneal)}`);
  }
  const between = anneal === "cosine" ? cosineBetween : lineBetween;
  const top = rise * total - 1;
  const last = total - 1;
  return (k) =>
    k <= top ? between(start, peak, k / top) : between(peak, end, (Math.min(k, last) - top) / (last - top));
}

/**
 * A triangle wave between `start` and `peak`: `up` steps up, `down` (as many by default) down. `decay` multiplies the height
 * of each cycle after the first: 1 is CyclicLR's "triangular", ½ its "triangular2". Smith, 2015, arXiv:1506.01186.
 *
 * @example
 * ```ts
 * import { cyclic } from "bitgrad/optim";
 *
 * const rate = cyclic({ start: 0.1, up: 10 });
 * console.log(rate(0), rate(10), rate(20)); // 0.1 1 0.1
 * ```
 */
export function cyclic(
  options: Needs<{ start: number; peak: number; up: number; down: number; decay: number }, "up">,
): Schedule {
  const { start, peak, up, down, decay } = readOptions("cyclic", options, {
    start: 0,
    peak: 1,
    up: 0,
    down: options?.up ?? 0,
    decay: 1,
  });
  checkCount("cyclic", "up", up, 1);
  checkCount("cyclic", "down", down, 1);
  for (const [name, value] of Object.entries({ start, peak })) checkAtLeast("cyclic", name, value, 0);
  checkPositive("cyclic", "decay", decay);
  return (k) => {
    const cycle = Math.floor(k / (up + down));
    const at = k - cycle * (up + down);
    const height = at <= up ? at / up : (up + down - at) / down;
    return start + (peak - start) * height * decay ** cycle;
  };
}

/**
 * dim^-½ · min((k + 1)^-½, (k + 1)·warmup^-³ᐟ²): a linear rise, then the inverse square root. Meant for a learning rate of 1.
 * Vaswani et al., 2017, arXiv:1706.03762, section 5.3.
 *
 * @example
 * ```ts
 * import { noam } from "bitgrad/optim";
 *
 * const rate = noam({ dim: 512, warmup: 4000 });
 * console.log(rate(3999)); // 0.0007
 * ```
 */
export function noam(options: { dim: number; warmup: number }): Schedule {
  const { dim, warmup } = readOptions("noam", options, { dim: 0, warmup: 0 });
  checkCount("noam", "dim", dim, 1);
  checkCount("noam", "warmup", warmup, 1);
  return (k) => Math.min(1 / Math.sqrt(k + 1), (k + 1) / (warmup * Math.sqrt(warmup))) / Math.sqrt(dim);
}

/**
 * The first schedule until the first milestone, then the second from its own step 0, and so on. As SequentialLR.
 *
 * @example
 * ```ts
 * import { exponential, linear, sequential } from "bitgrad/optim";
 *
 * const rate = sequential([linear({ start: 0, end: 1, total: 10 }), exponential({ gamma: 0.5 })], [10]);
 * console.log(rate(5), rate(10), rate(11)); // 0.5 1 0.5
 * ```
 */
export function sequential(schedules: readonly Schedule[], milestones: readonly number[]): Schedule {
  checkMilestones("sequential", milestones);
  if (
    !Array.isArray(schedules) ||
    schedules.length !== milestones.length + 1 ||
    schedules.some((schedule) => !isFunction(schedule))
  ) {
    throw new OptionError(
      `sequential: needs schedules, and one milestone between each two, got ${show(milestones)} for ${show(schedules)}`,
    );
  }
  return (k) => {
    const phase = milestones.filter((at) => at <= k).length;
    return schedules[phase](phase === 0 ? k : k - milestones[phase - 1]);
  };
}

function checkMilestones(op: string, milestones: readonly number[]): void {
  const ordered =
    Array.isArray(milestones) &&
    milestones.every((at, i) => Number.isInteger(at) && at > 0 && (i === 0 || at >= milestones[i - 1]));
  if (!ordered)
    throw new OptionError(`${op}: milestones must be positive integers in order, got ${show(milestones)}`);
}
