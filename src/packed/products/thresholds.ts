/** Sums of signs that become bits by comparison with thresholds, whatever float steps stand for them. */

import type { Output } from "../../../kernels/output.ts";

/** Bits by comparison of sums. */
export type Fold = Output & {
  readonly to: "bits";
  readonly thresholds: Int32Array;
  readonly directions: Int8Array;
};

/**
 * The comparisons that hold where value(sum, channel) < 0, for sums from −k to k: value must never fall, or never rise, with the
 * sum. Null where a value is not finite, which no input may be.
 */
export function signFold(k: number, n: number, value: (sum: number, channel: number) => number): Fold | null {
  const thresholds = new Int32Array(n);
  const directions = new Int8Array(n);
  for (let c = 0; c < n; c++) {
    const [first, last] = [value(-k, c), value(k, c)];
    if (!(Math.abs(first) < Infinity && Math.abs(last) < Infinity)) return null;
    const negative = first < 0;
    // The sign of `same` is that of the least sum, the sign of `other` is not; k + 1 stands for none.
    let [same, other] = [-k, k + 1];
    while (other - same > 1) {
      const middle = Math.floor((same + other) / 2);
      if (value(middle, c) < 0 === negative) same = middle;
      else other = middle;
    }
    thresholds[c] = negative ? same : other;
    directions[c] = negative ? -1 : 1;
  }
  return { to: "bits", thresholds, directions };
}
