/** ACIQ: the clip of least error under a distribution that is assumed, from one constant a number of bits. */

import { erf } from "../../../kernels/elementwise/special.ts";
import type { QTensor } from "../../codes/contract.ts";
import type { Observer } from "../../codes/observer.ts";
import { paramsOf, type Range, rangesOf } from "../../codes/params.ts";
import { shapeOfCodes } from "../../codes/quantizer.ts";
import { isSigns, type QuantSpec } from "../../codes/spec.ts";
import { checkChoice, OptionError, readOptions, show } from "../../errors.ts";
import { binCount, gathered } from "../observers.ts";
import { binned, leastRanges, type Numbers, type Spread, spreadsOf } from "./clips.ts";
import { checkRounding, roundedBy, seenBy } from "./rounded.ts";
import { type DataFreeOptions, dataFreeDefaults, holdEach, type Site } from "./sites.ts";

export interface AciqPrior {
  /** What numbers are taken to be spread as; "best", the default, takes of both clips the one of less squared error. */
  prior: "best" | "laplace" | "gauss";
  /**
   * How much rounding errs. "steps", the default: as the steps between the codes that there are make it, of which narrow
   * codes have fewer; best at 2 and 3 bits. "aciq": as 2^bits steps would, the table of the paper. "ocs": as the code of
   * Zhao et al., 2019, arXiv:1901.09504, has it, four times that or nearly so, with the deviation of a normal distribution
   * estimated from the range; it is the likely code of Hu et al., 2022, arXiv:2210.16621.
   */
  constants: "steps" | "aciq" | "ocs";
  /** Whether the range stays whole where its squared error is not more. Default true; the paper always clips. */
  keepWhole: boolean;
}

export interface AciqOptions extends DataFreeOptions, AciqPrior {}

const priorDefaults: AciqPrior = { prior: "best", constants: "steps", keepWhole: true };

function checkPrior(op: string, { prior, constants }: AciqPrior): void {
  checkChoice(op, "prior", prior, ["best", "laplace", "gauss"]);
  checkChoice(op, "constants", constants, ["steps", "aciq", "ocs"]);
}

/**
 * The mean squared error of rounding is α² times this, where numbers lie within −α … α. Codes of one half of a distribution
 * are half of the codes of all of it.
 */
export function roundingNoise(
  { bits, qmin, qmax }: Pick<QuantSpec, "bits" | "qmin" | "qmax">,
  constants: AciqPrior["constants"],
  oneSided = false,
): number {
  const most = 2 ** (oneSided ? bits + 1 : bits);
  const steps = constants === "steps" ? (qmax - qmin) * (oneSided ? 2 : 1) : most;
  return (constants === "ocs" ? 4 - 8 / most : 1) / (3 * steps ** 2);
}

