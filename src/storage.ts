/**
 * Where a tensor's numbers live. Outside a scope they are an ordinary typed array that the engine collects. Inside one they
 * lie on the SIMD heap, where kernels work in place, and are released together at its end, except what is returned, kept
 * or owned. What leaves the last scope moves off the heap, so that nothing has to be freed by hand; what lives long and is
 * used in every step is pinned there.
 */

import { displace, place, view } from "../kernels/wasm/heap.ts";
import { astray, pin as pinBlock, pinnedBytes, release as releasePin } from "../kernels/wasm/pins.ts";
import { warnOfShortage } from "../kernels/wasm/shortage.ts";
import { clear, usesSimd } from "./backend.ts";
import { bytesPerElement, type DType, dtypeOfArray, newArray, type TypedArray } from "./dtype.ts";
import {
  BitgradError,
  isFunction,
  isThenable,
  OptionError,
  readOptions,
  StageError,
  show,
} from "./errors.ts";
import { type Holder, holders, isHolder, type Scope } from "./holders.ts";
import { shared } from "./state.ts";

interface Frame {
  readonly name: string;
  readonly parent: Frame | null;
  /** What it holds, each with its number among all that ever entered a scope. */
  readonly storages: Map<Storage, number>;
  open: boolean;
}

const memoryState = shared("memory", () => ({
  frame: null as Frame | null,
  tensors: 0,
  bytes: 0,
  peak: 0,
  /** How often a storage has entered a scope. */
  entered: 0,
  /** Elements from which a tensor is placed on the heap: engines make arrays of up to 64 bytes quickly. */
  least: 17,
}));

export type { Scope } from "./holders.ts";

/** A block of elements, shared by a tensor and its reshapes. `version` counts writes in place. */
export class Storage {
  readonly dtype: DType;
  version = 0;
  /** Tensors that use this block. */
  users = 0;
  frame: Frame | null = null;
  /** On the heap until it is released or collected. */
  pinned = false;
  /** What it lies off the heap as, for want of room. */
  out: "scoped" | "pinned" | null = null;
  private array: TypedArray | null;
  /** Where the array lies on the heap, and must be freed by hand; 0 for one that is collected. */
  private address: number;
  private readonly size: number;
  readonly bytes: number;
  private releasedBy = "";

  constructor(array: TypedArray, dtype: DType, address = 0) {
    this.array = array;
    this.dtype = dtype;
    this.address = address;
    this.size = array.length;
    this.bytes = array.byteLength;
    const { frame } = memoryState;
    if (frame) enter(this, frame);
  }

  get data(): TypedArray {
    if (this.array === null) throw this.gone();
    // Growing an unshared memory detaches its views.
    if (this.address !== 0 && this.array.length !== this.size) {
      this.array = view(this.dtype, this.address, this.size);
    }
    return this.array;
  }

  private gone(): BitgradError {
    return new BitgradError(
      `tensor: used after its memory was released, got a tensor released by ${this.releasedBy}; return it from the scope or keep() it`,
      "RELEASED",
    );
  }

  /**
   * Writes elements in place and counts the write, one that throws half-way too. Throws OptionError that begins with `op`
   * for what it does not hold.
   */
  write(write: (data: TypedArray) => void, _op: string): void {
    const { data } = this;
    try {
      write(data);
    } finally {
      this.version++;
    }
  }

  /** What keeps numbers of its dtype from being written; null where nothing does. */
  refuses(_values: TypedArray): string | null {
    return null;
  }

  /** A block of its own with the same numbers. What was made of them still knows them as unchanged. */
  copy(): Storage {
    const copy = new Storage(this.data.slice(), this.dtype);
    copy.version = this.version;
    return copy;
  }

  /** Says that it lies off the heap for want of room, or no longer. */
  lack(out: "scoped" | "pinned" | null): void {
    if (this.out) astray(this, this.out, -this.bytes);
    this.out = out;
    if (out) astray(this, out, this.bytes);
  }

  /** Moves the numbers to an ordinary array. */
  leaveHeap(): void {
    if (this.address === 0) return;
    this.array = this.data.slice();
    displace(this.address);
    this.address = 0;
  }

