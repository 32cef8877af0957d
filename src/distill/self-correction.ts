/** Labels corrected by the network that learns from them. */

import { isFloat } from "../dtype.ts";
import { checkChoice, checkShare, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { oneHot } from "../ops/index-ops.ts";
import { softmax } from "../ops/softmax.ts";
import { sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { checkTemperature, type PositionOptions, type Positions, perPosition, sides } from "./positions.ts";

export interface ProSelfOptions {
  /** The share of training that is done, 0 to 1. */
  progress: number;
  /** How fast the network comes to be trusted. */
  steepness: number;
  /** The progress at which it is trusted by half. */
  center: number;
  /** Trust by progress alone, or times the certainty of each position: 1 − entropy/log C, or the largest probability. */
  trust: "global" | "global·entropy" | "global·maxProb";
  /** Sharpens below 1, or softens, what the network adds to the target, not the trust. */
  targetTemperature: number;
}

export interface ProSelfLossOptions extends ProSelfOptions, PositionOptions {
  /**
   * "ce-live", of the code of 2021: −Σ target·log(p + 1e-6), whose gradient goes through the target too. Of the code of 2022
   * Σ target·log((target + 1e-8)/(p + 1e-8)): "ce-detached", its cross entropy, with a constant target, "kl-live" without.
   */
  form: "ce-detached" | "ce-live" | "kl-live";
}

export interface ProSelfTarget {
  /** (1 − trust)·label + trust·p, (…, C); detached. */
  readonly target: Tensor;
  /** (…), detached. */
  readonly trust: Tensor;
}

const defaults: Omit<ProSelfOptions, "progress"> = {
  steepness: 10,
  center: 0.5,
  trust: "global·entropy",
  targetTemperature: 1,
};

/**
 * Targets in which the network's own prediction p = softmax(logits) takes a growing share of the label's place, for
 * `softCrossEntropy`-like losses of one's own: trust is sigmoid(steepness·(progress − center)), times the certainty of each
 * position. Labels are class indices (…) or a tensor of probabilities (…, C). Wang et al., 2021, arXiv:2005.03788.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { proSelfTarget } from "bitgrad/distill";
 *
 * const { target } = proSelfTarget(tensor([[9, 0]]), [1], { progress: 1, trust: "global" });
 * console.log(target.toArray()); // [[0.993, 0.007]]
 * ```
 */
export function proSelfTarget(
  logits: Tensor,
  labels: TensorLike,
  options: Partial<ProSelfOptions> & Pick<ProSelfOptions, "progress">,
): ProSelfTarget {
  const op = "proSelfTarget";
  const given = readOptions<ProSelfOptions>(op, options, { ...defaults, progress: undefined as never });
  checkProSelf(op, given);
  const { student, positions } = sides(op, logits, logits);
  const { target, trust } = targetOf(op, student.detach(), labels, positions, given);
  return { target, trust };
}

/**
 * Learning from labels that the network itself corrects, by `proSelfTarget`: the forms differ in their gradients.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { proSelfLoss } from "bitgrad/distill";
 *
 * const logits = tensor([[4, 0]]);
 * const at = (progress: number) => proSelfLoss(logits, [1], { progress }).item();
 * console.log(at(1) < at(0)); // true
 * ```
 */
export function proSelfLoss(
  logits: Tensor,
  labels: TensorLike,
  options: Partial<ProSelfLossOptions> & Pick<ProSelfLossOptions, "progress">,
): Tensor {
  const op = "proSelfLoss";
  const { form, mask, reduction, ...given } = readOptions<ProSelfLossOptions>(op, options, {
    ...perPosition,
    ...defaults,
    progress: undefined as never,
    form: "ce-detached",
  });
  checkChoice(op, "form", form, ["ce-detached", "ce-live", "kl-live"]);
  checkProSelf(op, given);
  const { student, positions } = sides(op, logits, logits, mask);
  const guard = form === "ce-live" ? 1e-6 : 1e-8;
  const made = targetOf(op, student, labels, positions, given);
  const target = form === "ce-detached" ? made.target.detach() : made.target;
  const logs = softmax(student).add(guard).log();
  const ratio = form === "ce-live" ? logs.neg() : target.add(guard).log().sub(logs);
  const losses = target.mul(ratio).sum({ axis: -1 });
  return positions.reduce(losses, reduction, logits.shape[logits.rank - 1]);
}

/** 1e-8 is added inside the logarithm, as the codes of both years do. */
function targetOf(
  op: string,
  student: Tensor,
  labels: TensorLike,
  positions: Positions,
  { progress, steepness, center, trust: kind, targetTemperature }: ProSelfOptions,
): ProSelfTarget {
  const classes = student.shape[student.rank - 1];
  const p = softmax(student.detach());
  const global = 1 / (1 + Math.exp(-steepness * (progress - center)));
  const certainty = () =>
    kind === "global·maxProb"
      ? p.max({ axis: -1 })
      : p.mul(p.add(1e-8).log()).sum({ axis: -1 }).div(Math.log(classes)).add(1);
  const sure = kind === "global" ? p.max({ axis: -1 }).mul(0).add(1) : certainty();
  const trust = sure.mul(global).clip({ min: 0, max: 1 });
  const own = ownLabels(op, student, asTensor(op, labels, "int32"), positions);
  const added = softmax(targetTemperature === 1 ? student : student.div(targetTemperature));
  const share = trust.unsqueeze(-1);
  return { target: own.mul(share.neg().add(1)).add(added.mul(share)), trust };
}

function checkProSelf(
  op: string,
  { progress, steepness, center, trust, targetTemperature }: ProSelfOptions,
): void {
  checkShare(op, "progress", progress);
  if (!(steepness >= 0 && steepness < Infinity)) {
    throw new OptionError(`${op}: steepness must be finite and not negative, got ${steepness}`);
  }
  if (!Number.isFinite(center)) throw new OptionError(`${op}: center must be finite, got ${show(center)}`);
  checkChoice(op, "trust", trust, ["global", "global·entropy", "global·maxProb"]);
  checkTemperature(op, targetTemperature);
}

/** Labels as probabilities (…, C). */
function ownLabels(op: string, { shape, dtype }: Tensor, labels: Tensor, positions: Positions): Tensor {
  if (isFloat(labels.dtype) && sameShape(labels.shape, shape))
    return positions.keep(labels.detach().to(dtype));
  if (!sameShape(labels.shape, shape.slice(0, -1))) {
    throw new ShapeError(
      `${op}: labels must be indices (…) or probabilities (…, C) for logits ${show(shape)}, got ${show(labels.shape)}`,
    );
  }
  return oneHot(positions.keep(labels), { classes: shape[shape.length - 1] }).to(dtype);
}