/** Where a falling function is 0, between `low`, where it is above, and `high`. */
function rootOf(f: (x: number) => number, low: number, high: number): number {
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (f(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The clip of least error in units of b, of numbers of density e^(−|x|/b)/2b: 2b²e^(−α/b) + α²·noise is least. */
export const laplaceClip = (noise: number): number =>
  noise > 0 ? rootOf((a) => Math.exp(-a) - noise * a, 0, 64) : Infinity;

/** The same in units of σ of a normal distribution: 2∫(x − α)²φ(x)dx from α on, + α²·noise, is least. */
export function gaussClip(noise: number): number {
  if (!(noise > 0)) return Infinity;
  const beyond = (a: number) =>
    Math.exp((-a * a) / 2) * Math.sqrt(2 / Math.PI) - a * (1 - erf(a / Math.SQRT2));
  return rootOf((a) => beyond(a) - noise * a, 0, 64);
}

/** σ of so many normal numbers by their range, as the code of OCS estimates it. */
const sigmaOfRange = ({ min, max, count }: Range): number =>
  ((max - min) * 0.175 * (1 + Math.sqrt(Math.PI * Math.log(4)))) /
  Math.sqrt(2 * Math.log(Math.max(2, count)));

function clipped(
  range: Range,
  { mean, deviation, sigma, oneSided }: Spread,
  spec: QuantSpec,
  prior: "laplace" | "gauss",
  constants: AciqPrior["constants"],
): Range {
  const noise = roundingNoise(spec, constants, oneSided);
  const width =
    prior === "laplace"
      ? laplaceClip(noise) * deviation
      : gaussClip(noise) * (constants === "ocs" ? sigmaOfRange(range) : sigma);
  // 0 · Infinity of numbers that are all the same.
  const reach = Number.isNaN(width) ? 0 : width;
  return { ...range, min: Math.max(range.min, mean - reach), max: Math.min(range.max, mean + reach) };
}

/** The ranges that the options choose of each run. */
export function aciqRanges(numbers: Numbers, { prior, constants, keepWhole }: AciqPrior): readonly Range[] {
  const { ranges, spec } = numbers;
  const spreads = spreadsOf(numbers);
  const priors = prior === "best" ? (["laplace", "gauss"] as const) : [prior];
  const candidates = priors.map((each) =>
    ranges.map((range, k) => clipped(range, spreads[k], spec, each, constants)),
  );
  if (keepWhole) candidates.unshift([...ranges]);
  return candidates.length === 1 ? candidates[0] : leastRanges(numbers, candidates, 2);
}

/** Throws OptionError for signs and codebooks; `layer` is that of a weight, null for an input. */
function checkEven(op: string, spec: QuantSpec, layer: string | null): void {
  if (!isSigns(spec) && !spec.codebook) return;
  const of = layer === null ? "; use mse" : ` of layer ${show(layer)}; leave it out by { layers }`;
  const got = isSigns(spec) ? "signs" : "a codebook";
  throw new OptionError(`${op}: needs evenly spaced codes, got ${got}${of}`);
}

/** The codes of a site's weight in the ranges that the options choose. */
function clippedCodes(site: Site, prior: AciqPrior): QTensor {
  const { spec, layer, parameter } = site;
  checkEven("aciq", spec, layer);
  checkRounding("aciq", site);
  const seen = seenBy("aciq", site);
  if (parameter.size === 0) return roundedBy(site, seen);
  const x = seen.latent.reshape(shapeOfCodes(spec, parameter.shape));
  const ranges = aciqRanges({ x, spec, ranges: rangesOf(x, spec), mass: null }, prior);
  return roundedBy(site, seen, paramsOf(ranges, x.shape, spec));
}

/**
 * Analytic clipping of weights without data: each range ends where the squared error, of what is clamped and of what is
 * rounded, is least for numbers of a Laplace or a normal distribution with their mean and deviation. Numbers that are
 * not negative are taken for one half of it. Codes in these ranges are held as by `hold`; a clip never reaches
 * beyond the range. Banner et al., 2019, arXiv:1810.05723. Rejects with StageError for a model that is not prepared, or
 * frozen, OptionError for signs, a codebook, codes of a quantizer's own, and a weight that is not finite; the model is then
 * as it was.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { aciq, plan, prepare, ste } from "bitgrad/quant";
 *
 * const layer = new Linear(64, 64);
 * const rng = new Rng("weights");
 * layer.weight.assign(randn([64, 64], { rng }).mul(randn([64, 64], { rng }))); // of heavy tails
 * const errorOf = () => layer.weight.value.sub(layer.weight.effective()).square().mean().item();
 * prepare(layer, plan({ default: { weight: ste({ bits: 3, granularity: "tensor" }) } }));
 * const rounded = errorOf();
 * await aciq(layer);
 * console.log(errorOf() < rounded / 2); // true
 * ```
 */
export async function aciq<M extends object>(model: M, options?: Partial<AciqOptions>): Promise<M> {
  const read = readOptions<AciqOptions>("aciq", options, { ...dataFreeDefaults, ...priorDefaults });
  checkPrior("aciq", read);
  holdEach("aciq", model, read, (site) => clippedCodes(site, read));
  return model;
}

/**
 * An observer of inputs that clips as `aciq` does, by a histogram of what it saw: `int8Static({ observer: aciqObserver })`.
 * 2048 bins unless told otherwise. Banner et al., 2019, arXiv:1810.05723.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { aciqObserver, minMax, spec } from "bitgrad/quant";
 *
 * const int4 = spec({ bits: 4, granularity: "tensor" });
 * const [whole, clipped] = [minMax(int4), aciqObserver(int4, { prior: "gauss" })];
 * for (const each of [whole, clipped]) each.observe(randn([10_000], { rng: new Rng("x") }));
 * console.log(clipped.params().scale.mul(7).item().toFixed(1), whole.params().scale.item() > 0.5); // 2.5 true
 * ```
 */
export function aciqObserver(spec: QuantSpec, options?: Partial<AciqPrior> & { bins?: number }): Observer {
  const { bins, ...read } = readOptions("aciqObserver", options, { ...priorDefaults, bins: 2048 });
  checkPrior("aciqObserver", read);
  const made = gathered(spec, {
    name: "aciqObserver",
    key: `aciq ${Object.values(read).join(" ")} ${bins}`,
    bins: binCount("aciqObserver", "bins", bins, 1),
    choose(range, counts, of) {
      const [{ min, max }] = aciqRanges(binned(counts, range, of), read);
      return [min, max];
    },
  });
  checkEven("aciqObserver", spec, null);
  return made;
}
