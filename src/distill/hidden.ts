/** Learning from a teacher's hidden states. */

import { isFunction, OptionError, readOptions, ShapeError, show, synchronous } from "../errors.ts";
import { isLayer } from "../nn/layer.ts";
import { sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { checkTensors, type PositionOptions, Positions, sides } from "./positions.ts";

/** Takes the student's states to the teacher's size, such as a Linear: its parameters are the caller's to optimize. */
export type Projection = ((student: Tensor) => Tensor) | { forward(student: Tensor): Tensor };

export interface HiddenMseOptions extends PositionOptions {
  project: Projection | null;
}

/**
 * The mean squared difference of hidden states (…, C), over all their elements or over those of the positions in `mask`, 0
 * where there are none: padding counts too without it, as in TinyBERT's code. `reduction` is "mean" unless told otherwise.
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
  const op = "hiddenMse";
  const { project, mask, reduction } = readOptions<HiddenMseOptions>(op, options, {
    project: null,
    mask: null,
    reduction: "mean",
  });
  const hidden = projected(op, student, teacher, { project, mask });
  const { positions, ...side } = sides(op, hidden, teacher, mask);
  const errors = side.student.sub(side.teacher).square().sum({ axis: -1 });
  return positions.reduce(errors, reduction, teacher.shape[teacher.rank - 1]);
}

/** The student's states in the teacher's shape; `project` does not see what the mask leaves out. */
export function projected(
  op: string,
  student: Tensor,
  teacher: Tensor,
  { project, mask }: Pick<HiddenMseOptions, "project" | "mask">,
): Tensor {
  if (project !== null && !isFunction(project) && !isLayer(project)) {
    throw new OptionError(`${op}: project must be a layer or a function, got ${show(project)}`);
  }
  checkTensors(op, student, teacher);
  const lead = student.shape.slice(0, -1);
  const alike = sameShape(lead, teacher.shape.slice(0, -1));
  const seen = project !== null && alike ? new Positions(op, lead, mask).keep(student) : student;
  const toTeacher = typeof project === "function" ? project : (x: Tensor) => project?.forward(x) ?? x;
  const hidden = synchronous(op, toTeacher(seen), "project");
  checkTensors(op, hidden);
  if (!sameShape(hidden.shape, teacher.shape)) {
    throw new ShapeError(
      `${op}: student and teacher must have one shape, got ${show(hidden.shape)} and ${show(teacher.shape)}; project the student`,
    );
  }
  return hidden;
}
