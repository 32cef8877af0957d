/** The variance along axes, and its square root. */

import { deviations, sum as sumLoop } from "../backend.ts";
import { normalizeAxes, reducedShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { defineOp } from "./op.ts";
import { apart, floatType, gather, type ReduceOptions, restore } from "./reduce.ts";

export interface VarianceOptions extends ReduceOptions {
  /** The divisor is n − correction: 1 for the sample variance (the default), 0 for the population's. */
  correction: number;
}

/** A reduction of the variance, which is taken in double; `rule` gets how far each element lies from the mean. */
const spread = (
  name: string,
  finish: (variance: number) => number,
  rule: (grad: Tensor, centered: Tensor, y: Tensor, divisor: number) => Tensor,
) =>
  defineOp<[x: Tensor], VarianceOptions>(name, {
    arity: 1,
    options: { axis: null, keepDims: false, correction: 1 },
    shape: ([x], { axis, keepDims }) => reducedShape(x.shape, normalizeAxes(name, axis, x.rank), keepDims),
    dtype: ([x]) => floatType(x.dtype),
    forward(out, [x], { axis, correction }) {
      const [data, sizes] = gather(x, normalizeAxes(name, axis, x.rank));
      const means = new Float64Array(out.length);
      const totals = new Float64Array(out.length);
      sumLoop(means, data, sizes, 1 / sizes.n);
      deviations(totals, data, means, sizes);
      const divisor = sizes.n - correction;
      for (let i = 0; i < out.length; i++) out[i] = divisor > 0 ? finish(totals[i] / divisor) : Number.NaN;
    },
    vjp(grad, { inputs: [x], output }, { axis, correction }) {
      const n = x.size / Math.max(grad.size, 1);
      const centered = x.sub(x.mean({ axis, keepDims: true }));
      const y = restore(output, x, axis, name);
      return [rule(restore(grad, x, axis, name), centered, y, n - correction)];
    },
  });

/** The variance, by deviations from the mean. NaN where n does not exceed the correction. */
export const variance = spread("variance", Number, (g, centered, _, divisor) =>
  g.mul(centered).mul(2 / divisor),
);

/** The standard deviation: the square root of `variance`. The gradient is 0 where all elements are equal, as torch.std. */
export const std = spread("std", Math.sqrt, (g, centered, y, divisor) =>
  g.mul(apart(y, (t) => t.mul(divisor).reciprocal())).mul(centered),
);
