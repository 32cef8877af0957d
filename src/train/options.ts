/** What `fit` is told, and what it tells. */

import { isFunction, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Scheduler } from "../optim/scheduler.ts";
import type { Schedule } from "../optim/schedules.ts";
import type { Rng } from "../random/rng.ts";
import { type GradientReport, isLogger, type Logger } from "./loggers.ts";
import { isResumable, type Resumable } from "./parts.ts";
import { placeOf } from "./read.ts";
import type { StepLoss } from "./step.ts";

type Batches<B> = AsyncIterable<B> | Iterable<B>;

/** Numbers by name: `loss`, and one for each of `metrics`. */
export type Measures = Readonly<Record<string, number>>;

export interface StepReport {
  /** Optimizer steps done, this one included: in this call, or since the run began where it was resumed. */
  readonly step: number;
  /** Counted from 0. */
  readonly epoch: number;
  /** The mean loss of the step's batches, before the step. */
  readonly loss: number;
  /** The learning rate the step was taken with. */
  readonly lr: number;
}

/** What the model is worth after a number of steps. */
export interface Validation {
  readonly step: number;
  /** Epochs gone through to their end. */
  readonly epoch: number;
  /** Means over the validation data. */
  readonly values: Measures;
  /** Whether no earlier one was as good; always false without `earlyStopping`. */
  readonly best: boolean;
}

export interface EpochReport {
  /** Counted from 0. */
  readonly epoch: number;
  readonly step: number;
  /** The mean of the losses of the epoch's steps, in this call. */
  readonly loss: number;
  readonly lr: number;
  /** That of the end of this epoch; null where validation is every so many steps, or not at all. */
  readonly validation: Validation | null;
}

/** A measure of one batch, alone or with how much the batch counts; alone it counts 1. */
export type Metric<M, B> = (
  model: M,
  batch: B,
) => number | { readonly value: number; readonly count: number };

export interface EarlyStopping {
  /** What is watched: "loss", or the name of one of `metrics`. */
  metric?: string;
  /** Whether a lower ("min", unless told otherwise) or a higher number is better. */
  mode?: "min" | "max";
  /** Validations in a row without a better one that are let pass, 3 unless told otherwise; Infinity never stops. */
  patience?: number;
  /** How much better counts as better; 0 unless told otherwise. */
  minDelta?: number;
  /** Puts parameters and buffers of the best validation back at the end; on unless told otherwise. */
  restore?: boolean;
}

export interface FitCheckpoint {
  /** The file, written at the end of `fit` too, also when it is aborted. Not for browsers: they have no files. */
  path: string;
  /** Steps between two writes; none before the end unless told otherwise. */
  every?: number;
  /** Goes on from the file if there is one; off unless told otherwise. `epochs` and `steps` are those of the whole run. */
  resume?: boolean;
  /** A further generator that the run draws from. */
  rng?: Rng;
  /** Further schedules, such as one that `onStep` steps. */
  scheduler?: Resumable | readonly Resumable[];
}

export interface FitOptions<M extends object, B> {
  /**
   * Batches; iterated once an epoch, so a list or a loader, or a generator if there is but one epoch. A loader that was
   * restored, or that `fit` left within an epoch and nobody has used since, goes on from there: the first epoch is what was
   * left of it.
   */
  data: Batches<B>;
  /**
   * The mean loss of a batch, a single number, or `{ loss, count }`. `accumulate` and `validation` weigh batches by their
   * counts, each 1 unless told otherwise, so that batches of unequal size make the step that all of them at once would make:
   * for classes `{ loss: crossEntropy(model.forward(x), y), count: y.size }`, for text the number of targets that are not
   * padding.
   */
  loss: (model: M, batch: B) => StepLoss;
  optimizer: Optimizer;
  /** How often to go through the data. Either this or `steps`. */
  epochs?: number;
  /** How many optimizer steps to take, however often the data is gone through. A further call goes on with a loader. */
  steps?: number;
  /** Batches a step: their gradients are averaged, by what they count. An epoch's last step takes what is left. */
  accumulate?: number;
  /** Multiplies the learning rate, step by step; a Scheduler, perhaps restored, goes on where it is. */
  schedule?: Schedule | Scheduler;
  /** Stops between two steps, also while a batch is read; what was not a whole step is undone. */
  signal?: AbortSignal;
  /**
   * Batches that the model is tried on in evaluation, without gradients, after every epoch, or after every so many steps.
   * What generators are drawn from meanwhile is put back, so that training does not depend on it.
   */
  validation?: { data: Batches<B>; every?: number };
  /** Measures by name, of the model in evaluation on a batch of validation, beside the loss. */
  metrics?: Readonly<Record<string, Metric<M, B>>>;
  /** Ends the run when validation has not become better for a while, and keeps the best weights. */
  earlyStopping?: EarlyStopping;
  /** Saves the run, to be resumed bit for bit. A list of batches goes on where it was, other iterables begin anew. */
  checkpoint?: FitCheckpoint;
  /** Where the numbers of the run go: one, or a list. */
  logger?: Logger | readonly Logger[];
  /** Called before every step, when its gradients are there, and awaited. */
  onGradients?: (report: GradientReport) => unknown;
  /** Called after every step, and awaited. */
  onStep?: (report: StepReport) => unknown;
  /** Called after every epoch that was gone through to its end, and awaited. */
  onEpoch?: (report: EpochReport) => unknown;
}

