/** Running sums, products and extremes, and differences. */

import { times } from "../../kernels/elementwise/arithmetic.ts";
import { added } from "../../kernels/reduce/reference.ts";
import { scan } from "../backend.ts";
import { exactly, newArray } from "../dtype.ts";
import { checkInteger, readOptions } from "../errors.ts";
import { normalizeAxis } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { around } from "./index-ops.ts";
import { concat } from "./join.ts";
import { defineOp } from "./op.ts";
import { countType, gather, withoutEach } from "./reduce.ts";
import { placeholder, visitor } from "./shapes-only.ts";
import { type Ranked, ranked } from "./sort.ts";
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

function runningBest(op: string, sign: number, x: TensorLike, options?: Partial<AxisOptions>): Ranked {
  const { axis } = readOptions(op, options, { axis: 0 });
  x = asTensor(op, x);
  const k = normalizeAxis(op, axis, Math.max(x.rank, 1));
  if (visitor()) return ranked(x, placeholder(x.shape, "int32"), k);
  const at = newArray("int32", x.size);
  const [outer, n, inner] = x.rank === 0 ? [1, 1, 1] : around(x.shape, k);
  const { data } = x;
  for (let o = 0; o < outer; o++)
    for (let i = 1; i < n; i++) {
      const row = (o * n + i) * inner;
      for (let j = row; j < row + inner; j++) {
        const before = at[j - inner];
        const value = data[j];
        // A NaN before is not reached by any number.
        const isBest = sign * value >= sign * data[j - (i - before) * inner] || Number.isNaN(value);
        at[j] = isBest ? i : before;
      }
    }
  return ranked(x, wrap(at, x.shape, "int32"), k);
}

/**
 * The largest element so far along `axis` (default 0) and its index: the last one of equal elements, and a NaN from the
 * first one on, as torch.cummax.
 *
 * @example
 * ```ts
 * import { cummax, tensor } from "bitgrad";
 *
 * const { values, indices } = cummax(tensor([1, 3, 2]));
 * console.log(values.toArray(), indices.toArray()); // [1, 3, 3] [0, 1, 1]
 * ```
 */
export function cummax(x: TensorLike, options?: Partial<AxisOptions>): Ranked {
  return runningBest("cummax", 1, x, options);
}

/**
 * The smallest element so far along `axis` (default 0) and its index, as `cummax`.
 *
 * @example
 * ```ts
 * import { cummin, tensor } from "bitgrad";
 *
 * console.log(cummin(tensor([3, 1, 2])).values.toArray()); // [3, 1, 1]
 * ```
 */
export function cummin(x: TensorLike, options?: Partial<AxisOptions>): Ranked {
  return runningBest("cummin", -1, x, options);
}

export interface DiffOptions extends AxisOptions {
  /** How often differences are taken; default 1. */
  n: number;
  /** Joined to x in front and behind before that. */
  prepend: TensorLike | null;
  append: TensorLike | null;
}

/**
 * Each element less the one before it along `axis` (default the last), which gets one shorter each time; whether they
 * differ, for bool.
 *
 * @example
 * ```ts
 * import { diff, tensor } from "bitgrad";
 *
 * console.log(diff(tensor([1, 4, 9])).toArray()); // [3, 5]
 * ```
 */
export function diff(x: TensorLike, options?: Partial<DiffOptions>): Tensor {
  const { n, axis, prepend, append } = readOptions<DiffOptions>("diff", options, {
    n: 1,
    axis: -1,
    prepend: null,
    append: null,
  });
  checkInteger("diff", "n", n, 0);
  x = asTensor("diff", x);
  const k = normalizeAxis("diff", axis, x.rank);
  const parts = [prepend, x, append].flatMap((part) => (part === null ? [] : [asTensor("diff", part)]));
  let y = parts.length > 1 ? concat(parts, { axis: k }) : x;
  const lead = Array<null>(k).fill(null);
  for (let i = 0; i < n && y.shape[k] > 0; i++) {
    const [after, before] = [y.slice([...lead, [1, null]]), y.slice([...lead, [0, -1]])];
    y = y.dtype === "bool" ? after.notEqual(before) : after.sub(before);
  }
  return y;
}
