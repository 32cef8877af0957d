/** What holds of update rules: of every rule, of those of continuous weights, of those that overwrite signs. */

import type { FloatArray } from "../dtype.ts";
import { BitgradError, GradError, isFunction, OptionError, readOptions, show } from "../errors.ts";
import { signs } from "../nn/store.ts";
import type { Group } from "../optim/group.ts";
import type { RuleState, UpdateRule } from "../optim/rule.ts";
import { Rng } from "../random/rng.ts";
import { tensor } from "../tensor.ts";
import { allOf, dtypes, Trials, valuesOf, weightsOf } from "./trials.ts";

/** A sentence about what is tested, and the check, which throws where it does not hold. */
export interface Law {
  readonly name: string;
  check(): void;
}

/** The weights after gradients, in order, by another way than the rule's: from the first weights and the first state. */
export type Says = (weight: FloatArray, grads: readonly FloatArray[], state: RuleState) => ArrayLike<number>;

export interface OptimizerLawOptions {
  /** The weights that the rule is for: any numbers, those that a loss moves bit by bit, or 1 and −1. */
  kind: "any" | "continuous" | "signs";
  /** Of continuous weights: the share of a quadratic that may be left after 400 steps. */
  left: number;
  /** Of signs: what the weights must be. */
  says: Says | null;
}

/**
 * The laws of an update rule, one test each: `for (const { name, check } of laws.optimizer(() => bop())) it(name,
 * check)`. Every rule resumes bit for bit from its saved state, does not depend on the order of parameters, is the
 * same when `with` makes it anew, leaves gradients alone, and moves nothing at a learning rate of 0 where it has one;
 * a NaN is named and changes nothing. One of continuous weights falls on a quadratic, at the rate of its options,
 * which decays to 0, and lets NaN through. One of signs keeps every weight 1 or −1, flips what `says` says and nothing
 * else, and does the same to one bit per weight. `make` makes the rule anew each time. A check throws BitgradError of
 * code "LAW"; the call throws OptionError for what is no rule.
 *
 * @example
 * ```ts
 * import { sgd } from "bitgrad/optim";
 * import { laws } from "bitgrad/testing";
 *
 * for (const { check } of laws.optimizer(() => sgd({ lr: 0.1 }), { kind: "continuous" })) check();
 * ```
 */
export function optimizerLaws(make: () => UpdateRule, options?: Partial<OptimizerLawOptions>): Law[] {
  const op = "laws.optimizer";
  const { kind, left, says } = readOptions<OptimizerLawOptions>(op, options, {
    kind: "any",
    left: 0.05,
    says: null,
  });
  if (!isFunction(make))
    throw new OptionError(`${op}: needs a function that makes a rule, got ${show(make)}`);
  const rule: Partial<UpdateRule> | null = make();
  if (!isFunction(rule?.update) || !isFunction(rule.init)) {
    throw new OptionError(`${op}: the function must make an update rule, got ${show(rule)} of ${show(make)}`);
  }
  if (!["any", "continuous", "signs"].includes(kind)) {
    throw new OptionError(`${op}: kind must be "any", "continuous" or "signs", got ${show(kind)}`);
  }
  if (!(left > 0 && left < 1))
    throw new OptionError(`${op}: left must lie between 0 and 1, got ${show(left)}`);
  if (says === null ? kind === "signs" : !isFunction(says)) {
    throw new OptionError(`${op}: a rule of signs needs says, a function, got ${show(says)}`);
  }
  const inBoth = (name: string, check: (of: Trials) => void): Law => ({
    name,
    check() {
      for (const dtype of dtypes) check(new Trials(make, dtype, kind === "signs", name));
    },
  });
  const every = [
    inBoth("resumes bit for bit from its saved state", resumes),
    inBoth("does not depend on the order of parameters", ignoresOrder),
    inBoth("is the same when it is made anew with its own numbers", madeAnew),
    inBoth("leaves gradients alone", leavesGradients),
    inBoth("names a parameter whose gradient is NaN, and changes nothing", namesNaN),
  ];
  if (rule.options?.lr !== undefined) every.push(inBoth("moves nothing at a learning rate of 0", rests));
  if (kind === "continuous") {
    every.push(
      inBoth("falls on a quadratic", (trials) => falls(trials, left)),
      inBoth("makes NaN of NaN, and of nothing else", passesNaN),
    );
  }
  if (kind === "signs") {
    every.push(
      inBoth("keeps every weight at 1 or −1", staysSigns),
      inBoth("flips exactly what it says", (trials) => flips(trials, says!)),
      inBoth("does the same to one bit per weight", (trials) => sameInBits(trials)),
    );
  }
  return every;
}

/** Writes half of each hyper-parameter that the rule takes half of. */
function halve(trials: Trials, { hyper }: Group): void {
  for (const [key, value] of Object.entries(hyper)) {
    try {
      hyper[key] = value / 2;
    } catch (error) {
      if (error instanceof BitgradError) continue;
      throw error;
    }
    trials.same("a hyper-parameter after it is written", { [key]: [hyper[key]] }, { [key]: [value / 2] });
  }
}

function resumes(trials: Trials): void {
  for (const before of [0, 1, 5]) {
    const whole = trials.model();
    trials.step(whole, 0, before);
    halve(trials, whole.group);
    trials.step(whole, before);
    const resumed = trials.model(valuesOf(whole));
    resumed.optimizer.loadStateDict(whole.optimizer.stateDict());
    for (const trial of [whole, resumed]) trials.step(trial, before + 1, before + 6);
    trials.same("the resumed run against the whole one", allOf(resumed), allOf(whole));
  }
}

