/**
 * The loop of GPTQ over plain arrays: the columns of a weight are rounded one after another, and the columns that are
 * left take on what each rounding changes of the output. What rounds a number is told from outside.
 */

import { inverseFactor } from "../../../kernels/linalg/cholesky.ts";
import { addScaled } from "../../../kernels/linalg/rows.ts";
import { BitgradError, show } from "../../errors.ts";

/** How the inputs of some rows tie their columns together. */
export interface Coupling {
  /** (columns): which column has its turn at each step. */
  readonly order: Int32Array;
  /** (columns, columns), upper: by how much the error of step i moves the number of step j, U[i, j] / U[i, i]. */
  readonly shares: Float64Array;
  /** (columns): 1 for a column whose inputs were all 0, or that is left out. */
  readonly dead: Uint8Array;
}

export interface CouplingOptions {
  /** What is added to the diagonal, as a share of its mean. */
  readonly damping: number;
  /** Columns as they stand, or those with the largest sum of squares first. */
  readonly order: "given" | "activation";
  /** (columns): 0 for columns that take no part, since their weights stay 0; null for none. */
  readonly used: Uint8Array | null;
}

/** The least damping that a Hessian gets that is singular without. */
const leastDamping = 1e-6;

/**
 * The coupling of columns by the Hessian H = XᵀX (n, n) of their inputs, which stays as it is: U is the upper factor of
 * the inverse of the damped H, H⁻¹ = UᵀU. Where H is singular to working precision, the damping grows by tens to 1.
 * Throws BitgradError, which names the layer, where that does not do.
 */
export function couplingOf(
  op: string,
  layer: string,
  hessian: Float64Array,
  n: number,
  { damping, order: by, used }: CouplingOptions,
): Coupling {
  const size = Float64Array.from({ length: n }, (_, i) => (used?.[i] === 0 ? 0 : hessian[i * (n + 1)]));
  const order = Int32Array.from({ length: n }, (_, i) => i);
  if (by === "activation") order.sort((a, b) => size[b] - size[a] || a - b);
  const live = size.filter((s) => s > 0);
  const mean = live.length === 0 ? 1 : live.reduce((sum, s) => sum + s / live.length, 0);
  const dead = Uint8Array.from(size, (s) => (s > 0 ? 0 : 1));
  for (let added = damping; ; added = Math.max(10 * added, leastDamping)) {
    const factor = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      const from = order[i] * n;
      const alone = dead[order[i]] === 1;
      for (let j = 0; j < i; j++) {
        factor[i * n + j] = alone || dead[order[j]] === 1 ? 0 : hessian[from + order[j]];
      }
      factor[i * (n + 1)] = alone ? mean : size[order[i]] + added * mean;
    }
    const damped = Float64Array.from({ length: n }, (_, i) => factor[i * (n + 1)]);
    if (inverseFactor(factor, n) === n && isPrecise(factor, damped, n)) {
      return { order, shares: divided(factor, n), dead };
    }
    if (added < 1) continue;
    throw new BitgradError(
      `${op}: the Hessian of a layer must be positive definite once it is damped, got one that is not by ${added} of its mean diagonal ${mean} in layer ${show(layer)}; scale its inputs`,
      "NUMERICS",
    );
  }
}

/**
 * Whether what is left of each diagonal element when the later ones are known, 1 / U[i, i]², is more than rounding
 * errors.
 */
function isPrecise(factor: Float64Array, diagonal: Float64Array, n: number): boolean {
  for (let i = 0; i < n; i++) {
    if (!(diagonal[i] * n * Number.EPSILON * factor[i * (n + 1)] ** 2 < 1)) return false;
  }
  return true;
}

/** Divides each row by its diagonal element. */
function divided(factor: Float64Array, n: number): Float64Array {
  for (let i = 0; i < n; i++) {
    const pivot = factor[i * (n + 1)];
    for (let j = i; j < n; j++) factor[i * n + j] /= pivot;
  }
  return factor;
}

export interface Columns {
  /** (rows, columns); it stays as it is. */
  readonly weight: Float64Array;
  readonly rows: number;
  readonly columns: number;
  /** One for each group of rows, as many rows in each. */
  readonly couplings: readonly Coupling[];
  /** After how many steps, at most, the columns behind take on their errors. */
  readonly blockSize: number;
  /** The steps at which `begin` is told, with the weight (rows, columns) as it has become by all errors before. */
  readonly begins: ReadonlySet<number>;
  begin(step: number, weight: Float64Array): void;
  /** What a number of the weight is rounded to; `at` is its index. */
  round(at: number, x: number): number;
}

/**
 * Rounds the columns of every row in their order. The error of each is made up for by the columns that are left, as
 * well as they can by the least squares of the output W x. Frantar et al., 2022, arXiv:2210.17323, algorithm 1.
 */
export function roundColumns({
  weight,
  rows,
  columns,
  couplings,
  blockSize,
  begins,
  begin,
  round,
}: Columns): void {
  const perCoupling = rows / couplings.length;
  const couplingAt = (row: number): Coupling => couplings[Math.floor(row / perCoupling)];
  // In the order of steps, so that what a row's errors reach lies side by side.
  const left = new Float64Array(rows * columns);
  for (let row = 0, at = 0; row < rows; row++) {
    const { order } = couplingAt(row);
    for (let i = 0; i < columns; i++, at++) left[at] = weight[row * columns + order[i]];
  }
  const now = (): Float64Array => {
    const out = new Float64Array(rows * columns);
    for (let row = 0, at = 0; row < rows; row++) {
      const { order } = couplingAt(row);
      for (let i = 0; i < columns; i++, at++) out[row * columns + order[i]] = left[at];
    }
    return out;
  };
  const width = Math.min(blockSize, columns);
  const errors = new Float64Array(rows * width);
  for (let from = 0, to = 0; from < columns; from = to) {
    if (begins.has(from)) begin(from, now());
    to = from + 1;
    while (to < Math.min(columns, from + width) && !begins.has(to)) to++;
    for (let i = from; i < to; i++) {
      for (let row = 0; row < rows; row++) {
        const { order, shares } = couplingAt(row);
        const at = row * columns;
        const error = left[at + i] - round(at + order[i], left[at + i]);
        errors[row * width + i - from] = error;
        addScaled(left, at + i + 1, -error, shares, i * columns + i + 1, to - i - 1);
      }
    }
    if (to === columns) break;
    for (let row = 0; row < rows; row++) {
      const { shares } = couplingAt(row);
      for (let i = from; i < to; i++) {
        const error = errors[row * width + i - from];
        addScaled(left, row * columns + to, -error, shares, i * columns + to, columns - to);
      }
    }
  }
}
