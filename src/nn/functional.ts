/** Functions of tensors alone, as PyTorch's `nn.functional` names them. */

import { readOptions, ShapeError, show } from "../errors.ts";
import { split } from "../ops/join.ts";
import { norm } from "../ops/reduce.ts";
import { floats } from "../ops/softmax.ts";
import { normalizeAxis } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";

/**
 * The first half of an axis (default the last) times σ of the second half. Dauphin et al., 2016, arXiv:1612.08083.
 *
 * @example
 * ```ts
 * import { glu } from "bitgrad/nn";
 *
 * console.log(glu([[1, 2, 0, 0]]).toArray()); // [[0.5, 1]]
 * ```
 */
export function glu(x: TensorLike, options?: { axis?: number }): Tensor {
  const { axis } = readOptions("glu", options, { axis: -1 });
  x = asTensor("glu", x);
  const k = normalizeAxis("glu", axis, x.rank);
  const half = x.shape[k] / 2;
  if (!Number.isInteger(half))
    throw new ShapeError(`glu: axis ${k} must be of even size, got ${show(x.shape)}`);
  const [a, b] = split(x, [half, half], { axis: k });
  return a.mul(b.sigmoid());
}

export interface NormalizeOptions {
  /** The order of the norm; default 2. */
  p: number;
  axis: number;
  /** The least that is divided by. */
  eps: number;
}

/**
 * x divided by its p-norm along `axis` (default 1), or by `eps` where that is more: vectors of length 1.
 *
 * @example
 * ```ts
 * import { normalize } from "bitgrad/nn";
 *
 * console.log(normalize([[3, 4]]).toArray()); // [[0.6, 0.8]]
 * ```
 */
export function normalize(x: TensorLike, options?: Partial<NormalizeOptions>): Tensor {
  const { p, axis, eps } = readOptions<NormalizeOptions>("normalize", options, { p: 2, axis: 1, eps: 1e-12 });
  const given = floats(asTensor("normalize", x));
  const k = normalizeAxis("normalize", axis, given.rank);
  return given.div(norm(given, { p, axis: k, keepDims: true }).clip({ min: eps }));
}

/**
 * The cosine of the angle between vectors along `axis` (default 1, after broadcasting): a·b / (‖a‖·‖b‖), each norm `eps` at
 * least. (N, C, …) twice -> (N, …).
 *
 * @example
 * ```ts
 * import { cosineSimilarity } from "bitgrad/nn";
 *
 * console.log(cosineSimilarity([[1, 0]], [[1, 1]]).toArray()); // [0.707]
 * ```
 */
export function cosineSimilarity(
  a: TensorLike,
  b: TensorLike,
  options?: { axis?: number; eps?: number },
): Tensor {
  const op = "cosineSimilarity";
  const { axis, eps } = readOptions(op, options, { axis: 1, eps: 1e-8 });
  const x = floats(asTensor(op, a));
  const y = floats(asTensor(op, b, x.dtype));
  const products = x.mul(y);
  const k = normalizeAxis(op, axis, products.rank);
  const length = (t: Tensor) => norm(t.broadcastTo(products.shape), { axis: k }).clip({ min: eps });
  return products.sum({ axis: k }).div(length(x).mul(length(y)));
}