function ignoresOrder(trials: Trials): void {
  const first = trials.model();
  // First states may be drawn in order.
  trials.step(first, 0);
  const turned = trials.model(Object.fromEntries(Object.entries(valuesOf(first)).reverse()));
  turned.optimizer.loadStateDict(first.optimizer.stateDict());
  for (const trial of [first, turned]) trials.step(trial, 1, 6);
  trials.same("the order b, a against a, b", allOf(turned), allOf(first));
}

function madeAnew(trials: Trials): void {
  const [untouched, anew] = [trials.model(), trials.model()];
  for (let step = 0; step < 5; step++) {
    trials.step(untouched, step);
    const before = { ...anew.group.hyper };
    halve(trials, anew.group);
    Object.assign(anew.group.hyper, before);
    trials.step(anew, step);
  }
  trials.same("a rule made anew before each step", allOf(anew), allOf(untouched));
}

function leavesGradients(trials: Trials): void {
  const trial = trials.model();
  trials.step(trial, 0);
  const found = Object.entries(trial.parameters).map(([name, { grad }]) => [name, grad!.data as FloatArray]);
  trials.same("the gradients after a step", Object.fromEntries(found), trials.grads(0));
}

function namesNaN(trials: Trials): void {
  const trial = trials.model();
  trials.step(trial, 0);
  const before = allOf(trial);
  const { a } = trial.parameters;
  a.grad = tensor([0, Number.NaN, 0], { dtype: trials.dtype });
  try {
    trial.optimizer.step();
  } catch (error) {
    if (!(error instanceof GradError) || !error.message.includes("NaN in that of a")) throw error;
    trials.same("what a NaN leaves behind", allOf(trial), before);
    return;
  }
  trials.fail("a step by NaN");
}

function rests(trials: Trials): void {
  const trial = trials.model();
  const before = weightsOf(trial);
  trial.group.lr = 0;
  trials.step(trial, 0, 3);
  trials.same("weights after steps at rate 0", weightsOf(trial), before);
}

function falls(trials: Trials, left: number): void {
  const steps = 400;
  const trial = trials.model();
  const height = () =>
    Object.values(weightsOf(trial)).reduce((sum, w) => Array.from(w).reduce((s, v) => s + v * v, sum), 0);
  const start = height();
  const before = weightsOf(trial);
  for (let step = 0; step < steps; step++) {
    for (const parameter of Object.values(trial.parameters)) parameter.grad = tensor(parameter.value);
    // Rules that move by signs come to rest so.
    trial.group.lr = trial.group.initialLr * (1 - step / steps);
    trial.optimizer.step();
  }
  const share = height() / start;
  if (!(share < left)) trials.fail(`${share} of it left after ${steps} steps, where ${left} may be`);
  for (const [name, weight] of Object.entries(weightsOf(trial))) {
    const still = Array.from(weight).findIndex((value, i) => value === before[name][i]);
    if (still >= 0) trials.fail(`element ${still} of ${name}, which never moved`);
  }
}

function passesNaN(trials: Trials): void {
  const weight = trials.normal([4], "weight");
  const rule = trials.make();
  const context = { shape: [4], rng: new Rng("first states") };
  const grad = trials.normal([4], "grad");
  grad[1] = Number.NaN;
  rule.update(weight, grad, rule.init(4, weight, context), rule.options.lr ?? 1);
  const found = Array.from(weight, Number.isNaN);
  if (found.join() !== "false,true,false,false") trials.fail(`the weights ${show(Array.from(weight))}`);
}

function staysSigns(trials: Trials): void {
  const trial = trials.model();
  for (let step = 0; step < 50; step++) {
    trials.step(trial, step);
    for (const [name, values] of Object.entries(weightsOf(trial))) {
      const odd = Array.from(values).find((w) => Math.abs(w) !== 1);
      if (odd !== undefined) trials.fail(`${odd} in ${name} after ${step + 1} steps`);
    }
  }
}

function flips(trials: Trials, says: Says): void {
  const rule = trials.make();
  let flipped = 0;
  for (const [name, start] of Object.entries(trials.values())) {
    const first = start.data.slice() as FloatArray;
    const context = { shape: start.shape, rng: new Rng("first states") };
    const state = rule.init(first.length, first.slice(), context);
    const remembered = structuredClone(state);
    const weight = first.slice();
    const grads: FloatArray[] = [];
    for (let step = 0; step < 50; step++) {
      const before = weight.slice();
      grads.push(trials.grads(step)[name]);
      rule.update(weight, grads[step], state, rule.options.lr ?? 1);
      const wanted = says(first.slice(), grads, structuredClone(remembered));
      trials.same(`after ${step + 1} steps`, { [name]: weight }, { [name]: wanted });
      flipped += weight.filter((w, i) => w !== before[i]).length;
    }
  }
  if (flipped === 0) trials.fail("no flip, so that nothing is shown; make a rule that flips within 50 steps");
}

function sameInBits(trials: Trials): void {
  const [floats, bits] = [trials.model(), trials.model(trials.values(), signs)];
  for (const trial of [floats, bits]) trials.step(trial, 0, 50);
  trials.same("one bit per weight against floats", allOf(bits), allOf(floats));
}
