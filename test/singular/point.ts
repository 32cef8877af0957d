/** What an entry of the tables of singular points is. */

import type * as distill from "bitgrad/distill";
import type * as nn from "bitgrad/nn";
import type { Tensor } from "../../src/tensor.ts";

export type Nested = number | null | readonly Nested[];
export type Flat = readonly number[];

export interface More {
  readonly options?: object;
  /** Inputs without a gradient, by position. */
  readonly constant?: readonly number[];
  /** Inputs that are int32, by position. */
  readonly integer?: readonly number[];
  /** What is computed, where the name alone does not tell. */
  readonly run?: (...inputs: Tensor[]) => Tensor;
  /** What PyTorch gives instead, and why ours is another. */
  readonly torch?: string;
}

export interface Point extends More {
  readonly inputs: readonly Nested[];
  readonly value: Flat;
  /** For each input that is not constant, the gradient of Σ (i + 1)·value[i]. */
  readonly first: readonly Flat[];
  /** The same, of Σ (k + 1)·(j + 1)·first[k][j]. */
  readonly second: readonly Flat[];
}

/** The points of one function, or why it has none. */
export type Points = readonly Point[] | string;

export const at = (
  inputs: readonly Nested[],
  value: Flat,
  first: readonly Flat[],
  second: readonly Flat[],
  more: More = {},
): Point => ({ inputs, value, first, second, ...more });

type Modules = typeof nn & typeof distill;

/** The functions of bitgrad/nn and bitgrad/distill that compute a tensor. */
export type LossName = Exclude<TensorFunction, "blank">;
type TensorFunction = {
  [K in keyof Modules]: Modules[K] extends (...args: never[]) => infer R
    ? unknown extends R
      ? never
      : R extends Tensor
        ? K
        : never
    : never;
}[keyof Modules];
