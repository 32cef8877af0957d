/** Fits that weigh errors by the inputs: scales by least squares, signs by error feedback, then one after another. */

import { inverseFactor } from "../../../../kernels/linalg/cholesky.ts";
import { addScaled } from "../../../../kernels/linalg/rows.ts";
import { type FitOptions, fitRun, fitSigns, type SignFit } from "./fit.ts";
import {
  errorOf,
  type FittedRow,
  fittedRow,
  hessianAt,
  type Ones,
  type Part,
  partsOf,
  refit,
  type SignProblem,
  targetOf,
  turnSigns,
} from "./rows.ts";

export interface CalibratedOptions extends FitOptions {
  /** Share of the mean of the Hessian's diagonal that error feedback adds to it. */
  readonly damping: number;
}

/** Rows whose fits depend on one another by the runs that lie in them. */
interface Block {
  readonly rows: readonly number[];
  readonly runs: readonly number[];
}

/** Rows with those that they share runs with, by the first of them: those between lie in the same runs. */
function blocksOf({ runs, columns }: SignProblem, parts: readonly (readonly Part[])[]): Block[] {
  const blocks: Block[] = [];
  for (let row = 0; row < parts.length; ) {
    const found = new Set<number>();
    const from = row;
    for (let end = row + 1; row < end; row++) {
      for (const { k } of parts[row]) {
        found.add(k);
        const [last] = runs[k][runs[k].length - 1];
        end = Math.max(end, Math.floor(last / columns) + 1);
      }
    }
    blocks.push({ rows: Array.from({ length: row - from }, (_, i) => from + i), runs: [...found] });
  }
  return blocks;
}

/**
 * Signs column by column, each column's error made up for by the columns behind it. A run of one row gets its scale when its
 * first column is reached, from what the weights are by then.
 */
function feedBack(
  problem: SignProblem,
  parts: readonly (readonly Part[])[],
  factor: Float64Array,
  options: FitOptions,
): SignFit {
  const { columns, runs } = problem;
  const fit = fitSigns(problem.weight, runs, options);
  const { signs, scale, mean } = fit;
  const x = Float64Array.from(problem.weight);
  parts.forEach((list, row) => {
    const at = row * columns;
    const of = hessianAt(problem, row);
    for (const { k, from, to } of list) {
      if (runs[k].length === 1) fitRun(fit, x, k, runs[k], options);
      for (let i = from; i < to; i++) {
        const diagonal = of + (i - at) * (columns + 1);
        signs[i] = x[i] < mean[k] ? -1 : 1;
        const error = (x[i] - mean[k] - scale[k] * signs[i]) / factor[diagonal];
        addScaled(x, i + 1, -error, factor, diagonal + 1, at + columns - i - 1);
      }
    }
  });
  return fit;
}

/** The upper factors of the inverses of the damped Hessians; null where one has none. */
function inverseFactors({ hessian, columns: c }: SignProblem, damping: number): Float64Array | null {
  const factors = Float64Array.from(hessian);
  for (let at = 0; at < factors.length; at += c * c) {
    const part = factors.subarray(at, at + c * c);
    let sum = 0;
    for (let j = 0; j < c; j++) sum += part[j * c + j];
    // Where all inputs are 0 no error counts.
    const added = sum === 0 ? 1 : (damping * sum) / c;
    for (let j = 0; j < c; j++) part[j * c + j] += added;
    if (inverseFactor(part, c) < c) return null;
  }
  return factors;
}

/**
 * The plain fit with the scales, and means, that make the squared error of the outputs least for its signs: ARB-X of
 * ARB-LLM, Li et al., 2024, arXiv:2410.03129, solved at once where the paper goes by turns. With `feedback` signs are
 * chosen by error feedback, as GPTQ and BiLLM give errors to later columns (arXiv:2210.17323, arXiv:2402.04291); then by
 * turns the best scales, and each sign turned where that makes the error of the outputs smaller. Rows whose error is
 * smaller by the first way keep that. Null where the Hessian, damped, has no inverse.
 */
export function fitByInputs(
  problem: SignProblem,
  { feedback, damping, ...options }: CalibratedOptions & { readonly feedback: boolean },
): SignFit | null {
  const { weight, runs } = problem;
  const { centered, iterations } = options;
  const plain = fitSigns(weight, runs, options);
  const parts = partsOf(problem);
  const factor = feedback ? inverseFactors(problem, damping) : null;
  if (feedback && factor === null) return null;
  const other = factor && feedBack(problem, parts, factor, options);
  const ones: Ones = new Map();
  for (const block of blocksOf(problem, parts)) {
    const targets = block.rows.map((row) => targetOf(problem, row));
    const under = (fit: SignFit): FittedRow[] =>
      block.rows.map((row, i) => fittedRow(problem, fit, row, parts[row], targets[i], ones));
    const rows = under(plain);
    refit(problem, plain, rows, block.runs, centered);
    if (!other) continue;
    const others = under(other);
    refit(problem, other, others, block.runs, centered);
    for (let t = 0; t < iterations && turnSigns(problem, other, others); t++) {
      refit(problem, other, others, block.runs, centered);
    }
    if (errorOf(problem, other, others) < errorOf(problem, plain, rows)) take(plain, other, rows, block.runs);
  }
  return plain;
}

/** Writes rows of one fit over those of another. */
function take(to: SignFit, from: SignFit, rows: readonly FittedRow[], runs: readonly number[]): void {
  for (const { parts } of rows)
    for (const part of parts) to.signs.set(from.signs.subarray(part.from, part.to), part.from);
  for (const k of runs) {
    to.scale[k] = from.scale[k];
    to.mean[k] = from.mean[k];
  }
}
