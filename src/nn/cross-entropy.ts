/** Losses against class indices, and cross entropy against class probabilities. */

import { targetWeight } from "../../kernels/loss/reference.ts";
import { isFloat } from "../dtype.ts";
import {
  checkInteger,
  checkShare,
  DTypeError,
  OptionError,
  readOptions,
  ShapeError,
  show,
} from "../errors.ts";
import { knownNumbers, visitor } from "../ops/shapes-only.ts";
import { asTargets, crossEntropyOp, floats, logSoftmax, numbers } from "../ops/softmax.ts";
import { gate } from "../ops/unary.ts";
import { normalizeAxis, sameShape } from "../shape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { counted, timesLog, weighted } from "./losses.ts";
import { type ReductionOption, reduced } from "./reduction.ts";

export interface NllOptions extends ReductionOption {
  /** Where the classes are; default the last axis. PyTorch has them on axis 1. */
  axis: number;
  /** Positions with this target count for nothing. */
  ignoreIndex: number;
  /** A factor for each class, (C). */
  weight: TensorLike | null;
}

export interface CrossEntropyOptions extends NllOptions {
  /** The share of the target that is spread evenly over all classes, 0 to 1. */
  labelSmoothing: number;
}

const nllDefaults: NllOptions = { axis: -1, ignoreIndex: -100, weight: null, reduction: "mean" };
const crossEntropyDefaults: CrossEntropyOptions = { ...nllDefaults, labelSmoothing: 0 };

/**
 * −log softmax(logits) at the target: logits (…, C), or classes on `axis`, and class indices (…) or probabilities of the
 * logits' shape. The mean divides by the summed weights of the targets that are not ignored, and is 0 with a gradient of 0
 * where there are none (PyTorch: NaN), so that a batch of padding alone moves nothing; for probabilities it divides by the
 * number of positions. Throws DTypeError for targets that are neither, ShapeError for ones out of range.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { crossEntropy } from "bitgrad/nn";
 *
 * const logits = tensor([[2, 0], [0, 2]]);
 * console.log(crossEntropy(logits, [0, 1]).item()); // 0.127
 * console.log(crossEntropy(logits, [0, 1], { labelSmoothing: 0.1 }).item()); // 0.227
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  target: TensorLike,
  options?: Partial<CrossEntropyOptions>,
): Tensor {
  const op = "crossEntropy";
  const { axis, ignoreIndex, weight, reduction, labelSmoothing } = readOptions<CrossEntropyOptions>(
    op,
    options,
    crossEntropyDefaults,
  );
  checkShare(op, "labelSmoothing", labelSmoothing);
  checkInteger(op, "ignoreIndex", ignoreIndex);
  const x = floats(asTensor(op, logits));
  const k = classAxis(op, x, axis);
  const w = classWeight(op, weight, x, k);
  const y = asTensor(op, target, takesIndices(target, x) ? "int32" : x.dtype);
  if (isFloat(y.dtype) && sameShape(y.shape, x.shape)) {
    if (ignoreIndex !== nllDefaults.ignoreIndex) {
      throw new OptionError(
        `${op}: ignoreIndex is for class indices, got ${ignoreIndex} with probabilities; weigh positions by 0 instead`,
      );
    }
    const classes = x.shape[k];
    const weights = w && alongAxis(w, x, k);
    const read = counted(op, y, weights);
    const smooth = labelSmoothing === 0 ? read : read.mul(1 - labelSmoothing).add(labelSmoothing / classes);
    const shares = weights ? smooth.mul(weights) : smooth;
    const some = w && shares.notEqual(0).any({ axis: k, keepDims: true });
    const each = timesLog(shares, logSoftmax(counted(op, x, some), k));
    return reduced(op, each.sum({ axis: k }).neg(), reduction);
  }
  const classes = checkedTargets(op, y, x, k, ignoreIndex);
  const [losses] = crossEntropyOp(x, classes, w, { axis: k, ignoreIndex, labelSmoothing });
  return reduced(op, losses, reduction, countOf(classes, ignoreIndex, w));
}

/**
 * −logProbs at the target: log-probabilities (…, C), or classes on `axis`, and class indices (…). See `crossEntropy`.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { nllLoss } from "bitgrad/nn";
 *
 * console.log(nllLoss(tensor([[2, 0], [0, 2]]).logSoftmax(), [0, 1]).item()); // 0.127
 * ```
 */
export function nllLoss(logProbs: Tensor, target: TensorLike, options?: Partial<NllOptions>): Tensor {
  const op = "nllLoss";
  const { axis, ignoreIndex, weight, reduction } = readOptions<NllOptions>(op, options, nllDefaults);
  checkInteger(op, "ignoreIndex", ignoreIndex);
  const x = floats(asTensor(op, logProbs));
  const k = classAxis(op, x, axis);
  const w = classWeight(op, weight, x, k);
  const classes = checkedTargets(op, asTensor(op, target, "int32"), x, k, ignoreIndex);
  const valid = classes.notEqual(ignoreIndex);
  const index = valid.where(classes, 0);
  const hit = x.gather(index.unsqueeze(k), { axis: k }).squeeze(k).neg();
  const own = w?.indexSelect(index);
  const losses = own ? gate(valid.logicalAnd(own.notEqual(0)), hit.mul(own)) : gate(valid, hit);
  return reduced(op, losses, reduction, countOf(classes, ignoreIndex, w));
}

