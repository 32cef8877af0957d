/**
 * The SIMD heap: one WebAssembly memory that every kernel reads and writes in place, and the allocator of its blocks.
 *
 * The memory is shared from the start where the platform allows, so that growing it detaches no view. Elsewhere growing
 * detaches every view, so that a memory with tensors in it grows only between ops (`settle`): until then allocations fail
 * as on an exhausted heap, and `view` derives views anew. Nothing is made before the first allocation.
 */

import type { ArrayOf, DType, TypedArray } from "../../src/dtype.ts";
import { BackendError } from "../../src/errors.ts";
import { shared } from "../../src/state.ts";
import { blocks, extend, giveBlock, sizeAt, startBlocks, takeBlock } from "./blocks.ts";
import { mostBytes, reserveMemory, usualBudget } from "./memory.ts";

const pageBytes = 65536;
export const smallBytes = 8192;

interface Heap {
  memory: WebAssembly.Memory | null;
  /** The one that it has now: asking the memory or a view for it takes several times as long. */
  buffer: WebAssembly.Memory["buffer"] | null;
  isShared: boolean;
  /** Why it is not shared, or null. */
  reason: string | null;
  floats: Float32Array;
  /** Every buffer object the memory has had: growing a shared memory makes a new one, and the old one stays valid. */
  buffers: WeakSet<ArrayBufferLike>;
  views: Map<number, TypedArray>;
  bytes: number;
  peak: number;
  budget: number;
  /** Bytes of what was to lie here and lies in ordinary arrays: for a scope, and for longer. */
  outside: { scoped: number; pinned: number };
  /** The budget that all would have fitted into when the most was outside of it; 0 where nothing ever was. */
  wanted: number;
  /** What it would have spanned had the last growth been allowed that the budget refused. */
  refused: number;
  scratch: number;
  scratchBytes: number;
  small: number;
  /** Blocks of tensors, whose views others hold. */
  tensors: number;
  /** Bytes that an unshared memory is to grow by between two ops: for what lasts, and for kernels whatever the budget. */
  lacking: number;
  needed: number;
  /** Whether `growing` runs an op that begins anew when the memory has grown. */
  waits: boolean;
}

const heap = /* @__PURE__ */ shared<Heap>("heap", () => ({
  memory: null,
  buffer: null,
  isShared: false,
  reason: null,
  floats: new Float32Array(0),
  buffers: new WeakSet(),
  views: new Map(),
  bytes: 0,
  peak: 0,
  budget: usualBudget(),
  outside: { scoped: 0, pinned: 0 },
  wanted: 0,
  refused: 0,
  scratch: 0,
  scratchBytes: 0,
  small: 0,
  tensors: 0,
  lacking: 0,
  needed: 0,
  waits: false,
}));

/** The memory every kernel imports as env.memory, made on first use. */
export function heapMemory(): WebAssembly.Memory {
  if (heap.memory === null) {
    Object.assign(heap, reserveMemory());
    derive();
    startBlocks(blocks.words);
    extend(heap.memory!.buffer.byteLength);
    heap.small = takeBlock(smallBytes);
  }
  return heap.memory!;
}

export function memoryIsShared(): boolean {
  heapMemory();
  return heap.isShared;
}

/** Why the memory is not shared, or null. */
export const unsharedReason = (): string | null => heap.reason;

function derive(): void {
  const { buffer } = heap.memory!;
  blocks.words = new Uint32Array(buffer);
  heap.floats = new Float32Array(buffer);
  heap.buffer = buffer;
  heap.buffers.add(buffer);
  if (!heap.isShared) heap.views.clear();
}

/**
 * The address of `bytes` bytes with any content, a multiple of 64, or 0 where the budget or the platform is exhausted: for
 * what lasts.
 */
export const alloc = (bytes: number): number => take(bytes, true);

/**
 * The same for what a kernel needs while it runs, or 0 where the platform has no more. Which kernel runs must not depend on
 * the budget, so this may pass it.
 */
export const work = (bytes: number): number => take(bytes, false);

function take(bytes: number, lasts: boolean): number {
  heapMemory();
  // Blocks say their sizes in 32 bits.
  if (!(bytes >= 0 && bytes <= mostBytes)) return 0;
  const address = takeBlock(bytes) || (grow(bytes, lasts) ? takeBlock(bytes) : 0);
  if (address === 0) return 0;
  heap.bytes += sizeAt(address);
  heap.peak = Math.max(heap.peak, heap.bytes);
  return address;
}

/** A block for a tensor, as `alloc`; `displace` gives it back. Not for kernels, whose scratch may go for it. */
export function place(bytes: number): number {
  let address = alloc(bytes);
  if (address === 0 && heap.scratch !== 0) {
    free(heap.scratch);
    heap.scratch = 0;
    heap.scratchBytes = 0;
    address = alloc(bytes);
  }
  if (address !== 0) heap.tensors++;
  return address;
}

export function displace(address: number): void {
  free(address);
  heap.tensors--;
}

/**
 * Counts bytes that lie outside for want of room, and less where they no longer do: for a scope, or pinned, which may
 * take half of the budget, beside `pins` that lie here.
 */
export function outside(kind: keyof Heap["outside"], bytes: number, pins: number): void {
  const { outside } = heap;
  outside[kind] += bytes;
  if (bytes < 0 || !heap.isShared) return;
  // Blocks do not fit without gaps.
  const all = (heap.bytes + outside.scoped + outside.pinned) * 1.125;
  const wanted = Math.max(heap.wanted, heap.refused, all, 2 * (outside.pinned + pins));
  heap.wanted = Math.ceil(wanted / 2 ** 20) * 2 ** 20;
}

