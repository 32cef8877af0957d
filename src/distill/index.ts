/**
 * Losses by which a student learns from a teacher.
 *
 * @module bitgrad/distill
 */

import "../ops/all.ts";

export { type Distilled, distill, type Network, type Term } from "./distill.ts";
export {
  type DivergenceOptions,
  forwardKl,
  jsd,
  reverseKl,
  type SkewOptions,
  skewKl,
  skewReverseKl,
  totalVariation,
} from "./divergences.ts";
export { type HiddenMseOptions, hiddenMse, type Projection } from "./hidden.ts";
export {
  type DkdOptions,
  dkd,
  type PearsonKdOptions,
  pearsonKd,
  standardizeLogits,
} from "./logits.ts";
export { type MutualLoss, type MutualOptions, mutualLoss } from "./mutual.ts";
export { injectLabelNoise, type LabelNoiseOptions, type NoisyLabels } from "./noise.ts";
export type { PositionOptions, PositionReduction } from "./positions.ts";
export { type ConfidenceMeasure, confidenceMask, entropy, thresholdSchedule } from "./selection.ts";
export {
  type ProSelfLossOptions,
  type ProSelfOptions,
  type ProSelfTarget,
  proSelfLoss,
  proSelfTarget,
} from "./self-correction.ts";
export { type KdOptions, kdLoss, type SoftCrossEntropyOptions, softCrossEntropy } from "./soft.ts";
export { consecutiveTeachers, multiTeacherLoss, type TeachersOptions } from "./teachers.ts";