export interface FitHistory {
  /** The mean loss of every step, over what its batches count. Of a resumed run, from its beginning. */
  readonly losses: readonly number[];
  /** Epochs gone through to their end, so that what is left of n are n less this. */
  readonly epochs: number;
  /** Whether the signal ended it. */
  readonly aborted: boolean;
  readonly validations: readonly Validation[];
  /** The best of them by `earlyStopping`, null without it. */
  readonly best: Validation | null;
  /** Whether `earlyStopping` ended it. */
  readonly stopped: boolean;
}

export const isIterable = (value: unknown): boolean => {
  const it = value as { [Symbol.iterator]?: unknown; [Symbol.asyncIterator]?: unknown } | null | undefined;
  return Boolean(it?.[Symbol.asyncIterator] ?? it?.[Symbol.iterator]);
};

export function checked<M extends object, B>(options: FitOptions<M, B>) {
  const settings = readOptions<FitOptions<M, B>>("fit", options, {
    data: undefined as never,
    loss: undefined as never,
    optimizer: undefined as never,
    epochs: undefined,
    steps: undefined,
    accumulate: 1,
    schedule: undefined,
    signal: undefined,
    validation: undefined,
    metrics: undefined,
    earlyStopping: undefined,
    checkpoint: undefined,
    logger: undefined,
    onGradients: undefined,
    onStep: undefined,
    onEpoch: undefined,
  });
  const { data, loss, optimizer, epochs, steps, accumulate = 1, schedule, signal } = settings;
  if (!isIterable(data)) throw new OptionError(`fit: data must be an iterable of batches, got ${show(data)}`);
  if (!isFunction(loss)) throw new OptionError(`fit: loss must be a function, got ${show(loss)}`);
  if (typeof optimizer?.step !== "function" || !Array.isArray(optimizer.groups)) {
    throw new OptionError(`fit: needs an optimizer, got ${show(optimizer)}`);
  }
  if ((epochs === undefined) === (steps === undefined)) {
    throw new OptionError(`fit: needs either epochs or steps, got ${show(epochs)} and ${show(steps)}`);
  }
  checkSchedule(optimizer, schedule);
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    throw new OptionError(`fit: needs an AbortSignal, got ${show(signal)}; pass controller.signal`);
  }
  for (const name of ["onGradients", "onStep", "onEpoch"] as const) {
    if (settings[name] === undefined || isFunction(settings[name])) continue;
    throw new OptionError(`fit: ${name} must be a function, got ${show(settings[name])}`);
  }
  const loggers = [settings.logger ?? []].flat() as readonly Logger[];
  if (!loggers.every(isLogger))
    throw new OptionError(
      `fit: logger must be one such as consoleLogger(), or a list of such, got ${show(settings.logger)}`,
    );
  const counts = { epochs: epochs ?? Infinity, steps: steps ?? Infinity, accumulate };
  checkCount("epochs", counts.epochs, 0);
  checkCount("steps", counts.steps, 0);
  checkCount("accumulate", accumulate, 1);
  const validation = checkValidation(settings);
  return {
    ...settings,
    ...counts,
    loggers,
    validation,
    metrics: settings.metrics ?? {},
    earlyStopping: checkStopping(settings),
    checkpoint: checkCheckpoint(settings.checkpoint),
  };
}

