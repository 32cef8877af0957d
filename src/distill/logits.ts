/** Losses that take a teacher's logits apart, or look at how they lie to each other. */

import { isFloat } from "../dtype.ts";
import { DTypeError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { concat } from "../ops/join.ts";
import { logSoftmax, softmax } from "../ops/softmax.ts";
import { gate } from "../ops/unary.ts";
import { sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { kl } from "./divergences.ts";
import { checkTemperature, checkTensors, type PositionOptions, perPosition, sides } from "./positions.ts";

export interface DkdOptions extends PositionOptions {
  temperature: number;
  /** The weight of what the teacher says of the label's class against all others. */
  alpha: number;
  /** The weight of what it says of the others among themselves. */
  beta: number;
}

/**
 * Decoupled distillation, T²·(alpha·TCKD + beta·NCKD) of logits (…, C) and class indices (…), averaged over the positions:
 * KL of the pairs (p of the label, the rest), and KL of the softmax without the label's class. `kdLoss` is TCKD + (1 − p of
 * the label)·NCKD: a sure teacher tells little of the others there. The paper lets it grow over the first 20 epochs. Zhao et
 * al., 2022, arXiv:2203.08679.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { dkd } from "bitgrad/distill";
 *
 * console.log(dkd(tensor([[1, 2, 0]]), tensor([[2, 3, -1]]), [1]).item()); // 3.74
 * ```
 */
export function dkd(
  student: Tensor,
  teacher: Tensor,
  labels: TensorLike,
  options?: Partial<DkdOptions>,
): Tensor {
  const op = "dkd";
  const { temperature, alpha, beta, mask, reduction } = readOptions<DkdOptions>(op, options, {
    ...perPosition,
    temperature: 4,
    alpha: 1,
    beta: 8,
  });
  checkTemperature(op, temperature);
  for (const [name, weight] of Object.entries({ alpha, beta })) {
    if (!(weight >= 0 && weight < Infinity))
      throw new OptionError(`${op}: ${name} must be a finite number of 0 or more, got ${show(weight)}`);
  }
  const { positions, ...side } = sides(op, student, teacher, mask);
  const classes = student.shape[student.rank - 1];
  if (classes < 2) throw new ShapeError(`${op}: needs 2 classes or more, got ${show(student.shape)}`);
  const given = asTensor(op, labels, "int32");
  if (isFloat(given.dtype) || given.dtype === "bool")
    throw new DTypeError(`${op}: labels must be class indices of an integer dtype, got ${given.dtype}`);
  if (!sameShape(given.shape, student.shape.slice(0, -1))) {
    throw new ShapeError(
      `${op}: labels must have the shape of the positions, got ${show(given.shape)} for ${show(student.shape)}`,
    );
  }
  const known = positions.labels(given).unsqueeze(-1);
  const own = known.equal(Int32Array.from({ length: classes }, (_, i) => i));
  if (!own.any({ axis: -1 }).logicalOr(known.squeeze(-1).equal(-100)).all().item()) {
    throw new OptionError(`${op}: labels must be classes from 0 to ${classes - 1}, or -100 for none`);
  }
  /** Log-probabilities of the label against the rest, and of the rest among themselves. */
  const parts = (logits: Tensor) => {
    const logs = logSoftmax(logits.div(temperature));
    const rest = own.where(Number.NEGATIVE_INFINITY, logs);
    const left = rest.logSumExp({ axis: -1, keepDims: true });
    return {
      pair: concat([gate(own, logs).sum({ axis: -1, keepDims: true }), left], { axis: -1 }),
      others: rest.sub(left),
    };
  };
  const [p, q] = [parts(side.teacher), parts(side.student)];
  const losses = kl(p.pair, q.pair)
    .mul(alpha)
    .add(kl(p.others, q.others).mul(beta))
    .mul(temperature ** 2);
  return positions.reduce(gate(known.squeeze(-1).notEqual(-100), losses), reduction, classes);
}

/**
 * Logits (…, C) with a mean of 0 and a standard deviation of 1 in each row, for `kdLoss` of both sides: the student need not
 * have the teacher's scale. Rows of equal logits become 0. Sun et al., 2024, arXiv:2403.01427.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { standardizeLogits } from "bitgrad/distill";
 *
 * const [small, large] = [[1, 2, 0], [100, 200, 0]].map((row) => standardizeLogits(tensor(row)));
 * console.log(small.sub(large).abs().max().item() < 1e-6); // true
 * ```
 */
export function standardizeLogits(logits: Tensor): Tensor {
  const op = "standardizeLogits";
  checkTensors(op, logits);
  const classes = logits.shape[logits.rank - 1];
  if (logits.rank === 0 || classes < 2)
    throw new ShapeError(`${op}: needs logits (…, C) of 2 classes or more, got ${show(logits.shape)}`);
  const centred = logits.sub(logits.mean({ axis: -1, keepDims: true }));
  const squares = centred.square().sum({ axis: -1, keepDims: true });
  const flat = squares.equal(0);
  const std = flat
    .where(1, squares)
    .div(classes - 1)
    .sqrt();
  return gate(flat.logicalNot(), centred.div(std.add(1e-7)));
}

export interface PearsonKdOptions {
  temperature: number;
  /** The weight of the correlation of classes within each row. */
  beta: number;
  /** The weight of the correlation of rows within each class. */
  gamma: number;
}

/**
 * T²·(beta·(1 − the mean correlation of rows) + gamma·(1 − that of columns)) of the probabilities of logits (B, C), where
 * positions (…, C) are rows of one table: how the student's numbers lie to each other, and not how large they are. Columns
 * depend on the batch, and mean something from 3 rows on. DIST, Huang et al., 2022, arXiv:2205.10536.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { pearsonKd } from "bitgrad/distill";
 *
 * const teacher = tensor([[2, 3, -1], [1, 0, 2], [3, 1, 0]]);
 * console.log(pearsonKd(tensor([[1, 2, 0], [0, 1, 1], [2, 0, 1]]), teacher).item()); // 0.371
 * ```
 */
export function pearsonKd(student: Tensor, teacher: Tensor, options?: Partial<PearsonKdOptions>): Tensor {
  const op = "pearsonKd";
  const { temperature, beta, gamma } = readOptions<PearsonKdOptions>(op, options, {
    temperature: 1,
    beta: 1,
    gamma: 1,
  });
  checkTemperature(op, temperature);
  const side = sides(op, student, teacher);
  const classes = student.shape[student.rank - 1];
  const [p, q] = [side.teacher, side.student].map((z) => softmax(z.div(temperature)).reshape([-1, classes]));
  const apart = (axis: number) => correlation(p, q, axis).mean().neg().add(1);
  return apart(1)
    .mul(beta)
    .add(apart(0).mul(gamma))
    .mul(temperature ** 2);
}

/** Pearson's correlation along an axis, 0 where either side does not vary. */
function correlation(a: Tensor, b: Tensor, axis: number): Tensor {
  const [x, y] = [a, b].map((t) => t.sub(t.mean({ axis, keepDims: true })));
  const squares = [x, y].map((t) => t.square().sum({ axis }));
  const flat = squares[0].equal(0).logicalOr(squares[1].equal(0));
  const [lengthX, lengthY] = squares.map((each) => flat.where(1, each).sqrt());
  return gate(flat.logicalNot(), x.mul(y).sum({ axis }).div(lengthX.mul(lengthY)));
}
