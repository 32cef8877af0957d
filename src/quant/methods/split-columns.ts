/** Outlier channel splitting of a matrix: columns with the largest weights become two of half the weight each. */

export interface Columns {
  readonly weight: Float64Array;
  readonly rows: number;
  readonly columns: number;
}

export interface SplitColumns extends Columns {
  /** The one of the first columns that each behind them shares its input with. */
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

/** The first of those that are largest. */
function largestOf(numbers: Float64Array): number {
  let found = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[found]) found = i;
  return found;
}

/**
 * The matrix with as many columns more as are split, one after another, each time the one with the largest magnitude, which
 * may be one that was split before. Its product with the inputs, and once more with those that `copies` names, is that of
 * the matrix before. Zhao et al., 2019, arXiv:1901.09504.
 */
export function splitColumns(of: Columns, { splits, threshold, quarters }: SplitRule): SplitColumns {
  const { rows, columns: given } = of;
  const columns = given + splits;
  const weight = new Float64Array(rows * columns);
  const largest = new Float64Array(columns);
  for (let r = 0; r < rows; r++) {
    weight.set(of.weight.subarray(r * given, (r + 1) * given), r * columns);
    for (let c = 0; c < given; c++) largest[c] = Math.max(largest[c], Math.abs(weight[r * columns + c]));
  }
  const copies: number[] = [];
  for (let next = given; next < columns; next++) {
    const column = largestOf(largest.subarray(0, next));
    const whole = threshold * largest[column];
    largest[column] = 0;
    // One half stays in its place, the other is put behind the last.
    for (let r = 0; r < rows; r++) {
      const [at, behind] = [r * columns + column, r * columns + next];
      const w = weight[at];
      if (Math.abs(w) > whole) {
        const apart = quarters ? quarters[r] : 0;
        weight[at] = w / 2 - apart;
        weight[behind] = w / 2 + apart;
      }
      largest[column] = Math.max(largest[column], Math.abs(weight[at]));
      largest[next] = Math.max(largest[next], Math.abs(weight[behind]));
    }
    copies.push(column < given ? column : copies[column - given]);
  }
  return { weight, rows, columns, copies };
}
