import { isFunction, isPlainObject, OptionError, show } from "../errors.ts";
import type { Optimizer } from "./optimizer.ts";
import { checkCount } from "./options.ts";
import type { Plateau, PlateauState } from "./plateau.ts";
import type { Schedule } from "./schedules.ts";

/** A schedule at work on an optimizer: call `step` after each of the optimizer's own steps. */
export interface Scheduler {
  /** Whose rates it sets. */
  readonly optimizer: Optimizer;
  /** The step whose learning rate is in force. */
  readonly count: number;
  step(): void;
  stateDict(): { count: number };
  loadStateDict(state: { count: number }): void;
}

/** A plateau at work on an optimizer: call `step` with each new metric. */
export interface PlateauScheduler {
  step(metric: number): void;
  stateDict(): PlateauState;
  loadStateDict(state: PlateauState): void;
}

/**
 * Lets `fn` set the learning rate of every group of `optimizer` to its initial rate times the multiplier, starting now with
 * that of step 0. Save its state beside the optimizer's to resume.
 */
export function schedule(optimizer: Optimizer, fn: Schedule): Scheduler;
export function schedule(optimizer: Optimizer, fn: Plateau): PlateauScheduler;
export function schedule(optimizer: Optimizer, fn: Schedule | Plateau): Scheduler | PlateauScheduler {
  if (!Array.isArray(optimizer?.groups))
    throw new OptionError(`schedule: needs an optimizer, got ${show(optimizer)}`);
  if (!isFunction(fn) && typeof (fn as Plateau | null | undefined)?.step !== "function")
    throw new OptionError(`schedule: needs a schedule or a plateau, got ${show(fn)}`);
  const apply = (multiplier: number) => {
    for (const group of optimizer.groups) group.lr = group.initialLr * multiplier;
  };
  if (typeof fn === "function") {
    let count = 0;
    const moveTo = (next: number) => {
      const multiplier = fn(next);
      if (!(multiplier >= 0 && multiplier < Infinity)) {
        throw new OptionError(
          `schedule: a multiplier must be finite and not negative, got ${show(multiplier)} at step ${next}`,
        );
      }
      apply(multiplier);
      count = next;
    };
    moveTo(0);
    return {
      optimizer,
      get count() {
        return count;
      },
      step: () => moveTo(count + 1),
      stateDict: () => ({ count }),
      loadStateDict(state: { count: number }) {
        if (!isPlainObject(state)) {
          throw new OptionError(`schedule: a state must be { count }, got ${show(state)}`);
        }
        checkCount("schedule", "count", state.count, 0);
        moveTo(state.count);
      },
    };
  }
  apply(fn.multiplier);
  return {
    step: (metric) => apply(fn.step(metric)),
    stateDict: () => fn.stateDict(),
    loadStateDict(state: PlateauState) {
      fn.loadStateDict(state);
      apply(fn.multiplier);
    },
  };
}
