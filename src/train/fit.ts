/** The training loop. */

import { undoable } from "../changes.ts";
import { isFunction, OptionError, readOptions, show } from "../errors.ts";
import { evaluating, trainAgain } from "../nn/modes.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { type Scheduler, schedule as startSchedule } from "../optim/scheduler.ts";
import type { Schedule } from "../optim/schedules.ts";
import { breather } from "./breathe.ts";
import { goOn, leave, placeOf, read } from "./read.ts";
import { addGradients, averageGradients, checkStepped, dropGradients, type StepLoss } from "./step.ts";

export interface StepReport {
  /** Optimizer steps done in this call, this one included. */
  readonly step: number;
  /** Counted from 0. */
  readonly epoch: number;
  /** The mean loss of the step's batches, before the step. */
  readonly loss: number;
  /** The learning rate the step was taken with. */
  readonly lr: number;
}

export interface FitOptions<M extends object, B> {
  /**
   * Batches; iterated once an epoch, so a list or a loader, or a generator if there is but one epoch. A loader that was
   * restored, or that `fit` left within an epoch and nobody has used since, goes on from there: the first epoch is what was
   * left of it.
   */
  data: AsyncIterable<B> | Iterable<B>;
  /**
   * The mean loss of a batch, a single number, or `{ loss, count }`. `accumulate` weighs batches by their counts, each 1
   * unless told otherwise, so that batches of unequal size make the step that all of them at once would make: for
   * classes `{ loss: crossEntropy(model.forward(x), y), count: y.size }`, for text the number of targets that are not padding.
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
  /** Called after every step, and awaited. */
  onStep?: (report: StepReport) => unknown;
}

export interface FitHistory {
  /** The mean loss of every step, over what its batches count. */
  readonly losses: readonly number[];
  /** Epochs gone through to their end, so that what is left of n are n less this. */
  readonly epochs: number;
  /** Whether the signal ended it. */
  readonly aborted: boolean;
}

/**
 * Trains a model on batches. Each is computed in a scope of its own. Before every step the model is put into training mode,
 * whatever a callback did, except for parts that were put into evaluation by themselves (`evaluate(model.backbone)`) and for
 * what was so when fit began.
 *
 * Aborting is no error: the promise resolves with what was done. Where it ends within a step, by an abort or an error, the
 * parameters, running statistics and generators of the library and the loader's `state` are as after the last whole step, so
 * that a run resumed from them and from the states of optimizer and schedule equals one that was not interrupted, bit for bit.
 *
 * Rejects with OptionError for data that gives no batch in an epoch, for learning rates that an earlier schedule left at 0, and
 * where a trainable parameter has a gradient and no group of the optimizer; with GradError for a loss or a gradient that is not
 * finite.
 */
