/** Learning from a teacher's logits and hidden states. Every loss is a pure function; no gradient reaches the teacher. */

import * as kernel from "../backend.ts";
import { type FloatArray, promote } from "../dtype.ts";
import {
  checkShare,
  isFunction,
  OptionError,
  readOptions,
  ShapeError,
  show,
  synchronous,
} from "../errors.ts";
import { crossEntropy } from "../nn/cross-entropy.ts";
import { isLayer } from "../nn/layer.ts";
import { klDiv, mseLoss, timesLog } from "../nn/losses.ts";
import { defineMultiOp, defineOp } from "../ops/op.ts";
import { visitor } from "../ops/shapes-only.ts";
import { logSoftmax, numbers, softmax } from "../ops/softmax.ts";
import { gate } from "../ops/unary.ts";
import { sameShape, sizeOf } from "../shape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";

export interface KdOptions {
  /** Divides both logits before the softmax. */
  temperature: number;
  /** The share of the teacher; the labels get the rest. */
  alpha: number;
  /** Class indices (…), or null to learn from the teacher alone. */
  labels: TensorLike | null;
}

/**
 * alpha·T²·KL(softmax(teacher/T) ‖ softmax(student/T)) + (1 − alpha)·crossEntropy(student, labels), logits (…, C): both parts
 * summed over classes and averaged over the positions. T² keeps the gradient's size as T grows. Alpha is 1 unless told
 * otherwise, 0.9 with labels. Hinton et al., 2015, arXiv:1503.02531.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { kdLoss } from "bitgrad/distill";
 *
 * const teacher = tensor([[4, 1, 0]]);
 * console.log(kdLoss(teacher, teacher, { temperature: 2 }).item()); // 0
 * const labels = tensor([0], { dtype: "int32" });
 * console.log(kdLoss(tensor([[1, 4, 0]]), teacher, { temperature: 2, alpha: 0.5, labels }).item() > 1); // true
 * ```
 */
export function kdLoss(student: Tensor, teacher: Tensor, options?: Partial<KdOptions>): Tensor {
  const { temperature, alpha, labels } = readOptions("kdLoss", options, {
    temperature: 4,
    alpha: null as number | null,
    labels: null as TensorLike | null,
  });
  const share = alpha ?? (labels === null ? 1 : 0.9);
  checkShare("kdLoss", "alpha", share);
  if (labels === null && share !== 1) {
    throw new OptionError(`kdLoss: alpha below 1 needs labels, got alpha ${share} and none`);
  }
  checkLogits("kdLoss", student, teacher, temperature);
  if (share === 0 && labels !== null) return crossEntropy(student, labels);
  const dtype = promote(promote(student.dtype, teacher.dtype), "float32");
  const [losses] = divergenceOp(student.to(dtype), teacher.detach().to(dtype), { temperature });
  const soft = losses.sum().mul((share * temperature ** 2) / positions(student));
  return share === 1 || labels === null ? soft : soft.add(crossEntropy(student, labels).mul(1 - share));
}

interface Temperature {
  temperature: number;
}

const divergenceGrad = defineOp<[grad: Tensor, stats: Tensor, student: Tensor, teacher: Tensor], Temperature>(
  "divergenceGrad",
  {
    writesAll: true,
    options: { temperature: 1 },
    arity: 4,
    shape: ([, , student]) => student,
    dtype: ([, , student]) => student.dtype,
    forward: (out, inputs, { temperature }) => {
      const [grad, stats, student, teacher] = inputs.map(numbers);
      kernel.divergenceGrad(
        out as FloatArray,
        grad,
        stats,
        student,
        teacher,
        classes(inputs[2]),
        temperature,
      );
    },
  },
);

/** KL(softmax(teacher/T) ‖ softmax(student/T)) of every position, logits (…, C) of one dtype -> (…). */
const divergenceOp = defineMultiOp<[student: Tensor, teacher: Tensor], Temperature>("divergence", {
  writesAll: true,
  options: { temperature: 1 },
  arity: 2,
  shape: ([student]) => [student.shape.slice(0, -1), [...student.shape.slice(0, -1), 4]],
  dtype: ([student]) => [student.dtype, "float64"],
  forward: (outs, [student, teacher], { temperature }) => {
    const [loss, stats] = outs as FloatArray[];
    kernel.divergence(loss, stats, numbers(student), numbers(teacher), classes(student), temperature);
  },
  composed: ([student, teacher], { temperature }) =>
    klDiv(student.div(temperature), softmax(teacher.div(temperature)), {
      from: "logits",
      reduction: "none",
    }).sum({ axis: -1 }),
  fusedVjp: ([grad], { inputs: [student, teacher], outputs: [, stats] }, options) => [
    divergenceGrad(grad!, stats, student, teacher, options),
    null,
  ],
});

const classes = ({ shape }: Tensor): number => shape[shape.length - 1];

export interface SoftCrossEntropyOptions {
  temperature: number;
  /**
   * "batchmean" averages over the positions (DynaBERT), "mean" over positions and classes (TinyBERT's code, a factor C
   * smaller), "none" gives one loss a position.
   */
  reduction: "batchmean" | "mean" | "sum" | "none";
}

