/** How far apart the classes of a set lie in an encoder's features. */

import {
  checkChoice,
  checkInteger,
  isFunction,
  OptionError,
  readOptions,
  ShapeError,
  show,
  synchronous,
} from "../errors.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { type Tensor, type TensorLike, tensor } from "../tensor.ts";
import { labelsOf, type Rows, rowsOf } from "./given.ts";
import { cluster, type KMeansOptions, kMeansDefaults } from "./k-means.ts";

export interface MmdOptions {
  /** exp(−D/width) of D the squared distance, or by "laplacian" the sum of absolute differences. */
  kernel: "gaussian" | "laplacian";
  /** Each width is this many times the one before. */
  factor: number;
  /** How many widths; the middle one is the mean of D over all pairs. */
  widths: number;
}

const mmdDefaults: MmdOptions = { kernel: "gaussian", factor: 2, widths: 5 };

function checkMmd(op: string, { kernel, factor, widths }: MmdOptions): void {
  checkChoice(op, "kernel", kernel, ["gaussian", "laplacian"]);
  checkInteger(op, "widths", widths, 1);
  if (!(factor > 1 && factor ** widths < Infinity)) {
    throw new OptionError(
      `${op}: factor must be above 1 and its powers finite, got ${factor} for ${widths} widths`,
    );
  }
}

/**
 * The squared maximum mean discrepancy of two sets of rows (n, d) and (m, d), per width, narrowest first: 0 for equal sets.
 * The biased estimate, which counts each row with itself too. Gretton et al., 2012.
 *
 * @example
 * ```ts
 * import { mmd2PerWidth } from "bitgrad/discovery";
 *
 * console.log(mmd2PerWidth([[0], [1]], [[5], [6]], { widths: 2 })); // [1.748, 1.446]
 * ```
 */
export function mmd2PerWidth(x: TensorLike, y: TensorLike, options?: Partial<MmdOptions>): number[] {
  return perWidth("mmd2PerWidth", x, y, options);
}

/**
 * The sum of `mmd2PerWidth` over its widths.
 *
 * @example
 * ```ts
 * import { mmd2 } from "bitgrad/discovery";
 *
 * console.log(mmd2([[0], [1]], [[5], [6]]) > mmd2([[0], [1]], [[1], [2]])); // true
 * ```
 */
export function mmd2(x: TensorLike, y: TensorLike, options?: Partial<MmdOptions>): number {
  return perWidth("mmd2", x, y, options).reduce((a, b) => a + b);
}

function perWidth(op: string, x: TensorLike, y: TensorLike, options?: Partial<MmdOptions>): number[] {
  const settings = readOptions<MmdOptions>(op, options, mmdDefaults);
  checkMmd(op, settings);
  const [a, b] = [rowsOf(op, "x", x), rowsOf(op, "y", y)];
  if (a.d !== b.d) throw new ShapeError(`${op}: both must have as many columns, got ${a.d} and ${b.d}`);
  const data = new Float64Array(a.data.length + b.data.length);
  data.set(a.data);
  data.set(b.data, a.data.length);
  return discrepancies({ data, n: a.n + b.n, d: a.d }, a.n, settings);
}

/** Of the first `split` rows and the others. */
function discrepancies(
  { data, n, d }: Rows,
  split: number,
  { kernel, factor, widths }: MmdOptions,
): number[] {
  const laplacian = kernel === "laplacian";
  const apart = (i: number, j: number): number => {
    let sum = 0;
    for (let c = 0; c < d; c++) {
      const gap = data[i * d + c] - data[j * d + c];
      sum += laplacian ? Math.abs(gap) : gap * gap;
    }
    return sum;
  };
  let total = 0;
  for (let i = 1; i < n; i++) for (let j = 0; j < i; j++) total += apart(i, j);
  const out = new Array<number>(widths).fill(0);
  if (total === 0) return out;
  const least = total / ((n * (n - 1)) / 2) / factor ** Math.floor(widths / 2);
  const rates = out.map((_, w) => -1 / (least * factor ** w));
  const [own, other] = [split, n - split];
  const weights = [2 / own ** 2, -2 / (own * other), 2 / other ** 2];
  for (let i = 1; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const weight = weights[(i < split ? 0 : 1) + (j < split ? 0 : 1)];
      const gap = apart(i, j);
      for (let w = 0; w < widths; w++) out[w] += weight * Math.exp(gap * rates[w]);
    }
  }
  // A row and itself, in both sets. Rounding may leave a little below 0.
  return out.map((sum) => Math.max(sum + 1 / own + 1 / other, 0));
}