  /**
   * Moves float32 numbers and integers, which kernels read, to a heap whose views stay, or leaves them there, until the
   * storage is released or collected.
   */
  pin(): void {
    if (this.pinned) return;
    if (this.array === null) throw this.gone();
    // Of numbers that lie packed, that of the bytes.
    const dtype = dtypeOfArray(this.array)!;
    if (this.size < memoryState.least || dtype === "float64" || !usesSimd()) {
      this.leaveHeap();
      return;
    }
    const address = this.address || place(this.bytes);
    const array = address === 0 ? null : pinBlock(dtype, address, this.size);
    if (array === null) {
      if (this.address !== 0) this.leaveHeap();
      else if (address !== 0) displace(address);
      this.lack("pinned");
      return;
    }
    if (this.address === 0) array.set(this.array);
    this.array = array;
    this.address = 0;
    this.pinned = true;
  }

  release(by: string): void {
    if (this.array === null) return;
    leave(this);
    if (this.pinned) releasePin(this.array);
    if (this.address !== 0) displace(this.address);
    this.address = 0;
    this.pinned = false;
    this.array = null;
    this.releasedBy = by;
  }
}

function enter(storage: Storage, frame: Frame): void {
  storage.frame = frame;
  frame.storages.set(storage, memoryState.entered++);
  memoryState.tensors++;
  memoryState.bytes += storage.bytes;
  memoryState.peak = Math.max(memoryState.peak, memoryState.bytes);
}

function leave(storage: Storage): void {
  storage.lack(null);
  if (storage.frame === null) return;
  storage.frame.storages.delete(storage);
  storage.frame = null;
  memoryState.tensors--;
  memoryState.bytes -= storage.bytes;
}

/** A block: on the heap inside a scope, while its budget lasts, else an ordinary array. Unless `zeroed` it holds anything. */
export function allocate<D extends DType>(dtype: D, size: number, zeroed = true): Storage {
  const places = memoryState.frame !== null && size >= memoryState.least && usesSimd();
  const address = places ? place(size * bytesPerElement(dtype)) : 0;
  const array = address === 0 ? newArray(dtype, size) : view(dtype, address, size);
  if (address !== 0 && zeroed) clear(array);
  const storage = new Storage(array, dtype, address);
  if (places && address === 0) storage.lack("scoped");
  return storage;
}

/** Marks this moment: what enters the current scope from here on can be released before it ends. */
export function mark(): (storage: Storage) => void {
  const { frame, entered } = memoryState;
  return (storage) => {
    // What was kept, owned or returned meanwhile has left the scope.
    if ((frame?.storages.get(storage) ?? -1) >= entered)
      storage.release("the backward pass, which had no more use for it");
  };
}

/** Takes a tensor out of every scope, off the heap: its owner outlives them. Returns it. */
export function own<T extends Holder>(tensor: T): T {
  leave(tensor.storage);
  tensor.storage.leaveHeap();
  return tensor;
}

/**
 * The same for what kernels read in every step, such as a parameter: it lies on the heap where there is room, until it is
 * disposed of or collected. What is replaced in every step must be disposed of, since the engine does not see its size.
 */
export function pin<T extends Holder>(tensor: T): T {
  leave(tensor.storage);
  tensor.storage.pin();
  return tensor;
}

/** The same for a plain array: its twin on the heap, or itself where there is no room. */
export function pinArray<A extends TypedArray>(array: A, dtype: DType): A {
  const storage = new Storage(array, dtype);
  leave(storage);
  storage.pin();
  return storage.data as A;
}

/**
 * Moves a tensor from the current scope to the one around it, or out of all scopes at the outermost. Returns it.
 *
 * @example
 * ```ts
 * import { keep, ones, scope, zeros } from "bitgrad";
 *
 * let last = zeros([2]);
 * scope(() => {
 *   last = keep(ones([2]).mul(3));
 * });
 * console.log(last.toArray()); // [3, 3]
 * ```
 */
