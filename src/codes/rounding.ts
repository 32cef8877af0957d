/** The four ways to make an integer of a number. */

import { roundEven } from "../../kernels/elementwise/special.ts";
import type { Rounding } from "./spec.ts";

/** Beyond this a double has no fraction, and adding it to a smaller one rounds half to even. */
const magic = 6755399441055744;

/** x rounded; `draw`, a number in [0, 1), is for "stochastic" alone. */
export function roundBy(rounding: Rounding, x: number, draw = 0): number {
  switch (rounding) {
    case "half-even":
      // Every code is far below 2^51, where the sum is exact; what is not gets clamped anyway.
      return Math.abs(x) < 2 ** 50 ? x + magic - magic : roundEven(x);
    case "half-away":
      return Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
    case "half-up":
      return Math.floor(x + 0.5);
    case "stochastic":
      return Math.floor(x + draw);
  }
}
