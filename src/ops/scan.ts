/** Running sums and products. */

import { times } from "../../kernels/elementwise/arithmetic.ts";
import { added } from "../../kernels/reduce/reference.ts";
import { scan } from "../backend.ts";
import { exactly } from "../dtype.ts";
import { normalizeAxis } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { defineOp } from "./op.ts";
import { countType, gather, withoutEach } from "./reduce.ts";
import { holds } from "./unary.ts";

export interface AxisOptions {
  axis: number;
}

const running = (
  name: string,
  initial: number,
  f: (a: number, b: number) => number,
  rule: (g: Tensor, x: Tensor, y: Tensor, axis: number) => Tensor,
) =>
  defineOp<[x: Tensor], AxisOptions>(name, {
    arity: 1,
    options: { axis: 0 },
    shape([x], { axis }) {
      normalizeAxis(name, axis, Math.max(x.rank, 1));
      return x;
    },
    dtype: ([x]) => countType(x.dtype),
    forward(out, [x], { axis }, { dtype }) {
      if (x.rank === 0) {
        out[0] = x.data[0];
        return;
      }
      const [data, sizes] = gather(x, [normalizeAxis(name, axis, x.rank)]);
      exactly(name, out, dtype, (to) => scan(to, data, sizes, initial, f));
    },
    vjp: (grad, { inputs: [x], output }, { axis }) => [rule(grad, x, output, axis)],
  });

/** Sums from the end: the adjoint of cumsum. */
const sumFromEnd = (g: Tensor, axis: number): Tensor =>
  g.rank === 0 ? g : g.flip(axis).cumsum({ axis }).flip(axis);

/** Running sums along `axis` (default 0), in the dtypes of `sum`. Throws DTypeError for integers that theirs cannot hold. */
export const cumsum = running("cumsum", 0, added, (g, _x, _y, axis) => sumFromEnd(g, axis));
/**
 * Running products along `axis` (default 0). The gradient is exact also where x holds zeros, in n² memory there. Throws
 * DTypeError for integers that their dtype cannot hold.
 */
export const cumprod = running("cumprod", 1, times, (g, x, y, axis) => {
  if (!holds(x, 0)) return sumFromEnd(g.mul(y), axis).div(x);
  if (x.rank === 0) return g;
  const products = withoutEach(x.transpose(axis, -1)).cumprod({ axis: -1 }).triu();
  return products.mul(g.transpose(axis, -1).unsqueeze(-2)).sum({ axis: -1 }).transpose(axis, -1);
});
