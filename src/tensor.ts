/**
 * Tensor: a shape over a block of numbers, with its place on the tape. Its methods are declared in `tensor-methods.ts` and
 * installed by `ops/all.ts`; this file knows no op.
 */

import {
  type ArrayOf,
  convertArray,
  type DType,
  dtypeOfArray,
  isDType,
  isFloat,
  type TypedArray,
} from "./dtype.ts";
import { DTypeError, GradError, OptionError, readOptions, refuseJson, ShapeError, show } from "./errors.ts";
import { readNested } from "./nested.ts";
import { printed } from "./printing.ts";
import { checkShape, type Shape, sameShape, sizeOf } from "./shape.ts";
import { allocate, Storage } from "./storage.ts";
import type { TapeNode } from "./tape.ts";
import type { DTypeOf, TensorLike, TensorMethods } from "./tensor-methods.ts";

export type { DTypeOf, TensorLike } from "./tensor-methods.ts";

const brand: unique symbol = Symbol.for("bitgrad.tensor") as never;

export interface Tensor<D extends DType = DType> extends TensorMethods<D>, Disposable {}

/**
 * Numbers of one dtype in a shape, contiguous and row-major. Made by `tensor`, `zeros`, `randn`, …; ops are its methods.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * console.log(x.shape, x.dtype); // [2, 2] float32
 * console.log(x.matmul(x).sum({ axis: 1 }).toArray()); // [17, 37]
 * ```
 */
export class Tensor<D extends DType = DType> {
  declare readonly shape: Shape;
  declare readonly dtype: D;
  declare readonly size: number;
  /** The block of numbers, shared with reshapes and detached twins. */
  storage: Storage;
  /** The tape entry that made this tensor; null for a leaf. */
  node: TapeNode | null = null;
  private needsGrad = false;
  private slope: Tensor | null = null;
  /** What `shape`, `dtype` and `size` read. */
  protected readonly sizes: Shape;
  protected readonly type: D;
  protected readonly count: number;

  constructor(storage: Storage, shape: Shape, dtype: D) {
    this.storage = storage;
    this.sizes = shape;
    this.type = dtype;
    this.count = sizeOf(shape);
    storage.users++;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isTensor(value);
  }

  get [brand](): true {
    return true;
  }

  get rank(): number {
    return this.shape.length;
  }

  /**
   * The elements in row-major order: the live array, not a copy. Do not keep it across ops, and do not write to it: nothing
   * sees such a write, also not the check that a backward pass makes of changed values. It may be a view of memory that is
   * shared between threads, which `structuredClone` and `postMessage` hand over whole and uncopied: `data.slice()` is an
   * array of one's own, for them and for keeping.
   */
  get data(): ArrayOf<D> {
    return this.storage.data as ArrayOf<D>;
  }

  get requiresGrad(): boolean {
    return this.needsGrad;
  }

  /** Marks a leaf as something to differentiate with respect to. Throws DTypeError for integers, GradError for non-leaves. */
  set requiresGrad(on: boolean) {
    if (typeof on !== "boolean") {
      throw new OptionError(`requiresGrad: must be true or false, got ${show(on)}`);
    }
    if (on && !isFloat(this.dtype)) {
      throw new DTypeError(`requiresGrad: only float tensors have gradients, got ${this.dtype}`);
    }
    if (this.node !== null && !on) {
      throw new GradError(
        `requiresGrad: cannot be turned off on a computed tensor, got the result of ${this.node.op.name}; use detach()`,
      );
    }
    this.needsGrad = on;
  }

  /** The gradient that `backward` accumulated; null before. Only leaves that require a gradient have one. */
  get grad(): Tensor | null {
    return this.slope;
  }

  /** Throws ShapeError for a tensor of another shape, OptionError for what is neither a tensor nor null. */
  set grad(grad: Tensor | null) {
    if (grad !== null) {
      if (!isTensor(grad)) throw new OptionError(`grad: must be a tensor or null, got ${show(grad)}`);
      if (!isFloat(grad.dtype)) throw new DTypeError(`grad: must be of floats, got ${grad.dtype}`);
      if (!sameShape(grad.shape, this.shape)) {
        throw new ShapeError(
          `grad: must have the shape of its tensor, got ${show(grad.shape)} for ${show(this.shape)}`,
        );
      }
    }
    this.slope = grad;
  }

