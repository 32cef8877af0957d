/**
 * Losses by which a student learns from a teacher.
 *
 * @module bitgrad/distill
 */

import "../ops/all.ts";

export { type HiddenMseOptions, hiddenMse, type Projection } from "./hidden.ts";
export type { PositionOptions, PositionReduction } from "./positions.ts";
export { type KdOptions, kdLoss, type SoftCrossEntropyOptions, softCrossEntropy } from "./soft.ts";
