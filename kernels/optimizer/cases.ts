/** What every update is tried on. The weight and the state are laid end to end in the one output. */

import type { FloatArray } from "../../src/dtype.ts";
import { raggedSizes, wave } from "../elementwise/cases.ts";
import type * as reference from "./reference.ts";
import type { AdamStep, LionStep, SgdStep, SignStep } from "./reference.ts";

/** `kept` says how many arrays of state there are. */
export type UpdateArgs<Step> = [all: Float32Array, grad: Float32Array, step: Step, kept: number];

const part = ([all, grad, , kept]: UpdateArgs<unknown>, k: number): FloatArray | null =>
  k > kept ? null : all.subarray(k * grad.length, (k + 1) * grad.length);

export const adam =
  <R>(run: (...args: [...Parameters<typeof reference.adam>]) => R) =>
  (...args: UpdateArgs<AdamStep>): R =>
    run(part(args, 0)!, args[1], part(args, 1)!, part(args, 2)!, part(args, 3), args[2]);

export const sgd =
  <R>(run: (...args: [...Parameters<typeof reference.sgd>]) => R) =>
  (...args: UpdateArgs<SgdStep>): R =>
    run(part(args, 0)!, args[1], part(args, 1), args[2]);

export const lion =
  <R>(run: (...args: [...Parameters<typeof reference.lion>]) => R) =>
  (...args: UpdateArgs<LionStep>): R =>
    run(part(args, 0)!, args[1], part(args, 1)!, args[2]);

export const signStep =
  <R>(run: (...args: [...Parameters<typeof reference.signStep>]) => R) =>
  (...args: UpdateArgs<SignStep>): R =>
    run(part(args, 0)!, args[1], part(args, 1), args[2]);

/** Second moments are positive, so all of the state is. */
function* updates<Step>(steps: readonly (readonly [Step, number])[]): Generator<UpdateArgs<Step>> {
  for (const [step, kept] of steps)
    for (const n of raggedSizes) {
      const all = wave((kept + 1) * n, 1).map((x, i) => (i < n ? x : Math.abs(x)));
      yield [all, wave(n, 2), step, kept];
    }
}

const adamStep = { beta1: 0.9, beta2: 0.999, size: 0.003, rootCorrection: 0.3, eps: 1e-8 };
const sgdStep = { lr: 0.1, direction: 1, weightDecay: 0, momentum: 0.9, dampening: 0, nesterov: false };

export const adamCases = () =>
  updates<AdamStep>([
    [{ ...adamStep, decay: 1e-4, coupled: 0 }, 2],
    [{ ...adamStep, decay: 0, coupled: 0.1 }, 3],
  ]);

export const sgdCases = () =>
  updates<SgdStep>([
    [{ ...sgdStep, first: false }, 0],
    [{ ...sgdStep, first: true, direction: -1, weightDecay: 0.1 }, 1],
    [{ ...sgdStep, first: false, dampening: 0.5 }, 1],
    [{ ...sgdStep, first: false, nesterov: true }, 1],
  ]);

export const lionCases = () => updates<LionStep>([[{ lr: 0.01, decay: 0.001, beta1: 0.9, beta2: 0.99 }, 1]]);

export const signCases = () =>
  updates<SignStep>([
    [{ lr: 0.01, decay: 0.001, momentum: 0.9 }, 0],
    [{ lr: 0.01, decay: 0.001, momentum: 0.9 }, 1],
  ]);

/** A few roundings of numbers of size 1. */
export const updateTolerance = (all: Float32Array): Float64Array => new Float64Array(all.length).fill(4e-7);
