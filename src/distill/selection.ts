/** How sure a network is, and what of its knowledge is taken. */

import { checkChoice, checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { timesLog } from "../nn/losses.ts";
import { floats, logSoftmax, softmax } from "../ops/softmax.ts";
import type { Tensor } from "../tensor.ts";
import { checkTensors } from "./positions.ts";

export type ConfidenceMeasure = "entropy" | "maxProb";

/**
 * −Σ p·log p of p = softmax(logits) over classes, (…, C) -> (…): from 0 for a sure network to log C for one that guesses.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { entropy } from "bitgrad/distill";
 *
 * console.log(entropy(tensor([[0, 0], [3, 0]])).toArray()); // [0.693, 0.191]
 * ```
 */
export function entropy(logits: Tensor): Tensor {
  const x = classesOf("entropy", logits);
  return timesLog(softmax(x), logSoftmax(x)).sum({ axis: -1 }).neg();
}

/**
 * Where a network is sure enough to teach, (…, C) -> bool (…): where its entropy is below the threshold, or by "maxProb" its
 * largest probability above it. Logits of NaN are never sure.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { confidenceMask } from "bitgrad/distill";
 *
 * console.log(confidenceMask(tensor([[0, 0], [3, 0]]), { threshold: 0.5 }).toArray()); // [false, true]
 * ```
 */
export function confidenceMask(
  logits: Tensor,
  options: { threshold: number; measure?: ConfidenceMeasure },
): Tensor<"bool"> {
  const op = "confidenceMask";
  const { threshold, measure } = readOptions(op, options, {
    threshold: undefined as unknown as number,
    measure: "entropy" as ConfidenceMeasure,
  });
  checkChoice(op, "measure", measure, ["entropy", "maxProb"]);
  if (!(typeof threshold === "number" && Number.isFinite(threshold))) {
    throw new OptionError(`${op}: threshold must be a finite number, got ${show(threshold)}`);
  }
  const x = classesOf(op, logits).detach();
  return measure === "entropy" ? entropy(x).less(threshold) : softmax(x).max({ axis: -1 }).greater(threshold);
}

/**
 * The largest entropy of knowledge that is taken, as a function of the share of training that is done, 0 to 1:
 * 2·eta·log(classes)/(1 + exp(−b·(share − center))). b = 0 holds it at eta·log(classes) (CMD-S), b above 0 opens it and b
 * below 0 closes it as training goes on (CMD-P); eta = 0 takes nothing, eta of 1 or more with b = 0 everything, as mutual
 * learning does. The form and its numbers are our reconstruction: arXiv:2106.01489, Li et al., 2021, was not read in full.
 *
 * @example
 * ```ts
 * import { thresholdSchedule } from "bitgrad/distill";
 *
 * const opening = thresholdSchedule({ eta: 0.5, b: 10, classes: 10 });
 * console.log(opening(0), opening(0.5), opening(1)); // 0.015 1.151 2.287
 * ```
 */
export function thresholdSchedule(options: {
  eta?: number;
  b?: number;
  center?: number;
  classes: number;
}): (share: number) => number {
  const op = "thresholdSchedule";
  const { eta, b, center, classes } = readOptions(op, options, { eta: 0.5, b: 0, center: 0.5, classes: 0 });
  for (const [name, value] of Object.entries({ eta, b, center })) {
    if (!Number.isFinite(value)) throw new OptionError(`${op}: ${name} must be finite, got ${show(value)}`);
  }
  if (eta < 0) throw new OptionError(`${op}: eta must be at least 0, got ${eta}`);
  checkInteger(op, "classes", classes, 2);
  return (share) => (2 * eta * Math.log(classes)) / (1 + Math.exp(-b * (share - center)));
}

function classesOf(op: string, logits: Tensor): Tensor {
  checkTensors(op, logits);
  if (logits.rank === 0) throw new ShapeError(`${op}: logits must have a shape (…, C), got a single number`);
  return floats(logits);
}
