/** Learning from a teacher's logits. */

import * as kernel from "../backend.ts";
import type { FloatArray } from "../dtype.ts";
import { checkShare, OptionError, readOptions } from "../errors.ts";
import { crossEntropy } from "../nn/cross-entropy.ts";
import { klDiv, timesLog } from "../nn/losses.ts";
import { defineMultiOp, defineOp } from "../ops/op.ts";
import { logSoftmax, numbers, softmax } from "../ops/softmax.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import {
  checkTemperature,
  type PositionOptions,
  type PositionReduction,
  type Positions,
  perPosition,
  sides,
} from "./positions.ts";

export interface KdOptions extends PositionOptions {
  /** Divides both logits before the softmax. */
  temperature: number;
  /** The share of the teacher; the labels get the rest. */
  alpha: number;
  /** Class indices (…), -100 where there is none; or null to learn from the teacher alone. */
  labels: TensorLike | null;
}

/**
 * alpha·T²·KL(softmax(teacher/T) ‖ softmax(student/T)) + (1 − alpha)·crossEntropy(student, labels), logits (…, C): both parts
 * summed over classes and averaged over the positions, the second over those that have a label. T² keeps the gradient's size
 * as T grows. Alpha is 1 unless told otherwise, 0.9 with labels. Hinton et al., 2015, arXiv:1503.02531.
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
  const op = "kdLoss";
  const { temperature, alpha, labels, mask, reduction } = readOptions(op, options, {
    ...perPosition,
    temperature: 4,
    alpha: null as number | null,
    labels: null as TensorLike | null,
  });
  const share = alpha ?? (labels === null ? 1 : 0.9);
  checkShare(op, "alpha", share);
  if (labels === null && share !== 1) {
    throw new OptionError(`${op}: alpha below 1 needs labels, got alpha ${share} and none`);
  }
  checkTemperature(op, temperature);
  const { positions, ...side } = sides(op, student, teacher, mask);
  const soft = () => {
    const [losses] = divergenceOp(side.student, side.teacher, { temperature });
    return positions.reduce(losses, reduction, classes(student)).mul(share * temperature ** 2);
  };
  if (share === 1 || labels === null) return soft();
  const hard = labelLoss(positions, side.student, labels, reduction);
  return share === 0 ? hard : soft().add(hard.mul(1 - share));
}

/** Cross entropy; "batchmean" is over the positions that have a label. */
export function labelLoss(
  positions: Positions,
  student: Tensor,
  labels: TensorLike,
  reduction: PositionReduction,
): Tensor {
  const own = positions.labels(labels);
  if (reduction === "batchmean") return crossEntropy(student, own);
  return positions.reduce(crossEntropy(student, own, { reduction: "none" }), reduction, classes(student));
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

export interface SoftCrossEntropyOptions extends PositionOptions {
  temperature: number;
}

/**
 * −Σ softmax(teacher/T)·log softmax(student/T) over classes, logits (…, C): the divergence plus the teacher's entropy,
 * without T². DynaBERT's code averages it by "batchmean", the default, TinyBERT's by "mean", C times smaller. A class that
 * the teacher gives the logit −Infinity counts 0. Jiao et al., 2019, arXiv:1909.10351, equation 10.
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
  const op = "softCrossEntropy";
  const { temperature, mask, reduction } = readOptions<SoftCrossEntropyOptions>(op, options, {
    ...perPosition,
    temperature: 1,
  });
  checkTemperature(op, temperature);
  const { positions, ...side } = sides(op, student, teacher, mask);
  const target = softmax(side.teacher.div(temperature));
  const losses = timesLog(target, logSoftmax(side.student.div(temperature)))
    .sum({ axis: -1 })
    .neg();
  return positions.reduce(losses, reduction, classes(student));
}