  /** The value of a tensor with one element. */
  item(): number {
    if (this.size !== 1) throw new ShapeError(`item: needs exactly one element, got ${show(this.shape)}`);
    return this.data[0];
  }

  /** The elements as nested arrays (a plain number for a scalar; booleans for bool). */
  toArray(): NestedResult {
    const { data, shape } = this;
    if (this.size === 0 && shape.reduce((lists, n) => lists * Math.max(n, 1), 1) > 2 ** 27)
      throw new ShapeError(`toArray: too many empty lists, got ${show(shape)}`);
    const value = this.dtype === "bool" ? (i: number) => data[i] !== 0 : (i: number) => data[i];
    const build = (axis: number, offset: number, stride: number): NestedResult => {
      if (axis === shape.length) return value(offset);
      const step = shape[axis] === 0 ? 0 : stride / shape[axis];
      return Array.from({ length: shape[axis] }, (_, i) => build(axis + 1, offset + i * step, step));
    };
    return build(0, 0, this.size);
  }

  /** The elements, of an axis of more than 8 the first and last 3; of the outer axes fewer where they would be over 1000. */
  /** JSON.stringify of a tensor, and of a model or state that holds one, throws OptionError: `save` of bitgrad/io keeps them. */
  toJSON(): never {
    return refuseJson(this);
  }

  toString(): string {
    const { data, shape, dtype } = this;
    return `tensor(${printed(data, shape, dtype)}${this.requiresGrad ? ", requiresGrad" : ""})`;
  }

  [Symbol.for("nodejs.util.inspect.custom") as never](): string {
    return this.toString();
  }

  [Symbol.toPrimitive](hint: string): string | number {
    if (hint !== "string" && this.size === 1) return this.item();
    if (hint !== "number") return this.toString();
    throw new ShapeError(`tensor: operators take no tensors, got ${show(this.shape)}; use add, mul, less, …`);
  }

  /** The same numbers outside the graph: no gradient flows through. Shares memory. */
  detach(): Tensor<D> {
    return new Tensor(this.storage, this.shape, this.dtype);
  }

  /** Gives the memory back now; using the tensor afterwards throws. Reshapes of it stay usable until they are disposed. */
  dispose(): void {
    const { storage } = this;
    if (storage === disposed) return;
    this.storage = disposed;
    if (--storage.users === 0) storage.release("dispose()");
  }

  [Symbol.dispose ?? Symbol.for("Symbol.dispose")](): void {
    this.dispose();
  }
}

/** What a tensor is made with; assigning it says what to do instead. */
function fixed(name: string, advice: string, get: (this: Record<string, unknown>) => unknown): void {
  Object.defineProperty(Tensor.prototype, name, {
    get,
    set(value) {
      throw new OptionError(`${name}: a tensor keeps its own, got ${show(value)}; use ${advice}`);
    },
  });
}
fixed("shape", "reshape", function () {
  return this.sizes;
});
fixed("dtype", "to", function () {
  return this.type;
});
fixed("size", "reshape", function () {
  return this.count;
});

export type NestedResult = number | boolean | NestedResult[];

const disposed = new Storage(new Float32Array(0), "float32");
disposed.release("dispose()");

/**
 * True for tensors of this and of any other copy of the library in the process.
 *
 * @example
 * ```ts
 * import { isTensor, tensor } from "bitgrad";
 *
 * console.log(isTensor(tensor([1])), isTensor([1])); // true false
 * ```
 */
export const isTensor = (value: unknown): value is Tensor =>
  typeof value === "object" && value !== null && (value as { [brand]?: true })[brand] === true;

/** A tensor of zeros, or of anything unless `zeroed`. */
export function empty<D extends DType>(shape: Shape, dtype: D, zeroed = true): Tensor<D> {
  return new Tensor(allocate(dtype, sizeOf(shape), zeroed), shape, dtype);
}

/** A tensor over `array` itself, not a copy. The caller hands the array over. */
export function wrap<D extends DType>(array: ArrayOf<D>, shape: Shape, dtype: D): Tensor<D> {
  return new Tensor(new Storage(array, dtype), shape, dtype);
}

const creationDefaults = {
  dtype: undefined as DType | undefined,
  requiresGrad: false,
  shape: undefined as Shape | undefined,
};

export interface TensorOptions<D extends DType = DType> {
  /** Numbers become float32 unless told otherwise, booleans bool, typed arrays keep their type. */
  dtype?: D;
  requiresGrad?: boolean;
  /** Reads the flat data in this shape. */
  shape?: readonly number[];
}