/**
 * −Σ softmax(teacher/T)·log softmax(student/T) over classes, logits (…, C): the divergence plus the teacher's entropy,
 * without T². A class that the teacher gives the logit −Infinity counts 0. Jiao et al., 2019, arXiv:1909.10351, equation 10.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { softCrossEntropy } from "bitgrad/distill";
 *
 * console.log(softCrossEntropy(tensor([[0, 0]]), tensor([[3, 1]])).item()); // 0.693
 * ```
 */
export function softCrossEntropy(
  student: Tensor,
  teacher: Tensor,
  options?: Partial<SoftCrossEntropyOptions>,
): Tensor {
  const { temperature, reduction } = readOptions<SoftCrossEntropyOptions>("softCrossEntropy", options, {
    temperature: 1,
    reduction: "batchmean",
  });
  checkLogits("softCrossEntropy", student, teacher, temperature);
  const target = softmax(teacher.detach().div(temperature));
  const losses = timesLog(target, logSoftmax(student.div(temperature)))
    .sum({ axis: -1 })
    .neg();
  switch (reduction) {
    case "batchmean":
      return losses.mean();
    case "mean":
      return losses.sum().div(student.size);
    case "sum":
      return losses.sum();
    case "none":
      return losses;
    default:
      throw new OptionError(
        `softCrossEntropy: reduction must be "batchmean", "mean", "sum" or "none", got ${show(reduction)}`,
      );
  }
}

export interface HiddenMseOptions {
  /** Takes the student's states to the teacher's size, such as a Linear. */
  project: ((student: Tensor) => Tensor) | { forward(student: Tensor): Tensor } | null;
  /** Positions that count, (…) true or 1: padding left out. Without it all do, padding included, as in TinyBERT's code. */
  mask: TensorLike | null;
}

/**
 * The mean squared difference of hidden states (…, C), over all their elements or over those of the positions in `mask`, 0
 * where there are none.
 * Jiao et al., 2019, arXiv:1909.10351, equation 8.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { hiddenMse } from "bitgrad/distill";
 * import { Linear } from "bitgrad/nn";
 *
 * console.log(hiddenMse(tensor([[1, 2]]), tensor([[1, 4]])).item()); // 2
 * const widen = new Linear(2, 3); // where the student is narrower
 * const loss = hiddenMse(tensor([[1, 2]]), tensor([[1, 4, 0]]), { project: (x) => widen.forward(x) });
 * console.log(loss.shape); // []
 * ```
 */
export function hiddenMse(student: Tensor, teacher: Tensor, options?: Partial<HiddenMseOptions>): Tensor {
  const { project, ...given } = readOptions<HiddenMseOptions>("hiddenMse", options, {
    project: null,
    mask: null,
  });
  if (project !== null && !isFunction(project) && !isLayer(project)) {
    throw new OptionError(`hiddenMse: project must be a layer or a function, got ${show(project)}`);
  }
  checkTensors("hiddenMse", student, teacher);
  const toTeacher = typeof project === "function" ? project : (x: Tensor) => project?.forward(x) ?? x;
  const hidden = synchronous("hiddenMse", toTeacher(student), "project");
  checkTensors("hiddenMse", hidden);
  if (!sameShape(hidden.shape, teacher.shape)) {
    throw new ShapeError(
      `hiddenMse: student and teacher must have one shape, got ${show(hidden.shape)} and ${show(teacher.shape)}; project the student`,
    );
  }
  if (given.mask === null) return mseLoss(hidden, teacher.detach());
  const mask = asTensor("hiddenMse", given.mask);
  if (!sameShape(mask.shape, hidden.shape.slice(0, -1))) {
    throw new ShapeError(
      `hiddenMse: the mask must have the shape of the positions, got ${show(mask.shape)} for ${show(hidden.shape)}`,
    );
  }
  const counted = mask.notEqual(0);
  const sum = counted.sum();
  const count = visitor() ? 1 : sum.item() || 1;
  const errors = gate(counted.unsqueeze(-1), hidden.sub(teacher.detach()));
  return errors.square().mean({ axis: -1 }).sum().div(count);
}

const positions = (logits: Tensor): number => sizeOf(logits.shape.slice(0, -1));

function checkTensors(op: string, ...tensors: unknown[]): void {
  for (const t of tensors) {
    if (!isTensor(t)) throw new OptionError(`${op}: expected a tensor, got ${show(t)}`);
  }
}

function checkLogits(op: string, student: Tensor, teacher: Tensor, temperature: number): void {
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new OptionError(`${op}: temperature must be a finite number above 0, got ${show(temperature)}`);
  }
  checkTensors(op, student, teacher);
  if (student.rank === 0 || !sameShape(student.shape, teacher.shape)) {
    throw new ShapeError(
      `${op}: student and teacher need logits (…, C) of one shape, got ${show(student.shape)} and ${show(teacher.shape)}`,
    );
  }
}