/**
 * Σ over ordered pairs of classes of nᵢ·nⱼ/(n(n − 1))·MMD²: how far apart the classes of an unlabelled set lie in features
 * (n, d) of an encoder that learnt from a labelled set. The higher, the more similar the two sets. The widths of a pair
 * follow its distances, so that a scale or a rotation of the features changes nothing. Li et al., 2022, arXiv:2209.09120.
 *
 * @example
 * ```ts
 * import { transferFlow } from "bitgrad/discovery";
 *
 * const labels = [0, 0, 1, 1];
 * const [apart, mixed] = [[[0], [1], [8], [9]], [[0], [8], [1], [9]]];
 * console.log(transferFlow(apart, labels) > transferFlow(mixed, labels)); // true
 * ```
 */
export function transferFlow(
  features: TensorLike,
  labels: TensorLike,
  options?: Partial<MmdOptions>,
): number {
  const op = "transferFlow";
  const settings = readOptions<MmdOptions>(op, options, mmdDefaults);
  checkMmd(op, settings);
  const rows = rowsOf(op, "features", features);
  const { of, count } = labelsOf(op, "labels", labels);
  if (of.length !== rows.n) {
    throw new ShapeError(`${op}: there must be one label for each row, got ${of.length} for ${rows.n}`);
  }
  return flow(op, rows, of, count, settings);
}

function flow(
  op: string,
  { data, n, d }: Rows,
  labels: Int32Array,
  count: number,
  settings: MmdOptions,
): number {
  if (count < 2) throw new OptionError(`${op}: needs two classes at least, got ${count}`);
  const classes = Array.from({ length: count }, (_, c) => {
    const members = Array.from(labels.keys()).filter((i) => labels[i] === c);
    const own = new Float64Array(members.length * d);
    for (const [at, i] of members.entries()) own.set(data.subarray(i * d, (i + 1) * d), at * d);
    return own;
  });
  let sum = 0;
  for (let i = 1; i < count; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [classes[i], classes[j]];
      const pooled = new Float64Array(a.length + b.length);
      pooled.set(a);
      pooled.set(b, a.length);
      const parts = discrepancies({ data: pooled, n: pooled.length / d, d }, a.length / d, settings);
      sum += 2 * (a.length / d) * (b.length / d) * parts.reduce((x, y) => x + y);
    }
  }
  return sum / (n * (n - 1));
}

/** `k` is the number of classes that are looked for. */
export type PseudoFlowOptions = MmdOptions & KMeansOptions;

/**
 * `transferFlow` where no class is known: clusters of `kMeans` stand for the classes. Clusters lie apart in any features, so
 * that it differs less between encoders than `transferFlow` does, and may turn the order of two of them.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { pseudoTransferFlow, transferFlow } from "bitgrad/discovery";
 *
 * const features = [[0], [1], [8], [9]];
 * const found = pseudoTransferFlow(features, { k: 2, rng: new Rng(1) });
 * console.log(Math.abs(found - transferFlow(features, [0, 0, 1, 1])) < 1e-12); // true
 * ```
 */
export function pseudoTransferFlow(
  features: TensorLike,
  options: Partial<PseudoFlowOptions> & Pick<PseudoFlowOptions, "k">,
): number {
  return pseudo("pseudoTransferFlow", features, options);
}