/**
 * A tensor holding a copy of `data`: a number, nested arrays, a typed array or a tensor.
 * Throws ShapeError for ragged data or a shape that does not fit, DTypeError for values that the dtype cannot hold.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 *
 * console.log(tensor([[1, 2], [3, 4]]).shape); // [2, 2]
 * console.log(tensor(new Int32Array([1, 2, 3, 4]), { shape: [2, 2] }).dtype); // int32
 * ```
 */
export function tensor<D extends DType>(
  data: TensorLike,
  options: TensorOptions<D> & { dtype: D },
): Tensor<NoInfer<D>>;
export function tensor<T extends TensorLike>(
  data: T,
  options?: TensorOptions & { dtype?: undefined },
): Tensor<DTypeOf<T>>;
export function tensor(data: TensorLike, options?: TensorOptions): Tensor;
export function tensor(data: TensorLike, options?: TensorOptions): Tensor {
  const { dtype, requiresGrad, shape } = readOptions(
    "tensor",
    options as TensorOptions | undefined,
    creationDefaults as TensorOptions & typeof creationDefaults,
  );
  if (dtype !== undefined && !isDType(dtype))
    throw new DTypeError(`tensor: unknown dtype, got ${show(dtype)}`);
  const made = make("tensor", data, dtype);
  let result = made;
  if (shape !== undefined) {
    const wanted = checkShape("tensor", shape);
    if (sizeOf(wanted) !== made.size) {
      throw new ShapeError(
        `tensor: ${made.size} values do not fill the shape, got ${show(wanted)} of ${sizeOf(wanted)}`,
      );
    }
    result = new Tensor(made.storage, wanted, made.dtype);
    made.dispose();
  }
  if (requiresGrad) result.requiresGrad = true;
  return result;
}

/** A tensor with a copy of `values`: inside a scope it lies where kernels work in place. */
function holding(values: TypedArray, shape: Shape, dtype: DType): Tensor {
  const t = empty(shape, dtype, false);
  t.data.set(values);
  return t;
}

function make(op: string, data: TensorLike, dtype: DType | undefined): Tensor {
  if (typeof data === "number" || typeof data === "boolean") {
    const type = dtype ?? (typeof data === "boolean" ? "bool" : "float32");
    return wrap(convertArray(op, [data], type), [], type);
  }
  if (isTensor(data)) {
    const type = dtype ?? data.dtype;
    return holding(type === data.dtype ? data.data : convertArray(op, data.data, type), data.shape, type);
  }
  if (ArrayBuffer.isView(data)) {
    const own = dtypeOfArray(data);
    if (own === null) {
      throw new DTypeError(
        `${op}: no dtype for this typed array, got ${data.constructor.name}; convert it, for example with Array.from`,
      );
    }
    const type = dtype ?? own;
    return holding(type === own ? data : convertArray(op, data, type), [data.length], type);
  }
  if (Array.isArray(data)) {
    const { shape, values, array } = readNested(op, data);
    const inner = array && dtypeOfArray(array);
    const type =
      dtype ??
      inner ??
      (values.length > 0 && values.every((v) => typeof v === "boolean") ? "bool" : "float32");
    return holding(convertArray(op, values, type), shape, type);
  }
  throw new OptionError(
    `${op}: data must be a number, nested arrays, a typed array or a tensor, got ${show(data)}`,
  );
}

/** The same where nothing may stand in a tensor's place. */
export const asOptional = (op: string, value: unknown): Tensor | null =>
  value === null || value === undefined ? null : asTensor(op, value);

/** `value` as a tensor; numbers and arrays take `dtype` where one is given. Names `op` when it is neither. */
export function asTensor(op: string, value: unknown, dtype?: DType): Tensor {
  if (isTensor(value)) return value;
  return make(op, asLike(op, value), dtype);
}

/** `value` where ops take it in a tensor's place. Names `op` when they do not. */
export function asLike(op: string, value: unknown): TensorLike {
  const fits =
    isTensor(value) ||
    typeof value === "number" ||
    typeof value === "boolean" ||
    Array.isArray(value) ||
    ArrayBuffer.isView(value);
  if (fits) return value as TensorLike;
  throw new OptionError(`${op}: expected a tensor, got ${show(value)}`);
}
