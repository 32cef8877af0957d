/** Numbers between packed layers: float32 arrays with a shape, on the SIMD heap while a packed model runs. */

import { addressOf, displace, memoryIsShared, place, settle, view } from "../../kernels/wasm/heap.ts";
import { pin, release } from "../../kernels/wasm/pins.ts";
import { anyNonFinite, usesSimd } from "../backend.ts";
import { type ArrayOf, isFloat32Array, newArray } from "../dtype.ts";
import { readOptions, ShapeError, show } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { shared } from "../state.ts";

/** A row-major array of float32, or what stands for it where another than the CPU computes. */
export interface Values<D = Float32Array> {
  readonly data: D;
  readonly shape: readonly number[];
}

/** Integers, or flags of 0 and 1, with a shape. */
export interface Ids {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/**
 * The blocks of the run that is going on, or null. Fewer floats than `least` lie in an ordinary array, as in a scope of tensors,
 * so that the same kernels run.
 */
const arena = shared("packed.arena", () => ({ blocks: null as number[] | null, least: 64 }));

/** What the run may take, and what is left of it; a layer that runs outside of a model may take anything. */
const left = shared("packed.budget", () => ({ budget: Infinity, numbers: Infinity, products: Infinity }));

/** What a run may take that reads so many numbers: see `PackedCall.budget`. */
export const budgetOf = (inputs: number): number =>
  Math.max(2 ** 24, Math.min(2 ** 16 * inputs, 2 ** 30), 2 ** 12 * inputs);

/** Throws ShapeError unless the run may still make so many numbers. */
export function afford(numbers: number): void {
  if (!(numbers <= left.numbers)) {
    throw new ShapeError(
      `forward: the run must keep to its budget of numbers, got ${numbers} of ${left.numbers} left of ${left.budget}; raise the option budget`,
    );
  }
}

/** Takes so many products from what the run may compute, 1024 for each number; throws ShapeError for more. */
export function work(products: number): void {
  left.products -= products;
  if (!(left.products >= 0)) {
    throw new ShapeError(
      `forward: the run must keep to 1024 products for each number of its budget, got ${products} more at ${left.budget}; raise the option budget`,
    );
  }
}

const sizes = { float32: 4, float64: 8, int8: 1 } as const;

/** Takes so many numbers from what the run may make; throws ShapeError for more. */
export function take(numbers: number): void {
  afford(numbers);
  left.numbers -= numbers;
}

function block<D extends keyof typeof sizes>(dtype: D, size: number, least = 1): ArrayOf<D> {
  const bytes = size * sizes[dtype];
  take(bytes / 4);
  if (arena.blocks === null || size < least || bytes >= 2 ** 32 || !usesSimd()) return newArray(dtype, size);
  // As a block of a tensor, so that a memory that is not shared does not grow under the view.
  const address = place(bytes);
  if (address === 0) return newArray(dtype, size);
  arena.blocks.push(address);
  return view(dtype, address, size);
}

/** `size` floats with any content, until the run ends; throws ShapeError beyond the run's budget. */
export const room = (size: number): Float32Array => block("float32", size, arena.least);
export const doubles = (size: number): Float64Array => block("float64", size, arena.least);
/** Codes, and the scales that only kernels of codes read: on the heap however few. */
export const codeRoom = (size: number): Int8Array => block("int8", size);
export function bitRoom(size: number): Uint8Array {
  const { buffer, byteOffset, length } = codeRoom(size);
  return new Uint8Array(buffer, byteOffset, length);
}
export const scaleRoom = (size: number): Float32Array => block("float32", size);

/** `size` floats with any content that outlast runs: on the heap, where it has room, until they are collected or given back. */
export function lasting(size: number): Float32Array {
  const address = size < arena.least || !usesSimd() ? 0 : place(size * 4);
  const pinned = address === 0 ? null : pin("float32", address, size);
  if (pinned === null && address !== 0) displace(address);
  return pinned ?? new Float32Array(size);
}

export { release as giveBack };

/**
 * Runs `reference`, which sums in double, where a kernel made numbers that are not finite, or are `odd` otherwise: its
 * float32 sums may have overflowed on the way, and what comes of extreme numbers must not depend on the backend. Kernels of
 * `backend.ts` mend this where all that they read is finite; here one sample may have overflowed before, beside others.
 */
export function mended(
  out: Float32Array,
  reference: () => void,
  odd: () => boolean = () => false,
): Float32Array {
  if (usesSimd() && (anyNonFinite(out, out.length) || odd())) reference();
  return out;
}

/**
 * Runs `fn`, which may make `budget` numbers of four bytes; what it took from the heap is given back, and its result copied out
 * first where `takeOut` says how. A run within another has blocks of its own, and takes from the budgets of both.
 */
export function inArena<R>(fn: () => R, takeOut: (result: R) => R, budget = Infinity): R {
  const outer = arena.blocks;
  // A memory that is not shared grows here, where nobody holds a view.
  if (outer === null && usesSimd() && !memoryIsShared()) settle();
  const blocks: number[] = [];
  arena.blocks = blocks;
  try {
    return within(budget, () => takeOut(fn()));
  } finally {
    arena.blocks = outer;
    for (const address of blocks) displace(address);
  }
}

/** Runs `fn`, which may make `budget` numbers of four bytes, and takes them from the budget of the run around it too. */
export function within<R>(budget: number, fn: () => R): R {
  const outer = { ...left };
  const numbers = Math.min(budget, outer.numbers);
  const products = Math.min(budget * 1024, outer.products);
  Object.assign(left, { budget: numbers, numbers, products });
  try {
    return fn();
  } finally {
    // A run that no other is around takes from no budget but its own.
    const rest = (of: number, taken: number) => (of === Infinity ? Infinity : of - taken);
    Object.assign(left, {
      budget: outer.budget,
      numbers: rest(outer.numbers, numbers - left.numbers),
      products: rest(outer.products, products - left.products),
    });
  }
}

/** What computes while a run goes on; null for the CPU. */
export const running = shared("packed.executor", () => ({
  executor: null as { holds(data: unknown): boolean } | null,
}));

/** The same values on the heap while a model runs, so that no layer has to bring them there. */
export function inRoom(values: Values): Values {
  const { data, shape } = values;
  if (addressOf(data) !== 0) return values;
  const held = room(data.length);
  held.set(data);
  return { data: held, shape };
}

/** The same values on no memory that may grow before they are read: views of one that is not shared do not outlast its growth. */
export const steady = <V extends Values | Ids>(values: V): V =>
  memoryIsShared() || !ArrayBuffer.isView(values.data)
    ? values
    : ({ data: (values.data as Float32Array).slice(), shape: values.shape } as unknown as V);

export const copied = ({ data, shape }: Values): Values => ({ data: data.slice(), shape });

/** Values of another shape over the same numbers. */
export const reshaped = ({ data }: Values, shape: readonly number[]): Values => ({ data, shape });

const isNumbers = (data: unknown): boolean => isFloat32Array(data) || running.executor?.holds(data) === true;

/** Throws ShapeError unless there are as many numbers as the shape says, of float32 unless they are ids. */
export function checkValues<V extends Values | Ids>(op: string, values: V, ids = false): V {
  const { data, shape } = values ?? {};
  const fits =
    (ids ? typeof data === "object" && typeof data?.length === "number" : isNumbers(data)) &&
    Array.isArray(shape) &&
    shape.every((n) => Number.isInteger(n) && n >= 0) &&
    data.length === sizeOf(shape);
  if (!fits) {
    const type = ids || isFloat32Array(data) ? "" : ` in ${show(data)}`;
    const got =
      Array.isArray(shape) && data ? `${show(shape)} with ${show(data.length)} numbers${type}` : show(values);
    throw new ShapeError(`${op}: needs { data, shape } of ${ids ? "ids" : "float32"}, got ${got}`);
  }
  return values;
}

/**
 * What a layer is told beside x, by its `static options` (see PackedKind) and those in `more`. Throws OptionError for
 * options that are none, ShapeError for arrays that are none.
 */
export function readCall<C extends object>(
  op: string,
  call: C | undefined,
  options: Readonly<Record<string, unknown>>,
  more: object = {},
): Required<C> {
  const arrays = Object.entries(options).filter(([, of]) => of === "ids" || of === "values");
  const nulls = Object.fromEntries(arrays.map(([name]) => [name, null]));
  const told = readOptions(op, call, { ...options, ...nulls, ...more } as unknown as Required<C>);
  for (const [name, of] of arrays) {
    const array = (told as Record<string, unknown>)[name];
    if (array !== null) checkValues(`${op}: ${name}`, array as Values | Ids, of === "ids");
  }
  return told;
}
