/**
 * The training loop, a single step, and measures of classifiers and language models.
 *
 * @module bitgrad/train
 */

import "../ops/all.ts";

export { type Checkpoint, loadCheckpoint, type Progress, saveCheckpoint } from "./checkpoint.ts";
export { fit } from "./fit.ts";
export {
  type ConsoleLoggerOptions,
  consoleLogger,
  csvLogger,
  type GradientReport,
  jsonLines,
  type Logger,
  type LogRecord,
} from "./loggers.ts";
export { type AccuracyOptions, accuracy, confusionMatrix, perplexity } from "./metrics.ts";
export type {
  EarlyStopping,
  EpochReport,
  FitCheckpoint,
  FitHistory,
  FitOptions,
  Measures,
  Metric,
  StepReport,
  Validation,
} from "./options.ts";
export type { Resumable, RunParts } from "./parts.ts";
export { type StepLoss, trainStep } from "./step.ts";
export { type TensorBoardOptions, tensorBoard } from "./tensorboard.ts";