export interface MultiMarginOptions extends ReductionOption {
  margin: number;
  /** The power of the hinge, 1 or 2. */
  p: number;
  weight: TensorLike | null;
}

/**
 * Σ max(0, margin − x[y] + x[c])ᵖ/C over the classes c other than y: scores (N, C) and class indices (N).
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { multiMarginLoss } from "bitgrad/nn";
 *
 * console.log(multiMarginLoss(tensor([[2, 0, 1.5]]), [0]).item()); // 0.167
 * ```
 */
export function multiMarginLoss(
  input: Tensor,
  target: TensorLike,
  options?: Partial<MultiMarginOptions>,
): Tensor {
  const op = "multiMarginLoss";
  const { margin, p, weight, reduction } = readOptions<MultiMarginOptions>(op, options, {
    margin: 1,
    p: 1,
    weight: null,
    reduction: "mean",
  });
  if (p !== 1 && p !== 2) throw new OptionError(`${op}: p must be 1 or 2, got ${show(p)}`);
  const given = floats(asTensor(op, input));
  const k = classAxis(op, given, -1);
  const w = classWeight(op, weight, given, k);
  const classes = checkedTargets(op, asTensor(op, target, "int32"), given, k, null);
  const index = classes.unsqueeze(k);
  const x = counted(op, given, w?.indexSelect(classes).unsqueeze(k) ?? null);
  const hinge = x
    .sub(x.gather(index, { axis: k }))
    .add(margin)
    .relu();
  const power = p === 1 ? hinge : hinge.square();
  const others = classes.oneHot({ classes: x.shape[k] }).equal(0).where(power, 0);
  const losses = others.mean({ axis: k });
  return reduced(op, weighted(op, losses, w?.indexSelect(classes) ?? null), reduction);
}

function classAxis(op: string, x: Tensor, axis: number): number {
  if (x.rank === 0) throw new ShapeError(`${op}: needs a class axis, got ${show(x.shape)}`);
  const k = normalizeAxis(op, axis, x.rank);
  if (x.shape[k] === 0) throw new ShapeError(`${op}: needs at least one class, got ${show(x.shape)}`);
  return k;
}

/** Plain numbers are class indices where they have the form of them. */
function takesIndices(target: TensorLike, x: Tensor): boolean {
  let depth = 0;
  for (let item: unknown = target; Array.isArray(item); item = item[0]) {
    depth++;
    if (ArrayBuffer.isView(item[0]) || isTensor(item[0])) return false;
  }
  return depth < x.rank;
}

function classWeight(op: string, weight: TensorLike | null, x: Tensor, axis: number): Tensor | null {
  if (weight === null) return null;
  const w = floats(asTensor(op, weight, x.dtype)).detach();
  if (w.rank !== 1 || w.size !== x.shape[axis]) {
    throw new ShapeError(
      `${op}: weight must have one value a class, got ${show(w.shape)} for ${x.shape[axis]} classes`,
    );
  }
  return w;
}

const alongAxis = (w: Tensor, x: Tensor, axis: number): Tensor =>
  w.reshape(x.shape.map((_, k) => (k === axis ? w.size : 1)));

/** Targets as int32 class indices of the shape of x without its class axis, all in range or `ignoreIndex`. */
function checkedTargets(
  op: string,
  target: Tensor,
  x: Tensor,
  axis: number,
  ignoreIndex: number | null,
): Tensor {
  if (isFloat(target.dtype) || target.dtype === "bool") {
    throw new DTypeError(
      `${op}: targets must be integer class indices${op === "crossEntropy" ? ` or probabilities of shape ${show(x.shape)}` : ""}, got ${target.dtype} of shape ${show(target.shape)}; for indices use .to("int32")`,
    );
  }
  const rest = x.shape.filter((_, k) => k !== axis);
  if (!sameShape(rest, target.shape)) {
    throw new ShapeError(
      `${op}: targets must have the shape of the input without its class axis ${axis}, got ${show(target.shape)} for ${show(x.shape)}`,
    );
  }
  const data = knownNumbers(target);
  for (let i = 0; i < data.length; i++) {
    if ((data[i] < 0 || data[i] >= x.shape[axis]) && data[i] !== ignoreIndex) {
      throw new ShapeError(`${op}: target out of range, got ${data[i]} for ${x.shape[axis]} classes`);
    }
  }
  return asTargets(target);
}

/** Where nothing counts, what is divided by infinity is 0, its gradient too. By shapes alone it is any number. */
const countOf = (classes: Tensor, ignoreIndex: number, weight: Tensor | null): number =>
  visitor() ? 1 : targetWeight(classes.data, { ignoreIndex, weight: weight && numbers(weight) }) || Infinity;
