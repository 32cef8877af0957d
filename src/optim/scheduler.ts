import { isFunction, isPlainObject, OptionError, show, synchronous } from "../errors.ts";
import type { Group } from "./group.ts";
import { unknownHyper } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { checkCount } from "./options.ts";
import type { Plateau, PlateauState } from "./plateau.ts";
import type { Schedule } from "./schedules.ts";

/** A schedule at work on an optimizer: call `step` after each of the optimizer's own steps. */
export interface Scheduler {
  /** Whose rates or hyper-parameters it sets. */
  readonly optimizer: Optimizer;
  /** The step whose value is in force. */
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
 * that of step 0. With `key` it sets this hyper-parameter, such as `weightDecay` or `betas.0`, in every group that has it.
 * Save its state beside the optimizer's to resume. Throws OptionError for a key that no group has and for one that is 0 in
 * all, and what a rule throws for a value that it does not take; every group then keeps the value it had.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { cosine, linear, optimizer, schedule, sgd } from "bitgrad/optim";
 *
 * const opt = optimizer(new Linear(2, 1), sgd({ lr: 0.1, momentum: 0.9 }));
 * const rate = schedule(opt, cosine({ total: 100 }));
 * const momentum = schedule(opt, linear({ start: 1, end: 0.5, total: 100 }), "momentum");
 * rate.step();
 * momentum.step();
 * console.log(opt.lr, opt.groups[0].hyper.momentum); // 0.09998 0.8955
 * ```
 */
export function schedule(optimizer: Optimizer, fn: Schedule, key?: string): Scheduler;
export function schedule(optimizer: Optimizer, fn: Plateau, key?: string): PlateauScheduler;
export function schedule(
  optimizer: Optimizer,
  fn: Schedule | Plateau,
  key = "lr",
): Scheduler | PlateauScheduler {
  if (!Array.isArray(optimizer?.groups))
    throw new OptionError(`schedule: needs an optimizer, got ${show(optimizer)}`);
  if (!isFunction(fn) && typeof (fn as Plateau | null | undefined)?.step !== "function")
    throw new OptionError(`schedule: needs a schedule or a plateau, got ${show(fn)}`);
  const apply = driven(optimizer.groups, key);
  if (typeof fn === "function") {
    let count = 0;
    const moveTo = (next: number) => {
      const multiplier = synchronous("schedule", fn(next), "a schedule");
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

/** What multiplies the initial value of a key in all groups, or, where a rule refuses, in none. */
function driven(groups: readonly Group[], key: string): (multiplier: number) => void {
  if (key === "lr") {
    return (multiplier) => {
      for (const group of groups) group.lr = group.initialLr * multiplier;
    };
  }
  const some = groups.filter(({ initialHyper }) => Object.hasOwn(initialHyper, key));
  if (some.length === 0) {
    throw unknownHyper(
      "schedule",
      key,
      groups.map(({ rule }) => rule),
    );
  }
  if (some.every(({ initialHyper }) => initialHyper[key] === 0)) {
    throw new OptionError(
      `schedule: a multiplier cannot scale what is 0, got ${show(key)} of ${some[0].rule.name}; make the rule with its largest value`,
    );
  }
  return (multiplier) => {
    const before = some.map(({ hyper }) => hyper[key]);
    try {
      for (const { hyper, initialHyper } of some) hyper[key] = initialHyper[key] * multiplier;
    } catch (error) {
      for (const [i, { hyper }] of some.entries()) hyper[key] = before[i];
      throw error;
    }
  };
}
