/** The training loop. */

import { isFunction, OptionError, readOptions, show } from "../errors.ts";
import { train } from "../nn/modes.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { type Scheduler, schedule as startSchedule } from "../optim/scheduler.ts";
import type { Schedule } from "../optim/schedules.ts";
import type { Tensor } from "../tensor.ts";
import { breather } from "./breathe.ts";
import { addGradients, averageGradients, checkStepped, dropGradients } from "./step.ts";

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
   * Batches; iterated once an epoch, so a list or a loader, or a generator if there is but one epoch. A restored loader's
   * first epoch is what was left of it.
   */
  data: AsyncIterable<B> | Iterable<B>;
  /** The mean loss of a batch, a single number. */
  loss: (model: M, batch: B) => Tensor;
  optimizer: Optimizer;
  /** How often to go through the data. Either this or `steps`. */
  epochs?: number;
  /** How many optimizer steps to take, however often the data is gone through. */
  steps?: number;
  /** Batches a step: their gradients are averaged. An epoch's last step takes what is left. */
  accumulate?: number;
  /** Multiplies the learning rate, step by step; a Scheduler, perhaps restored, goes on where it is. */
  schedule?: Schedule | Scheduler;
  /** Stops between two steps; what was not a whole step is dropped. */
  signal?: AbortSignal;
  /** Called after every step, and awaited. */
  onStep?: (report: StepReport) => unknown;
}

export interface FitHistory {
  /** The mean loss of every step. */
  readonly losses: readonly number[];
  /** Epochs gone through to their end. */
  readonly epochs: number;
  /** Whether the signal ended it. */
  readonly aborted: boolean;
}

/**
 * Trains a model, put into training mode first, on batches. Each batch is computed in a scope of its own. Aborting is no
 * error: the promise resolves with what was done. Rejects with OptionError for data that gives no batch in an epoch, and
 * with GradError for a loss that is not finite.
 */
export async function fit<M extends object, B>(model: M, options: FitOptions<M, B>): Promise<FitHistory> {
  const settings = checked(options);
  const { data, loss, optimizer, epochs, steps, accumulate, signal, onStep } = settings;
  const scheduler =
    typeof settings.schedule === "function" ? startSchedule(optimizer, settings.schedule) : settings.schedule;
  train(model);
  const losses: number[] = [];
  const breathe = breather();
  let epoch = 0;
  let pending = 0;
  let sum = 0;
  const done = () => signal?.aborted || epoch >= epochs || losses.length >= steps;

  const finishStep = async () => {
    checkStepped("fit", model, optimizer);
    averageGradients(model, pending);
    const { lr } = optimizer;
    optimizer.step();
    scheduler?.step();
    losses.push(sum / pending);
    const report = { step: losses.length, epoch, loss: sum / pending, lr };
    pending = 0;
    sum = 0;
    await onStep?.(report);
    await breathe();
  };

  try {
    while (!done()) {
      let batches = 0;
      for await (const batch of data) {
        if (signal?.aborted) break;
        if (pending === 0) dropGradients(model, optimizer);
        sum += addGradients("fit", model, () => loss(model, batch));
        batches++;
        if (++pending === accumulate) await finishStep();
        if (done()) break;
      }
      if (done()) break;
      // A loader that goes on from the last batch of an epoch has none left for it.
      if (batches === 0 && !(epoch === 0 && (data as { state?: unknown }).state !== undefined)) {
        throw new OptionError(
          `fit: data gave no batch in epoch ${epoch}, got ${show(data)}; it must be iterable once an epoch`,
        );
      }
      if (pending > 0) await finishStep();
      epoch++;
    }
  } catch (error) {
    // A loader given the same signal throws its reason.
    if (!signal?.aborted || error !== signal.reason) throw error;
  }
  if (pending > 0) dropGradients(model, optimizer);
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
  if (typeof optimizer?.step !== "function") {
    throw new OptionError(`fit: needs an optimizer, got ${show(optimizer)}`);
  }
  if ((epochs === undefined) === (steps === undefined)) {
    throw new OptionError(`fit: needs either epochs or steps, got ${show(epochs)} and ${show(steps)}`);
  }
  const counts = { epochs: epochs ?? Infinity, steps: steps ?? Infinity, accumulate };
  for (const [name, value] of Object.entries(counts)) {
    if (value !== Infinity && (!Number.isInteger(value) || value < (name === "accumulate" ? 1 : 0))) {
      throw new OptionError(`fit: ${name} must be a whole number, got ${show(value)}`);
    }
  }
  return { ...settings, ...counts };
}
