/**
 * Update rules, optimizers over groups of parameters, schedules and clipping.
 *
 * @module bitgrad/optim
 */

import "../ops/all.ts";

export { clipGradNorm, clipGradValue } from "./clip.ts";
export type { Group, OptimizerRows } from "./group.ts";
export type { HyperParameters } from "./hyper.ts";
export { type Optimizer, type OptimizerOptions, type OptimizerState, optimizer } from "./optimizer.ts";
export { type Plateau, type PlateauOptions, type PlateauState, plateau } from "./plateau.ts";
export { everything, isBias, isBinary, isNorm, matching, type Predicate } from "./predicates.ts";
export type { RuleContext, RuleState, UpdateRule } from "./rule.ts";
export { type AdadeltaOptions, adadelta } from "./rules/adadelta.ts";
export { type AdagradOptions, adagrad } from "./rules/adagrad.ts";
export { type AdamOptions, adam } from "./rules/adam.ts";
export { type AdamaxOptions, adamax } from "./rules/adamax.ts";
export { adamw } from "./rules/adamw.ts";
export { type LionOptions, lion } from "./rules/lion.ts";
export { type NadamOptions, nadam } from "./rules/nadam.ts";
export { type RadamOptions, radam } from "./rules/radam.ts";
export { type RmspropOptions, rmsprop } from "./rules/rmsprop.ts";
export { type SgdOptions, sgd } from "./rules/sgd.ts";
export { type SignSgdOptions, signSgd } from "./rules/signsgd.ts";
export { type SignumOptions, signum } from "./rules/signum.ts";
export { type PlateauScheduler, type Scheduler, schedule } from "./scheduler.ts";
export {
  constant,
  cosine,
  cosineAnnealing,
  cosineRestarts,
  cyclic,
  exponential,
  linear,
  multiStep,
  noam,
  oneCycle,
  polynomial,
  type Schedule,
  sequential,
  step,
} from "./schedules.ts";
