/** Parameter: a trainable tensor, the transforms it is read through, and the only ways to write it. */

import { type FloatArray, isFloat } from "../dtype.ts";
import { DTypeError, isFunction, OptionError, ShapeError, show } from "../errors.ts";
import type { PackedWeight } from "../packed/file/weight.ts";
import { sameShape } from "../shape.ts";
import { own, pin } from "../storage.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";

/** What a parameter's value passes through before a layer uses it: a mask, a quantizer, a re-parametrization. */
export interface Transform {
  /** The transformed weight, of the same shape; differentiable. */
  apply(weight: Tensor): Tensor;
  /** Bits an element after it, for transforms that quantize. */
  readonly bits?: number;
  /** What a quantizer that is frozen stores. */
  pack?(): PackedWeight;
}

const brand = Symbol.for("bitgrad.parameter");

/** A trainable leaf of a model and the transforms that layers read it through. */
export class Parameter {
  /** The latent value: a leaf that requires a gradient while the parameter is trainable. */
  readonly value: Tensor;
  /** Applied to the value in order by `effective()`. */
  readonly transforms: Transform[] = [];

  /** Takes over `value`, which must be a float tensor. Throws DTypeError otherwise. */
  constructor(value: Tensor) {
    if (!isTensor(value)) throw new DTypeError(`Parameter: needs a float tensor, got ${show(value)}`);
    if (!isFloat(value.dtype)) throw new DTypeError(`Parameter: needs a float tensor, got ${value.dtype}`);
    this.value = pin(value.detach());
    this.value.requiresGrad = true;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isParameter(value);
  }

  get [brand](): true {
    return true;
  }

  get shape(): readonly number[] {
    return this.value.shape;
  }

  get size(): number {
    return this.value.size;
  }

  get grad(): Tensor | null {
    return this.value.grad;
  }

  set grad(grad: Tensor | null) {
    this.value.grad = isTensor(grad) ? own(grad) : grad;
  }

  /** Whether backward gives it a gradient. */
  get trainable(): boolean {
    return this.value.requiresGrad;
  }

  set trainable(on: boolean) {
    this.value.requiresGrad = on;
  }

  /** Counts the writes; a graph recorded before a write refuses to run backward. */
  get version(): number {
    return this.value.storage.version;
  }

  /** The value as layers use it: every transform applied, in order. */
  effective(): Tensor {
    let weight = this.value;
    for (const transform of this.transforms) weight = transform.apply(weight);
    return weight;
  }

  /** Overwrites the value. Throws ShapeError unless the shapes are equal. */
  assign(source: TensorLike): void {
    const next = asTensor("assign", source, this.value.dtype);
    if (!sameShape(next.shape, this.value.shape)) {
      throw new ShapeError(
        `assign: shapes differ, got ${show(next.shape)} for a parameter of ${show(this.value.shape)}`,
      );
    }
    this.update((data) => data.set(next.data));
  }

  /** Writes the value's elements in place and counts the write: the way optimizers step. */
  update(write: (data: FloatArray) => void): void {
    if (!isFunction(write)) throw new OptionError(`update: expected a function, got ${show(write)}`);
    write(this.value.data as FloatArray);
    this.value.storage.version++;
  }
}

/** True for parameters of this and of any other copy of the library in the process. */
export const isParameter = (value: unknown): value is Parameter =>
  typeof value === "object" && value !== null && (value as { [brand]?: true })[brand] === true;
