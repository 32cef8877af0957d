/** Parameter: a trainable tensor, the transforms it is read through, and the only ways to write it. */

import { undoing } from "../changes.ts";
import { type FloatArray, isFloat } from "../dtype.ts";
import {
  DTypeError,
  isFunction,
  OptionError,
  readOptions,
  ShapeError,
  show,
  synchronous,
} from "../errors.ts";
import type { PackedWeight } from "../packed/file/weight.ts";
import { sameShape } from "../shape.ts";
import { own, pin, scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { hasData } from "./blank.ts";
import { checkStore, packInto, type Store, stored } from "./store.ts";

/** What a parameter's value passes through before a layer uses it: a mask, a quantizer, a re-parametrization. */
export interface Transform {
  /** The transformed weight, of the same shape; differentiable. */
  apply(weight: Tensor): Tensor;
  /**
   * Of a mask: what it keeps, 0 or false where it makes a weight 0, in a shape that broadcasts to the weight's. null
   * where it is no mask, though it may give a 0. Left out, what it makes 0 of numbers that are not 0 counts as masked.
   */
  readonly mask?: Tensor | null;
  /** Told of the parameter that it is on, before it is applied; throws where it cannot serve that, such as a second one. */
  attach?(parameter: Parameter, path?: string): void;
  /** Bits an element after it, for transforms that quantize. */
  readonly bits?: number;
  /** What a quantizer that is frozen stores. */
  pack?(): PackedWeight;
}

export interface ParameterOptions {
  /** How the numbers lie at rest, such as `signs`, one bit each; null for floats. */
  store: Store | null;
}

const brand = Symbol.for("bitgrad.parameter");

/**
 * A trainable leaf of a model and the transforms that layers read it through.
 *
 * @example
 * ```ts
 * import { type Tensor, tensor } from "bitgrad";
 * import { namedParameters, Parameter } from "bitgrad/nn";
 *
 * class Scale {
 *   factor = new Parameter(tensor([1, 2]));
 *   forward(x: Tensor): Tensor {
 *     return x.mul(this.factor.effective());
 *   }
 * }
 * console.log(new Scale().forward(tensor([5, 5])).toArray()); // [5, 10]
 * console.log(namedParameters(new Scale()).map(([name]) => name)); // ["factor"]
 * ```
 */
export class Parameter {
  /**
   * The latent value: a leaf that requires a gradient while the parameter is trainable. Of a parameter with a store, its `data`
   * are floats that are made anew whenever they are asked for, and not kept.
   */
  readonly value: Tensor;
  /** How the numbers lie at rest; null for floats. */
  readonly store: Store | null;
  /** Counts the values of another shape that `replace` gave it: what an optimizer remembers is of one of them. */
  readonly generation: number = 0;
  /** Applied to the value in order by `effective()`. */
  readonly transforms: Transform[] = [];

  /**
   * Takes over `value`, which must be a float tensor: DTypeError otherwise. With a store the numbers are packed:
   * `new Parameter(value, { store: signs })` takes one bit a number, and OptionError where one is neither 1 nor −1.
   */
  constructor(value: Tensor, options?: Partial<ParameterOptions>) {
    const { store } = readOptions<ParameterOptions>("Parameter", options, { store: null });
    this.store = checkStore("Parameter", store);
    this.value = leaf("Parameter", value, store);
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
    for (const transform of transformsOf("effective", this)) {
      transform.attach?.(this);
      weight = transformed("effective", transform, weight);
    }
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
    this.value.storage.write((data) => data.set(next.data), "assign");
  }

  /**
   * Writes the value's elements in place and counts the write: the way optimizers step. With a store `write` is given the
   * numbers unpacked, and they are packed again; where it leaves what the store does not hold, nothing is written and
   * OptionError says so, beginning with `op`. Throws StageError for an async `write`.
   */
  update(write: (data: FloatArray) => void, op = "update"): void {
    if (!isFunction(write)) throw new OptionError(`update: expected a function, got ${show(write)}`);
    this.value.storage.write((data) => {
      synchronous("update", write(data as FloatArray) as unknown, "the function");
    }, op);
  }

  /**
   * Takes over another value of its dtype, of any shape, in the place of this one, and another store where one is given:
   * layers that share the parameter and rows of optimizers keep it. The gradient is dropped, and so is what an optimizer
   * remembers of a value of another shape. Throws what a transform throws that does not take the new value, and ShapeError
   * where it gives another shape; the parameter is then as it was.
   */
  replace(value: Tensor, options?: Partial<ParameterOptions>): void {
    const { store } = readOptions<ParameterOptions>("replace", options, { store: this.store });
    // Null is the store of floats, so that it cannot be told from the default by the reader.
    const next = options?.store === null ? null : checkStore("replace", store);
    const before = { value: this.value, store: this.store };
    const made = leaf("replace", value, next);
    if (made.dtype !== before.value.dtype) {
      throw new DTypeError(`replace: the value must stay ${before.value.dtype}, got ${made.dtype}`);
    }
    made.requiresGrad = this.trainable;
    Object.assign(this, { value: made, store: next });
    try {
      if (this.transforms.length > 0) this.checkTransforms();
    } catch (error) {
      Object.assign(this, before);
      throw error;
    }
    if (!sameShape(made.shape, before.value.shape)) Object.assign(this, { generation: this.generation + 1 });
    // Graphs of the old value refuse to run backward, and what was made of it is made anew.
    made.storage.version = Math.max(made.storage.version, before.value.storage.version) + 1;
    before.value.storage.version++;
  }

  private checkTransforms(): void {
    undoing(() => {
      const { shape } = noGrad(() => scope(() => this.effective()));
      if (sameShape(shape, this.shape)) return;
      throw new ShapeError(
        `replace: the transforms must keep the shape, got ${show(shape)} for ${show(this.shape)}; take them off first`,
      );
    });
  }
}

/** What a parameter is read through. Throws OptionError where it is no list, or something in it no transform. */
export function transformsOf(
  op: string,
  { transforms }: { readonly transforms: unknown },
): readonly Transform[] {
  if (!Array.isArray(transforms))
    throw new OptionError(`${op}: transforms must be a list, got ${show(transforms)}`);
  const list: readonly (Partial<Transform> | null | undefined)[] = transforms;
  const odd = list.findIndex((transform) => typeof transform?.apply !== "function");
  if (odd >= 0)
    throw new OptionError(`${op}: a transform needs an apply function, got ${show(list[odd])} at ${odd}`);
  return list as readonly Transform[];
}

/** What a transform makes of a weight. Throws OptionError where that is no tensor. */
export function transformed(op: string, transform: Transform, weight: Tensor): Tensor {
  const made: unknown = synchronous(op, transform.apply(weight), "a transform");
  if (isTensor(made)) return made;
  throw new OptionError(`${op}: a transform must give a tensor, got ${show(made)}`);
}

/** A leaf over `value` itself, or over its numbers as `store` packs them. */
function leaf(op: string, value: Tensor, store: Store | null): Tensor {
  if (!isTensor(value)) throw new DTypeError(`${op}: needs a float tensor, got ${show(value)}`);
  if (!isFloat(value.dtype)) throw new DTypeError(`${op}: needs a float tensor, got ${value.dtype}`);
  const made =
    store && hasData(value)
      ? packInto(op, value, store)
      : stored(value)
        ? wrap(value.data, value.shape, value.dtype)
        : value.detach();
  made.requiresGrad = true;
  return pin(made);
}

/**
 * True for parameters of this and of any other copy of the library in the process.
 *
 * @example
 * ```ts
 * import { isParameter, Linear } from "bitgrad/nn";
 *
 * const { weight } = new Linear(4, 2);
 * console.log(isParameter(weight), isParameter(weight.value)); // true false
 * ```
 */
export const isParameter = (value: unknown): value is Parameter =>
  typeof value === "object" && value !== null && (value as { [brand]?: true })[brand] === true;
