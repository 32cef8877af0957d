/** Layer: anything with a `forward`. There is no base class; models are plain classes whose properties are walked. */

import type { Tensor } from "../tensor.ts";
import type { PackedFields, Packer } from "./packing.ts";

export interface Layer {
  forward(x: Tensor, ...rest: never[]): unknown;
  /** Switched by `train` and `evaluate` on layers that act differently in the two. */
  training?: boolean;
  /** What the layer is, for predicates: "norm" for normalisation layers, "embedding" for tables of rows. */
  readonly kind?: string;
  /** What the layer's twin for inference on typed arrays is made of, for `pack` of bitgrad/quant. */
  toPacked?(packer: Packer): PackedFields;
}

/**
 * True for objects with a `forward` method.
 *
 * @example
 * ```ts
 * import { isLayer, Linear } from "bitgrad/nn";
 *
 * console.log(isLayer(new Linear(4, 2)), isLayer({ forward: 1 })); // true false
 * ```
 */
export const isLayer = (value: unknown): value is Layer =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as { forward?: unknown }).forward === "function";
