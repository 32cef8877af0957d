/** What an update rule is: the arithmetic of one step on one parameter, over flat arrays. */

import type { FloatArray, TypedArray } from "../dtype.ts";
import type { Rng } from "../random/rng.ts";
import type { Shape } from "../shape.ts";

/**
 * What a rule remembers of one parameter: numbers, and arrays of any length and dtype. It is saved and restored as it is.
 * Lengths and dtypes are those that `init` gives; numbers may be infinite, but not NaN.
 */
export type RuleState = { [slot: string]: TypedArray | number };

/** What a rule may also know of a parameter when it makes its state. */
export interface RuleContext {
  readonly shape: Shape;
  /** For random numbers of the state: the optimizer's generator. */
  readonly rng: Rng;
}

/**
 * A rule knows neither parameters nor tensors. `update` writes `weight` and `state` in place and leaves `grad` alone; it
 * sees each parameter by itself, so that the order of parameters does not matter. Rules that overwrite ±1 weights write the
 * new signs to `weight`; rules that need no learning rate leave `lr` out of their options, and the argument is then the
 * schedule's multiplier alone, 1 without one.
 */
export interface UpdateRule<S extends RuleState = RuleState> {
  readonly name: string;
  readonly options: { readonly lr?: number };
  /** The state before the first step of a parameter of `size` elements, whose value is `weight`. */
  init(size: number, weight?: FloatArray, context?: RuleContext): S;
  update(weight: FloatArray, grad: FloatArray, state: S, lr: number): void;
  /**
   * The rule with other numbers in its options, checked as they were when it was made; it goes on with the states of this
   * one: `with: (changes) => bop({ ...options, ...changes })`. Where it is there the optimizer's `hyper` can be written.
   */
  with?(changes: object): UpdateRule<S>;
}

/** Zeros in the precision of `weight`, float32 where there is none. */
export const zeros = (size: number, weight?: FloatArray): FloatArray =>
  weight instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