function grow(bytes: number, lasts: boolean): boolean {
  const before = heap.memory!.buffer.byteLength;
  // A good fit asks for a class above the size itself; an eighth more always reaches it.
  const least = Math.ceil((bytes * 1.125 + 256) / pageBytes) * pageBytes;
  const room = heap.budget - before;
  if (lasts && least > room) {
    heap.refused = before + least;
    return false;
  }
  // Growing by a quarter keeps the number of buffers small.
  const wanted = Math.max(least, Math.min(before / 4, room - (room % pageBytes)));
  if (heap.isShared || heap.tensors === 0) return growBy(wanted);
  if (lasts) heap.lacking += wanted;
  else {
    heap.needed = wanted;
    if (heap.waits) throw lack;
  }
  return false;
}

/** Grows an unshared memory by what allocations have lacked. To be called where nobody holds a view: it may detach them. */
export function settle(): boolean {
  const { lacking, needed } = heap;
  if (lacking === 0 && needed === 0) return false;
  heap.lacking = 0;
  heap.needed = 0;
  const room = heap.budget - heap.memory!.buffer.byteLength;
  return growBy(Math.max(needed, Math.min(lacking, room - (room % pageBytes))));
}

/** Where the memory grows between ops alone, has it hold `bytes` more. To be called where nobody holds a view. */
export function makeRoom(bytes: number): void {
  if (!growsBetween()) return;
  const address = work(bytes);
  if (address === 0) settle();
  else free(address);
}

const lack = new BackendError("heap: the memory must grow first, got an op that does not begin anew");

/** Whether the memory grows between ops alone. */
export const growsBetween = (): boolean => heap.memory !== null && !heap.isShared;

/**
 * Runs an op where nobody holds a view. Where the memory grows between ops alone, one whose kernels lack room is left, and
 * begins anew when it has grown, with `again` set: no kernel steps aside for another that sums in another order.
 */
export function growing(op: (again: boolean) => void): void {
  const { waits } = heap;
  for (let again = false; ; again = true) {
    heap.waits = true;
    try {
      op(again);
      return;
    } catch (error) {
      if (error !== lack) throw error;
    } finally {
      heap.waits = waits;
    }
    if (!settle()) break;
  }
  heap.waits = false;
  try {
    op(true);
  } finally {
    heap.waits = waits;
  }
}

function growBy(bytes: number): boolean {
  const memory = heap.memory!;
  const pages = Math.ceil(bytes / pageBytes);
  if (pages <= 0 || memory.buffer.byteLength + pages * pageBytes > mostBytes) return false;
  try {
    memory.grow(pages);
  } catch {
    return false;
  }
  derive();
  extend(memory.buffer.byteLength);
  return true;
}

/** Gives a block back. Throws BackendError on one that is not in use. */
export function free(address: number): void {
  const bytes = sizeAt(address);
  giveBlock(address);
  heap.bytes -= bytes;
}

/**
 * The typed array over `length` elements at `address`. The last one of each address is kept, since making one costs more
 * than many a kernel. On an unshared memory it must not be held across ops.
 */
export function view<D extends DType>(dtype: D, address: number, length: number): ArrayOf<D> {
  const held = heap.views.get(address);
  if (held !== undefined && held.length === length && held instanceof views[dtype]) return held as ArrayOf<D>;
  const made = new views[dtype](heap.buffer!, address, length);
  heap.views.set(address, made);
  return made as ArrayOf<D>;
}

/** A view of its own, not kept here: as long as the caller holds it, `view` makes others. */
export function ownView<D extends DType>(dtype: D, address: number, length: number): ArrayOf<D> {
  const taken = view(dtype, address, length);
  heap.views.delete(address);
  return taken;
}

const views = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/** All of the memory as floats, until the next allocation: element i is at address 4 i. */
export const heapFloats = (): Float32Array => heap.floats;

/** Where an array lies on the heap, or 0 for one that does not. */
export function addressOf(array: TypedArray): number {
  const { byteOffset } = array;
  // Nothing begins at 0 there. Asked for its buffer, an engine makes one for a small array, which takes long.
  if (byteOffset === 0) return 0;
  const { buffer } = array;
  return buffer === heap.buffer || heap.buffers.has(buffer) ? byteOffset : 0;
}

/** At least `bytes` of scratch, valid until the next call, or 0 where the heap is exhausted. */
export function scratch(bytes: number): number {
  if (bytes > heap.scratchBytes) {
    const address = work(bytes);
    if (address === 0) return 0;
    if (heap.scratch !== 0) free(heap.scratch);
    heap.scratch = address;
    heap.scratchBytes = bytes;
  }
  return heap.scratch;
}

/** Where `smallBytes` lie for small operands of kernels, as long as the heap and not counted. */
export function smallBlock(): number {
  heapMemory();
  return heap.small;
}

export interface HeapUse {
  /** Bytes in blocks now, and at most so far. */
  readonly bytes: number;
  readonly peak: number;
  /** Bytes the memory spans, and may span. */
  readonly reserved: number;
  readonly budget: number;
  /** The budget that all that lasts would fit into; 0 where it does. */
  readonly wanted: number;
  readonly shared: boolean;
}

export function heapUse(): HeapUse {
  const { bytes, peak, budget, wanted, isShared, memory } = heap;
  return { bytes, peak, reserved: memory?.buffer.byteLength ?? 0, budget, wanted, shared: isShared };
}

/** Sets the bytes the memory may span; what it spans already stays. Starts the peak anew. */
export function setHeapBudget(bytes: number): void {
  heap.budget = Math.min(bytes, mostBytes);
  heap.peak = heap.bytes;
  heap.wanted = 0;
  heap.refused = 0;
}