function pseudo(op: string, features: TensorLike, options: Partial<PseudoFlowOptions>): number {
  const settings = readOptions<PseudoFlowOptions>(op, options, { ...mmdDefaults, ...kMeansDefaults });
  checkMmd(op, settings);
  checkInteger(op, "k", settings.k, 2);
  const rows = rowsOf(op, "features", features);
  return flow(op, rows, cluster(op, rows, settings).labels, settings.k, settings);
}

export interface KnowledgeChoice {
  readonly choice: "supervised" | "selfSupervised";
  /** The pseudo transfer flow of each. */
  readonly supervised: number;
  readonly selfSupervised: number;
}

/**
 * Whether to begin discovery with an encoder that learnt from labels, or with one that saw none: features of both of the
 * same unlabelled items, (n, d) and (n, e). The one of higher pseudo transfer flow is taken, without labels where they are
 * equal. Our reading of the rule of Li et al., 2022, arXiv:2209.09120. It is a hint: on toy data it saw that similar labels
 * help, but not that dissimilar ones hurt (test/discovery/transfer-flow.test.ts).
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { chooseKnowledge } from "bitgrad/discovery";
 *
 * const [clear, blurred] = [[[0], [1], [8], [9]], [[0], [2], [4], [6]]];
 * console.log(chooseKnowledge(blurred, clear, { k: 2, rng: new Rng(1) }).choice); // selfSupervised
 * ```
 */
export function chooseKnowledge(
  supervised: TensorLike,
  selfSupervised: TensorLike,
  options: Partial<PseudoFlowOptions> & Pick<PseudoFlowOptions, "k">,
): KnowledgeChoice {
  const op = "chooseKnowledge";
  const flows = [supervised, selfSupervised].map((features) => pseudo(op, features, options));
  const [a, b] = [rowsOf(op, "supervised", supervised).n, rowsOf(op, "selfSupervised", selfSupervised).n];
  if (a !== b)
    throw new ShapeError(`${op}: both must have features of the same items, got ${a} and ${b} rows`);
  return {
    choice: flows[0] > flows[1] ? "supervised" : "selfSupervised",
    supervised: flows[0],
    selfSupervised: flows[1],
  };
}

export interface Bootstrap {
  readonly mean: number;
  /** The standard deviation of the measure over resamples. */
  readonly standardError: number;
  readonly values: number[];
}

/**
 * A measure of n items with its uncertainty: `measure` is called with n of their indices, drawn with replacement, once per
 * resample.
 *
 * @example
 * ```ts
 * import { Rng, tensor } from "bitgrad";
 * import { bootstrap } from "bitgrad/discovery";
 *
 * const x = tensor([1, 2, 3, 4]);
 * const { mean, standardError } = bootstrap(4, (items) => x.indexSelect(items, { axis: 0 }).mean().item(), {
 *   resamples: 200,
 *   rng: new Rng(1),
 * });
 * console.log(Math.abs(mean - 2.5) < 0.2, Math.abs(standardError - 0.56) < 0.1); // true true
 * ```
 */
export function bootstrap(
  n: number,
  measure: (items: Tensor<"int32">) => number,
  options?: { resamples?: number; rng?: Rng | null },
): Bootstrap {
  const op = "bootstrap";
  const { resamples, rng } = readOptions(op, options, { resamples: 10, rng: null as Rng | null });
  checkInteger(op, "n", n, 1);
  checkInteger(op, "resamples", resamples, 2);
  if (n >= 2 ** 31) throw new OptionError(`${op}: n must be below 2^31, got ${n}`);
  if (!isFunction(measure)) throw new OptionError(`${op}: measure must be a function, got ${show(measure)}`);
  const source = rng ?? defaultRng();
  const values: number[] = [];
  for (let i = 0; i < resamples; i++) {
    const items = new Int32Array(n);
    source.fillInt(items, 0, n);
    const value: unknown = synchronous(op, measure(tensor(items, { dtype: "int32" })), "measure");
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw new OptionError(`${op}: measure must give a finite number, got ${show(value)}`);
    }
    values.push(value);
  }
  const mean = values.reduce((a, b) => a + b) / resamples;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return { mean, standardError: Math.sqrt(squares / (resamples - 1)), values };
}