export function keep<T extends Holder>(tensor: T): T {
  if (!isHolder(tensor)) throw new OptionError(`keep: expected a tensor, got ${show(tensor)}`);
  const { storage } = tensor;
  const parent = openFrom(storage.frame?.parent ?? null);
  leave(storage);
  if (parent) enter(storage, parent);
  else storage.leaveHeap();
  return tensor;
}

/** The innermost scope that is still open, from `frame` outwards. */
function openFrom(frame: Frame | null): Frame | null {
  let next = frame;
  while (next && !next.open) next = next.parent;
  return next;
}

function open(name: string): Frame {
  const frame: Frame = { name, parent: memoryState.frame, storages: new Map(), open: true };
  memoryState.frame = frame;
  return frame;
}

function close(frame: Frame, survivors: unknown): void {
  if (!frame.open) return;
  const found = holders(survivors);
  frame.open = false;
  for (const tensor of found) if (tensor.storage.frame === frame) keep(tensor);
  for (const storage of frame.storages.keys()) storage.release(`the end of scope "${frame.name}"`);
  memoryState.frame = openFrom(memoryState.frame);
  if (memoryState.frame === null) warnOfShortage();
}

/** Closes a scope whose callback threw, and those that the callback opened and could not close. */
function abandon(frame: Frame): void {
  const left: Frame[] = [];
  let next = memoryState.frame;
  for (; next && next !== frame; next = next.parent) left.push(next);
  if (next === frame) for (const inner of left) close(inner, null);
  close(frame, null);
}

const disposeSymbol: typeof Symbol.dispose =
  Symbol.dispose ?? (Symbol.for("Symbol.dispose") as typeof Symbol.dispose);

/**
 * Runs `fn` and releases every tensor made inside it, except those in what it returns (tensors, arrays, maps, sets and objects of
 * them), those given to `keep`, and what longer-lived objects own. Without `fn`, opens a scope for `using s = scope()`; one
 * that `fn` opened so and left open ends with it where it throws.
 * Throws StageError for an async callback, whose tensors would be released before it ends.
 *
 * @example
 * ```ts
 * import { memory, ones, scope } from "bitgrad";
 *
 * const total = scope(() => ones([100]).mul(2).sum());
 * console.log(total.item(), memory().tensors); // 200 0
 * ```
 */
export function scope(options?: { name?: string }): Scope;
export function scope<T>(fn: () => T, options?: { name?: string }): T;
export function scope<T>(first?: (() => T) | { name?: string }, options?: { name?: string }): T | Scope {
  if (typeof first !== "function") {
    if (options !== undefined) throw new OptionError(`scope: expected a function, got ${show(first)}`);
    const frame = open(readOptions("scope", first, { name: "scope" }).name);
    const end = () => close(frame, null);
    return { keep, dispose: end, [disposeSymbol]: end } as Scope;
  }
  if (!isFunction(first)) throw new OptionError(`scope: expected a function, got ${show(first)}`);
  const frame = open(readOptions("scope", options, { name: (first as () => T).name || "scope" }).name);
  let result: T | undefined;
  try {
    result = (first as () => T)();
    if (isThenable(result)) {
      throw new StageError(
        "scope: the callback must be synchronous, got a promise; use `using s = scope()` around the awaits",
      );
    }
    close(frame, result);
    return result as T;
  } catch (error) {
    abandon(frame);
    throw error;
  }
}

/**
 * What open scopes hold: tensors, their bytes, and the most bytes ever held; and in `pinned` the bytes of what lies on the heap
 * for longer: parameters, buffers, the state of optimizers. Other tensors outside scopes belong to the JavaScript engine, which
 * collects them, and are not counted.
 *
 * @example
 * ```ts
 * import { memory, scope, zeros } from "bitgrad";
 *
 * scope(() => {
 *   const x = zeros([1000]);
 *   console.log(x.size, memory().bytes >= 4000); // 1000 true
 * });
 * ```
 */
export function memory(): { tensors: number; bytes: number; peak: number; pinned: number } {
  const { tensors, bytes, peak } = memoryState;
  return { tensors, bytes, peak, pinned: pinnedBytes() };
}
