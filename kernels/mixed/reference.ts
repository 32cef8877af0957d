/** out = x without its fractions, which the integers of `out` hold. The other contracts are those of kernels/elementwise. */

import type { TypedArray } from "../../src/dtype.ts";

export function cast(out: TypedArray, x: TypedArray): void {
  for (let i = 0; i < x.length; i++) out[i] = Math.trunc(x[i]);
}
