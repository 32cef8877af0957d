/** Outlier channel splitting of a matrix: columns with the largest weights become two of half the weight each. */

export interface Columns {
  readonly weight: Float64Array;
  readonly rows: number;
  readonly columns: number;
  /** The input that each column behind the first ones multiplies. */
  readonly copies: readonly number[];
}

export interface SplitRule {
  /** How many times a column is split. */
  readonly splits: number;
  /** Elements of at most this share of their column's largest magnitude are not halved: all of one lies in one of both. */
  readonly threshold: number;
  /**
   * A quarter of each row's step between codes, by which the halves are moved apart: round(w/2 − 1/4) + round(w/2 + 1/4) is
   * round(w) in units of the step, where two equal halves would be rounded twice. Null for equal halves.
   */
  readonly quarters: Float64Array | null;
}

/** The column that has the largest magnitude; of several the first. */
function largestColumn({ weight, columns }: Columns): number {
  let most = -1;
  let found = 0;
  for (let i = 0; i < weight.length; i++) {
    const size = Math.abs(weight[i]);
    const column = i % columns;
    if (size < most || (size === most && column >= found)) continue;
    most = size;
    found = column;
  }
  return found;
}

/** Puts one half of a column in its place, and the other behind the last. */
function split(of: Columns, column: number, { threshold, quarters }: SplitRule): Columns {
  const { weight, rows, columns, copies } = of;
  let largest = 0;
  for (let r = 0; r < rows; r++) largest = Math.max(largest, Math.abs(weight[r * columns + column]));
  const wider = new Float64Array(rows * (columns + 1));
  for (let r = 0; r < rows; r++) {
    const at = r * (columns + 1);
    wider.set(weight.subarray(r * columns, (r + 1) * columns), at);
    const w = weight[r * columns + column];
    if (!(Math.abs(w) > threshold * largest)) continue;
    const apart = quarters ? quarters[r] : 0;
    wider[at + column] = w / 2 - apart;
    wider[at + columns] = w / 2 + apart;
  }
  const first = columns - copies.length;
  const input = column < first ? column : copies[column - first];
  return { weight: wider, rows, columns: columns + 1, copies: [...copies, input] };
}

/**
 * The matrix with as many columns more as are split, one after another, each time the one with the largest magnitude, which
 * may be one that was split before. Its product with the inputs, and once more with those that `copies` names, is that of
 * the matrix before. Zhao et al., 2019, arXiv:1901.09504.
 */
export function splitColumns(of: Columns, rule: SplitRule): Columns {
  let wider = of;
  for (let i = 0; i < rule.splits; i++) wider = split(wider, largestColumn(wider), rule);
  return wider;
}
