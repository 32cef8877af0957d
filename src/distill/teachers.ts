/** Learning from several teachers, at once or in turn. */

import { checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { stack } from "../ops/join.ts";
import { softmax } from "../ops/softmax.ts";
import type { Tensor } from "../tensor.ts";
import { checkTemperature, checkTensors, type PositionOptions, Positions, perPosition } from "./positions.ts";
import { softCrossEntropy } from "./soft.ts";

export interface TeachersOptions extends PositionOptions {
  temperature: number;
}

/**
 * Σ αₖ·Lₖ / K over K teachers: Lₖ is `softCrossEntropy` of each position, and αₖ, a softmax of the Lₖ over teachers with no
 * gradient, gives most to the teacher that the student follows worst. Logits (…, C). Guo et al., 2022, arXiv:2211.12933.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { multiTeacherLoss } from "bitgrad/distill";
 *
 * const teachers = [tensor([[2, 0]]), tensor([[0, 2]])];
 * console.log(multiTeacherLoss(tensor([[0, 0]]), teachers).item()); // 0.347
 * ```
 */
export function multiTeacherLoss(
  student: Tensor,
  teachers: readonly Tensor[],
  options?: Partial<TeachersOptions>,
): Tensor {
  const op = "multiTeacherLoss";
  const { temperature, mask, reduction } = readOptions<TeachersOptions>(op, options, {
    ...perPosition,
    temperature: 1,
  });
  checkTensors(op, student);
  if (!Array.isArray(teachers) || teachers.length === 0) {
    throw new OptionError(`${op}: needs a list of at least one teacher's logits, got ${show(teachers)}`);
  }
  checkTensors(op, ...teachers);
  for (const { shape } of teachers as readonly Tensor[]) {
    if (student.rank === 0 || String(shape) !== String(student.shape)) {
      throw new ShapeError(
        `${op}: student and teachers must have one shape (…, C), got ${show(student.shape)} and ${show(shape)}`,
      );
    }
  }
  checkTemperature(op, temperature);
  const positions = new Positions(op, student.shape.slice(0, -1), mask);
  const losses = stack(
    teachers.map((teacher) => softCrossEntropy(student, teacher, { temperature, mask, reduction: "none" })),
  );
  const share = softmax(losses.detach(), 0);
  const taught = share.mul(losses).sum({ axis: 0 }).div(teachers.length);
  return positions.reduce(taught, reduction, student.shape[student.rank - 1]);
}

/**
 * A schedule of assistants, weakest first, each for as many of `total` steps as the others, and the last from there on; with
 * `fixed`, a teacher that stays, before it. Guo et al., 2022, arXiv:2211.12933.
 *
 * @example
 * ```ts
 * import { consecutiveTeachers } from "bitgrad/distill";
 *
 * const teachers = consecutiveTeachers({ assistants: ["small", "middle"], fixed: "large", total: 10 });
 * console.log(teachers(4), teachers(5)); // ["large", "small"] ["large", "middle"]
 * ```
 */
export function consecutiveTeachers<T>(options: {
  assistants: readonly T[];
  fixed?: T;
  total: number;
}): (step: number) => T[] {
  const op = "consecutiveTeachers";
  const { assistants, fixed, total } = readOptions<{
    assistants: readonly T[];
    fixed: T | null;
    total: number;
  }>(op, options, { assistants: undefined as never, fixed: null, total: 0 });
  if (!Array.isArray(assistants) || assistants.length === 0) {
    throw new OptionError(`${op}: assistants must be a list of at least one, got ${show(assistants)}`);
  }
  checkInteger(op, "total", total, 1);
  const own = [...assistants] as T[];
  return (step) => {
    checkInteger(op, "the step", step, 0);
    const assistant = own[Math.min(own.length - 1, Math.floor((step * own.length) / total))];
    return fixed === null ? [assistant] : [fixed, assistant];
  };
}
