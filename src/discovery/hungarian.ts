/** The assignment of rows to columns that costs least. */

import { readOptions } from "../errors.ts";
import type { TensorLike } from "../tensor.ts";
import { type Rows, rowsOf } from "./given.ts";

export interface Assignment {
  /** The rows that have a column, ascending: all of them where there are no more rows than columns. */
  readonly rows: number[];
  /** Their columns. */
  readonly columns: number[];
  readonly total: number;
}

/**
 * Gives each row of a cost matrix (n, m) a column of its own, min(n, m) of them, so that the sum of costs is the least there
 * is, or with `maximize` the largest. Shortest augmenting paths: Jonker and Volgenant, 1987, O(min(n, m)²·max(n, m)).
 *
 * @example
 * ```ts
 * import { hungarian } from "bitgrad/discovery";
 *
 * console.log(hungarian([[4, 1, 3], [2, 0, 5]])); // { rows: [0, 1], columns: [1, 0], total: 3 }
 * ```
 */
export function hungarian(cost: TensorLike, options?: { maximize?: boolean }): Assignment {
  const { maximize } = readOptions("hungarian", options, { maximize: false });
  const given = rowsOf("hungarian", "cost", cost);
  return assign(given, maximize ? -1 : 1);
}

/** The assignment of least `sign`·cost. */
export function assign({ data, n, d: m }: Rows, sign: 1 | -1): Assignment {
  const [few, many] = [Math.min(n, m), Math.max(n, m)];
  const [down, right] = n <= m ? [m, 1] : [1, m];
  // Prices of the few and of the many; index 0 of the many stands for "none yet".
  const u = new Float64Array(few + 1);
  const v = new Float64Array(many + 1);
  const takenBy = new Int32Array(many + 1);
  const from = new Int32Array(many + 1);
  for (let i = 1; i <= few; i++) {
    takenBy[0] = i;
    let at = 0;
    const least = new Float64Array(many + 1).fill(Infinity);
    const used = new Uint8Array(many + 1);
    do {
      used[at] = 1;
      const row = takenBy[at];
      const start = (row - 1) * down;
      let [delta, next] = [Infinity, 0];
      for (let j = 1; j <= many; j++) {
        if (used[j]) continue;
        const slack = sign * data[start + (j - 1) * right] - u[row] - v[j];
        if (slack < least[j]) {
          least[j] = slack;
          from[j] = at;
        }
        if (least[j] < delta) {
          delta = least[j];
          next = j;
        }
      }
      for (let j = 0; j <= many; j++) {
        if (used[j]) {
          u[takenBy[j]] += delta;
          v[j] -= delta;
        } else least[j] -= delta;
      }
      at = next;
    } while (takenBy[at] !== 0);
    for (; at !== 0; at = from[at]) takenBy[at] = takenBy[from[at]];
  }
  const pairs: [row: number, column: number][] = [];
  for (let j = 1; j <= many; j++) {
    if (takenBy[j] !== 0) pairs.push(n <= m ? [takenBy[j] - 1, j - 1] : [j - 1, takenBy[j] - 1]);
  }
  pairs.sort(([a], [b]) => a - b);
  const total = pairs.reduce((sum, [row, column]) => sum + data[row * m + column], 0);
  return { rows: pairs.map(([row]) => row), columns: pairs.map(([, column]) => column), total };
}