function checkCount(name: string, value: number, least: number): void {
  if (value === Infinity && name !== "accumulate") return;
  if (Number.isInteger(value) && value >= least) return;
  throw new OptionError(`fit: ${name} must be a whole number, got ${show(value)}`);
}

function checkSchedule(optimizer: Optimizer, schedule: Schedule | Scheduler | undefined): void {
  const isSchedule = typeof schedule === "function" || typeof schedule?.count === "number";
  if (schedule !== undefined && !isSchedule) {
    throw new OptionError(
      `fit: schedule must be a schedule of steps, got ${show(schedule)}; step a plateau in onStep`,
    );
  }
  if (isSchedule && typeof schedule !== "function" && schedule?.optimizer !== optimizer) {
    throw new OptionError("fit: the schedule must be of its optimizer, got one at work on another");
  }
  const { groups } = optimizer;
  if (
    schedule === undefined &&
    groups.every(({ lr }) => lr === 0) &&
    groups.some((group) => group.initialLr > 0)
  ) {
    throw new OptionError(
      "fit: every learning rate is 0, got rates that a schedule has left there; pass a schedule or set optimizer.lr",
    );
  }
}

function checkValidation<M extends object, B>(settings: FitOptions<M, B>) {
  const { validation, metrics } = settings;
  if (metrics !== undefined && !(isPlainObject(metrics) && Object.values(metrics).every(isFunction)))
    throw new OptionError(`fit: metrics must be functions by name, got ${show(metrics)}`);
  if (metrics && Object.hasOwn(metrics, "loss"))
    throw new OptionError('fit: a metric needs a name of its own, got "loss", which is measured anyway');
  if (validation === undefined) {
    if (metrics === undefined) return null;
    throw new OptionError("fit: metrics need data to measure on, got none; pass validation: { data }");
  }
  const { data, every } = readOptions("fit: validation", validation, {
    data: undefined as never as Batches<B>,
    every: undefined as number | undefined,
  });
  if (!isIterable(data))
    throw new OptionError(`fit: validation.data must be an iterable of batches, got ${show(data)}`);
  if (data === settings.data && placeOf(data))
    throw new OptionError("fit: validation needs a loader of its own, got the one that is trained on");
  if (every !== undefined) checkCount("validation.every", every, 1);
  return { data, every: every ?? null };
}

function checkStopping<M extends object, B>(settings: FitOptions<M, B>) {
  const { earlyStopping, validation, metrics = {} } = settings;
  if (earlyStopping === undefined) return null;
  const all = readOptions<Required<EarlyStopping>>("fit: earlyStopping", earlyStopping, {
    metric: "loss",
    mode: "min",
    patience: 3,
    minDelta: 0,
    restore: true,
  });
  if (validation === undefined)
    throw new OptionError(
      "fit: earlyStopping watches validation, got none of that; pass validation: { data }",
    );
  if (all.metric !== "loss" && !Object.hasOwn(metrics, all.metric)) {
    throw new OptionError(
      `fit: earlyStopping watches what is not measured, got ${show(all.metric)} beside ${show(["loss", ...Object.keys(metrics)])}`,
    );
  }
  if (all.mode !== "min" && all.mode !== "max")
    throw new OptionError(`fit: earlyStopping.mode must be "min" or "max", got ${show(all.mode)}`);
  checkCount("earlyStopping.patience", all.patience, 0);
  if (!(all.minDelta >= 0 && all.minDelta < Infinity))
    throw new OptionError(`fit: earlyStopping.minDelta must be finite and not negative, got ${all.minDelta}`);
  return all;
}

function checkCheckpoint(checkpoint: FitCheckpoint | undefined) {
  if (checkpoint === undefined) return null;
  const all = readOptions<FitCheckpoint & { resume: boolean }>("fit: checkpoint", checkpoint as never, {
    path: undefined as never,
    every: undefined,
    resume: false,
    rng: undefined,
    scheduler: undefined,
  });
  if (typeof all.path !== "string" || all.path === "")
    throw new OptionError(`fit: checkpoint.path must be the path of a file, got ${show(all.path)}`);
  if (all.every !== undefined) checkCount("checkpoint.every", all.every, 1);
  const schedulers = [all.scheduler ?? []].flat() as readonly Resumable[];
  if (!schedulers.every(isResumable))
    throw new OptionError(
      `fit: checkpoint.scheduler must be what schedule returned, got ${show(all.scheduler)}`,
    );
  return { ...all, every: all.every ?? Infinity, schedulers };
}
