/** Losses of discovery. */

import { checkInteger, DTypeError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { timesLog } from "../nn/losses.ts";
import { stack } from "../ops/join.ts";
import { floats, logSoftmax } from "../ops/softmax.ts";
import { sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, tensor } from "../tensor.ts";
import { rowsOf } from "./given.ts";

/**
 * Which pairs of rows (n, d) are taken for one class, (n, n): 1 where their `k` largest features are the same ones, in any
 * order, else −1. Han et al., 2020, arXiv:2002.05714.
 *
 * @example
 * ```ts
 * import { pairwiseRankTarget } from "bitgrad/discovery";
 *
 * const features = [[5, 4, 0], [6, 9, 1], [0, 1, 2]];
 * console.log(pairwiseRankTarget(features, { k: 2 }).toArray()); // [[1, 1, -1], [1, 1, -1], [-1, -1, 1]]
 * ```
 */
export function pairwiseRankTarget(features: TensorLike, options?: { k?: number }): Tensor<"int32"> {
  const op = "pairwiseRankTarget";
  const { k } = readOptions(op, options, { k: 5 });
  checkInteger(op, "k", k, 1);
  const { data, n, d } = rowsOf(op, "features", features);
  if (k > d) throw new OptionError(`${op}: k must be at most the number of features, ${d}, got ${k}`);
  const sets = Array.from({ length: n }, (_, i) => {
    const row = data.subarray(i * d, (i + 1) * d);
    const order = Array.from(row.keys()).sort((a, b) => row[b] - row[a]);
    return order
      .slice(0, k)
      .sort((a, b) => a - b)
      .join();
  });
  return tensor(
    sets.flatMap((a) => sets.map((b) => (a === b ? 1 : -1))),
    { dtype: "int32", shape: [n, n] },
  );
}

export interface PairBceOptions {
  /** Added inside the logarithm. */
  eps: number;
}

/**
 * −log of the probability that two items are of one class, p·q, where the target is 1, and of 1 − p·q where it is −1: the
 * mean over pairs of rows of p (n, C) and q (m, C), which are probabilities, with targets (n, m). Pairs of target 0 are left
 * out, which in the authors' code count with 16.1 each; 0 where no pair is left. Han et al., 2020, arXiv:2002.05714.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { pairBce } from "bitgrad/discovery";
 *
 * const p = tensor([[1, 0], [0, 1]]);
 * console.log(pairBce(p, p, [[1, -1], [-1, 1]]).item() < 1e-6); // true
 * ```
 */
export function pairBce(
  p: TensorLike,
  q: TensorLike,
  targets: TensorLike,
  options?: Partial<PairBceOptions>,
): Tensor {
  const op = "pairBce";
  const { eps } = readOptions<PairBceOptions>(op, options, { eps: 1e-7 });
  const [a, b] = [asTensor(op, p), asTensor(op, q)].map(floats);
  const t = asTensor(op, targets, "int32").detach();
  if (a.rank !== 2 || b.rank !== 2 || a.shape[1] !== b.shape[1]) {
    throw new ShapeError(
      `${op}: p and q must be (n, C) and (m, C), got ${show(a.shape)} and ${show(b.shape)}`,
    );
  }
  const pairs = [a.shape[0], b.shape[0]];
  if (!sameShape(t.shape, pairs)) {
    throw new ShapeError(`${op}: targets must be ${show(pairs)}, got ${show(t.shape)}`);
  }
  if (t.dtype === "bool") throw new DTypeError(`${op}: targets must be numbers, got ${t.dtype}`);
  const odd = Array.from(t.data).find((x) => x !== 1 && x !== 0 && x !== -1);
  if (odd !== undefined) throw new OptionError(`${op}: targets must be 1, 0 or -1, got ${odd}`);
  const alike = a.matmul(b, { transposeB: true });
  const right = t.equal(1).where(alike, alike.neg().add(1)).add(eps);
  const counts = t.notEqual(0);
  const losses = counts.where(right, 1).log().neg();
  return losses.sum().div(counts.sum().item() || 1);
}

export interface SwappedPrediction {
  /** The mean over heads. */
  readonly loss: Tensor;
  /** (H): the head of the lowest running loss is the one to use. */
  readonly perHead: Tensor;
}

/**
 * Cross entropy of views that predict each other's targets: logits (views, heads, B, C) and targets (large, heads, B, C) of
 * the first `large` views, such as `discoveryTargets`. Each of these teaches all other views; the mean over such pairs and
 * the batch. Targets get no gradient. Fini et al., 2021, arXiv:2108.08536.
 *
 * @example
 * ```ts
 * import { randn, Rng, softmax } from "bitgrad";
 * import { swappedPrediction } from "bitgrad/discovery";
 *
 * const logits = randn([2, 3, 8, 5], { rng: new Rng(1) }); // two views, three heads
 * const { loss, perHead } = swappedPrediction(logits, softmax(logits));
 * console.log(loss.shape, perHead.shape); // [] [3]
 * ```
 */
export function swappedPrediction(
  logits: TensorLike,
  targets: TensorLike,
  options?: { temperature?: number },
): SwappedPrediction {
  const op = "swappedPrediction";
  const { temperature } = readOptions(op, options, { temperature: 0.1 });
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new OptionError(`${op}: temperature must be a finite number above 0, got ${show(temperature)}`);
  }
  const z = floats(asTensor(op, logits));
  const t = floats(asTensor(op, targets)).detach();
  const [views, large] = [z.shape[0], t.shape[0]];
  if (z.rank !== 4 || z.size === 0 || !sameShape(z.shape.slice(1), t.shape.slice(1))) {
    throw new ShapeError(
      `${op}: needs logits (views, heads, B, C) and targets (large, heads, B, C), got ${show(z.shape)} and ${show(t.shape)}`,
    );
  }
  if (views < 2 || large < 1 || large > views) {
    throw new ShapeError(
      `${op}: needs two views at least and targets of 1 to all of them, got ${views} views and targets of ${large}`,
    );
  }
  const logs = logSoftmax(z.div(temperature));
  const view = (x: Tensor, v: number) => x.slice([[v, v + 1]]).squeeze(0);
  const pairs: Tensor[] = [];
  for (let v = 0; v < large; v++) {
    for (let w = 0; w < views; w++) {
      if (w !== v) pairs.push(timesLog(view(t, v), view(logs, w)).sum({ axis: -1 }).mean({ axis: -1 }).neg());
    }
  }
  const perHead = stack(pairs).mean({ axis: 0 });
  return { loss: perHead.mean(), perHead };
}

/**
 * exp(−5(1 − step/length)²): the weight of a loss that grows from 0.0067 to 1 in `length` steps and stays there. Laine and
 * Aila, 2017, arXiv:1610.02242.
 *
 * @example
 * ```ts
 * import { sigmoidRampup } from "bitgrad/discovery";
 *
 * console.log(sigmoidRampup(0, 50), sigmoidRampup(25, 50), sigmoidRampup(80, 50)); // 0.007 0.287 1
 * ```
 */
export function sigmoidRampup(step: number, length: number): number {
  for (const [name, value] of Object.entries({ step, length })) {
    if (!(typeof value === "number" && value >= 0 && value < Infinity)) {
      throw new OptionError(`sigmoidRampup: ${name} must be finite and not negative, got ${show(value)}`);
    }
  }
  const left = length === 0 ? 0 : 1 - Math.min(step / length, 1);
  return Math.exp(-5 * left * left);
}