export async function fit<M extends object, B>(model: M, options: FitOptions<M, B>): Promise<FitHistory> {
  const settings = checked(options);
  const { data, loss, optimizer, epochs, steps, accumulate, signal, onStep } = settings;
  const scheduler =
    typeof settings.schedule === "function" ? startSchedule(optimizer, settings.schedule) : settings.schedule;
  trainAgain(model);
  const still = evaluating(model);
  goOn(data);
  const losses: number[] = [];
  const breathe = breather();
  let epoch = 0;
  const done = () => signal?.aborted || epoch >= epochs || losses.length >= steps;

  // The step that is being taken: its batches, what they count, what undoes them, where the data was before.
  let pending = 0;
  let sum = 0;
  let count = 0;
  let undo: (() => void)[] = [];
  let place: ReturnType<typeof placeOf> = null;
  const begin = () => {
    pending = 0;
    sum = 0;
    count = 0;
    undo = [];
    place = null;
  };

  const take = (batch: B) => {
    if (pending === 0) {
      trainAgain(model);
      for (const part of still) part.training = false;
      dropGradients(model, optimizer);
    }
    const [[value, counts], back] = undoable(() =>
      addGradients("fit", model, () => loss(model, batch), accumulate > 1),
    );
    undo.push(back);
    pending++;
    sum += accumulate > 1 ? value * counts : value;
    count += accumulate > 1 ? counts : 1;
  };

  const finishStep = async () => {
    checkStepped("fit", model, optimizer);
    averageGradients(model, count);
    const { lr } = optimizer;
    optimizer.step();
    const report = { step: losses.length + 1, epoch, loss: sum / (count || 1), lr };
    begin();
    losses.push(report.loss);
    scheduler?.step();
    await onStep?.(report);
    await breathe();
  };

  const reading = () => {
    if (pending === 0) place = placeOf(data);
  };

  try {
    while (!done()) {
      let batches = 0;
      let over = true;
      for await (const batch of read(data, signal, reading)) {
        signal?.throwIfAborted();
        take(batch);
        batches++;
        if (pending === accumulate) await finishStep();
        if (!done()) continue;
        over = placeOf(data)?.position === 0 || (data as { length?: unknown }).length === batches;
        break;
      }
      if (batches === 0) {
        throw new OptionError(
          `fit: data gave no batch in epoch ${epoch}, got ${show(data)}; it must be iterable once an epoch`,
        );
      }
      if (pending > 0 && !done()) await finishStep();
      if (pending > 0) break;
      begin();
      if (over) epoch++;
    }
  } catch (error) {
    // A loader given the same signal throws its reason.
    if (!signal?.aborted || error !== signal.reason) throw error;
  } finally {
    // Of a step that was not finished nothing stays.
    for (const back of undo.reverse()) back();
    if (pending > 0) dropGradients(model, optimizer);
    leave(data, place);
  }
  return { losses, epochs: epoch, aborted: signal?.aborted ?? false };
}

function checked<M extends object, B>(options: FitOptions<M, B>) {
  const settings = readOptions("fit", options, {
    data: undefined as unknown as AsyncIterable<B> | Iterable<B>,
    loss: undefined as unknown as FitOptions<M, B>["loss"],
    optimizer: undefined as unknown as Optimizer,
    epochs: undefined as number | undefined,
    steps: undefined as number | undefined,
    accumulate: 1 as number | undefined,
    schedule: undefined as Schedule | Scheduler | undefined,
    signal: undefined as AbortSignal | undefined,
    onStep: undefined as FitOptions<M, B>["onStep"],
  });
  const { data, loss, optimizer, epochs, steps, accumulate = 1 } = settings;
  const iterable = data as { [Symbol.iterator]?: unknown; [Symbol.asyncIterator]?: unknown } | undefined;
  if (!iterable?.[Symbol.asyncIterator] && !iterable?.[Symbol.iterator]) {
    throw new OptionError(`fit: data must be an iterable of batches, got ${show(data)}`);
  }
  if (!isFunction(loss)) throw new OptionError(`fit: loss must be a function, got ${show(loss)}`);
  if (typeof optimizer?.step !== "function" || !Array.isArray(optimizer.groups)) {
    throw new OptionError(`fit: needs an optimizer, got ${show(optimizer)}`);
  }
  if ((epochs === undefined) === (steps === undefined)) {
    throw new OptionError(`fit: needs either epochs or steps, got ${show(epochs)} and ${show(steps)}`);
  }
  const { schedule, signal, onStep } = settings;
  const isSchedule = typeof schedule === "function" || typeof schedule?.count === "number";
  if (schedule !== undefined && !isSchedule) {
    throw new OptionError(
      `fit: schedule must be a schedule of steps, got ${show(schedule)}; step a plateau in onStep`,
    );
  }
  if (isSchedule && typeof schedule !== "function" && schedule?.optimizer !== optimizer) {
    throw new OptionError("fit: the schedule must be of its optimizer, got one at work on another");
  }
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    throw new OptionError(`fit: needs an AbortSignal, got ${show(signal)}; pass controller.signal`);
  }
  if (onStep !== undefined && !isFunction(onStep)) {
    throw new OptionError(`fit: onStep must be a function, got ${show(onStep)}`);
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
  const counts = { epochs: epochs ?? Infinity, steps: steps ?? Infinity, accumulate };
  for (const [name, value] of Object.entries(counts)) {
    if (value !== Infinity && (!Number.isInteger(value) || value < (name === "accumulate" ? 1 : 0))) {
      throw new OptionError(`fit: ${name} must be a whole number, got ${show(value)}`);
    }
  }
  return { ...settings, ...counts };
}
