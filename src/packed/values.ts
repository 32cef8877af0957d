/** Numbers between packed layers: float32 arrays with a shape, on the SIMD heap while a packed model runs. */

import { addressOf, displace, memoryIsShared, place, settle, view } from "../../kernels/wasm/heap.ts";
import { pin, release } from "../../kernels/wasm/pins.ts";
import { usesSimd } from "../backend.ts";
import { isFloat32Array } from "../dtype.ts";
import { ShapeError, show } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { shared } from "../state.ts";

/** A row-major array of float32. */
export interface Values {
  readonly data: Float32Array;
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

function block<D extends "float32" | "float64" | "int8">(dtype: D, size: number, bytes: number) {
  if (arena.blocks === null || size === 0 || !usesSimd()) return null;
  // As a block of a tensor, so that a memory that is not shared does not grow under the view.
  const address = place(size * bytes);
  if (address === 0) return null;
  arena.blocks.push(address);
  return view(dtype, address, size);
}

/** `size` floats with any content, until the run ends. */
export const room = (size: number): Float32Array =>
  (size < arena.least ? null : block("float32", size, 4)) ?? new Float32Array(size);
export const doubles = (size: number): Float64Array =>
  (size < arena.least ? null : block("float64", size, 8)) ?? new Float64Array(size);
/** Codes, and the scales that only kernels of codes read: on the heap however few. */
export const codeRoom = (size: number): Int8Array => block("int8", size, 1) ?? new Int8Array(size);
export function bitRoom(size: number): Uint8Array {
  const { buffer, byteOffset, length } = codeRoom(size);
  return new Uint8Array(buffer, byteOffset, length);
}
export const scaleRoom = (size: number): Float32Array => block("float32", size, 4) ?? new Float32Array(size);

/** `size` floats with any content that outlast runs: on the heap, where it has room, until they are collected or given back. */
export function lasting(size: number): Float32Array {
  const address = size < arena.least || !usesSimd() ? 0 : place(size * 4);
  const pinned = address === 0 ? null : pin("float32", address, size);
  if (pinned === null && address !== 0) displace(address);
  return pinned ?? new Float32Array(size);
}

export { release as giveBack };

/** Runs `fn`; what it took from the heap is given back, and its result copied out first where `takeOut` says how. */
export function inArena<R>(fn: () => R, takeOut: (result: R) => R): R {
  if (arena.blocks !== null) return fn();
  // A memory that is not shared grows here, where nobody holds a view.
  if (usesSimd() && !memoryIsShared()) settle();
  const blocks: number[] = [];
  arena.blocks = blocks;
  try {
    return takeOut(fn());
  } finally {
    arena.blocks = null;
    for (const address of blocks) displace(address);
  }
}

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
    : { ...values, data: (values.data as Float32Array).slice() };

export const copied = ({ data, shape }: Values): Values => ({ data: data.slice(), shape });

/** Values of another shape over the same numbers. */
export const reshaped = ({ data }: Values, shape: readonly number[]): Values => ({ data, shape });

/** Throws ShapeError unless there are as many numbers as the shape says, of float32 unless they are ids. */
export function checkValues<V extends Values | Ids>(op: string, values: V, ids = false): V {
  const { data, shape } = values ?? {};
  const fits =
    (ids ? typeof data?.length === "number" : isFloat32Array(data)) &&
    Array.isArray(shape) &&
    shape.every((n) => Number.isInteger(n) && n >= 0) &&
    data.length === sizeOf(shape);
  if (!fits) {
    const got = Array.isArray(shape) ? `${show(shape)} with ${show(data?.length)} numbers` : show(values);
    throw new ShapeError(`${op}: needs { data, shape } of ${ids ? "ids" : "float32"}, got ${got}`);
  }
  return values;
}
