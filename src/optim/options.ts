/** Range checks of the numbers that rules, schedules and optimizers take. */

import { OptionError, show } from "../errors.ts";

/** Throws OptionError unless `value` is a finite number of at least `low`. */
export function checkAtLeast(op: string, name: string, value: number, low: number): void {
  if (!(typeof value === "number" && value >= low && value < Infinity)) {
    throw new OptionError(`${op}: ${name} must be a finite number of at least ${low}, got ${show(value)}`);
  }
}

/** Throws OptionError unless `value` is a finite number above 0. */
export function checkPositive(op: string, name: string, value: number): void {
  if (!(typeof value === "number" && value > 0 && value < Infinity)) {
    throw new OptionError(`${op}: ${name} must be a finite number above 0, got ${show(value)}`);
  }
}

/** Throws OptionError unless `value` lies in [0, 1), as the decay of a running mean must. */
export function checkDecay(op: string, name: string, value: number): void {
  if (!(typeof value === "number" && value >= 0 && value < 1)) {
    throw new OptionError(`${op}: ${name} must lie in [0, 1), got ${show(value)}`);
  }
}

/** Throws OptionError unless `betas` are two numbers in [0, 1). */
export function checkBetas(op: string, betas: readonly number[]): void {
  if (!Array.isArray(betas) || betas.length !== 2) {
    throw new OptionError(`${op}: betas must be two numbers, got ${show(betas)}`);
  }
  for (const beta of betas) checkDecay(op, "each of betas", beta);
}

/** Throws OptionError unless `value` is an integer of at least `low`. */
export function checkCount(op: string, name: string, value: number, low: number): void {
  if (!Number.isInteger(value) || value < low) {
    throw new OptionError(`${op}: ${name} must be an integer of at least ${low}, got ${show(value)}`);
  }
}

/** Throws OptionError where a number that decides what a rule remembers would pass from 0 to more, or back. */
export function checkKept(op: string, name: string, made: number, value: number): void {
  if ((made === 0) === (value === 0)) return;
  throw new OptionError(
    `${op}: ${name} must ${made === 0 ? "stay 0" : "stay above 0"} once the rule is made, got ${show(value)}; make the rule with ${made === 0 ? "more" : "0"}`,
  );
}
