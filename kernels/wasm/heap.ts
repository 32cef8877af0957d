/**
 * The SIMD heap: one WebAssembly memory that every kernel reads and writes in place, and the allocator of its blocks.
 *
 * The memory is shared from the start where the platform allows, so that growing it detaches no view. Elsewhere growing
 * detaches every view, so that a memory with tensors in it grows only between ops (`settle`): until then allocations fail
 * as on an exhausted heap, and `view` derives views anew. Nothing is made before the first allocation.
 *
 * Allocator: two-level segregated fit (Masmano et al., 2004, "TLSF: a new dynamic memory allocator for real-time
 * systems"). Allocation and release take constant time, and neighbours that are free merge at once, so a repeated
 * program needs no more memory the thousandth time than the second. A block's header of 16 bytes lies before its address.
 */

import type { ArrayOf, DType, TypedArray } from "../../src/dtype.ts";
import { BackendError } from "../../src/errors.ts";
import { shared } from "../../src/state.ts";

const pageBytes = 65536;
const headerBytes = 16;
// Blocks are multiples of 64 bytes and their addresses too: a vector never straddles two cache lines.
const unitShift = 6;
const subdivisions = 8;
const levels = 25;
// Header words: the size in bytes with the lowest bit set while free, and the size of the block before.
const freeBit = 1;

interface Heap {
  memory: WebAssembly.Memory | null;
  isShared: boolean;
  words: Uint32Array;
  floats: Float32Array;
  /** Every buffer object the memory has had: growing a shared memory makes a new one, and the old one stays valid. */
  buffers: WeakSet<ArrayBufferLike>;
  views: Map<number, TypedArray>;
  /** The first free block of each size class, 0 for none, and which classes have one. */
  first: Uint32Array;
  levelMap: number;
  classMaps: Uint8Array;
  /** The address of the zero-sized block that ends the memory. */
  end: number;
  bytes: number;
  peak: number;
  budget: number;
  scratch: number;
  scratchBytes: number;
  /** Blocks of tensors, whose views others hold. */
  tensors: number;
  /** Bytes that an unshared memory is to grow by between two ops. */
  lacking: number;
}

const heap = /* @__PURE__ */ shared<Heap>("heap", () => ({
  memory: null,
  isShared: false,
  words: new Uint32Array(0),
  floats: new Float32Array(0),
  buffers: new WeakSet(),
  views: new Map(),
  first: new Uint32Array(levels * subdivisions),
  levelMap: 0,
  classMaps: new Uint8Array(levels),
  end: 0,
  bytes: 0,
  peak: 0,
  budget: 2 ** 30,
  scratch: 0,
  scratchBytes: 0,
  tensors: 0,
  lacking: 0,
}));

/** The memory every kernel imports as env.memory, made on first use. */
export function heapMemory(): WebAssembly.Memory {
  if (heap.memory === null) {
    // A page that may not share memory between threads has no SharedArrayBuffer, or says that it is not isolated.
    const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false;
    heap.isShared = isolated && typeof SharedArrayBuffer === "function";
    heap.memory = reserve(heap.isShared);
    derive();
    // Address 0 is no address, so the first block starts one unit in; the last header ends the memory.
    heap.end = 64;
    heap.words[header(heap.end)] = 0;
    heap.words[header(heap.end) + 1] = 0;
    extend(heap.memory.buffer.byteLength);
  }
  return heap.memory;
}

/** Engines reserve the maximum at once; one that cannot gets less. */
function reserve(isShared: boolean): WebAssembly.Memory {
  // One that is not shared cannot grow while tensors lie in it: it starts with room for small models.
  const initial = isShared ? 64 : 512;
  for (let maximum = 65536; ; maximum /= 2)
    try {
      return new WebAssembly.Memory({ initial, maximum, shared: isShared });
    } catch (error) {
      if (maximum <= 1024) throw error;
    }
}

export function memoryIsShared(): boolean {
  heapMemory();
  return heap.isShared;
}

function derive(): void {
  const { buffer } = heap.memory!;
  heap.words = new Uint32Array(buffer);
  heap.floats = new Float32Array(buffer);
  heap.buffers.add(buffer);
  if (!heap.isShared) heap.views.clear();
}

const header = (address: number): number => (address - headerBytes) >>> 2;
const sizeAt = (address: number): number => (heap.words[header(address)] & ~freeBit) >>> 0;
const isFree = (address: number): boolean => (heap.words[header(address)] & freeBit) !== 0;

/** Turns everything from the end block up to `limit` into one free block, merged with a free one before it. */
function extend(limit: number): void {
  const address = heap.end;
  // The end block's header moves to the new end.
  heap.end = limit - 64;
  const size = heap.end - address;
  heap.words[header(address)] = size;
  heap.words[header(heap.end)] = 0;
  heap.words[header(heap.end) + 1] = size;
  merge(address);
}

/** The size class of a block of `units`; classes are linear below 8 units and 8 to a doubling above. */
function classOf(units: number): number {
  if (units < subdivisions) return units;
  const log = 31 - Math.clz32(units);
  return (log - 2) * subdivisions + ((units >>> (log - 3)) & (subdivisions - 1));
}

function link(address: number): void {
  const index = classOf(sizeAt(address) >>> unitShift);
  const next = heap.first[index];
  const at = address >>> 2;
  heap.words[at] = next;
  heap.words[at + 1] = 0;
  if (next !== 0) heap.words[(next >>> 2) + 1] = address;
  heap.first[index] = address;
  heap.levelMap |= 1 << (index >>> 3);
  heap.classMaps[index >>> 3] |= 1 << (index & 7);
}

function unlink(address: number): void {
  const at = address >>> 2;
  const next = heap.words[at];
  const before = heap.words[at + 1];
  if (next !== 0) heap.words[(next >>> 2) + 1] = before;
  if (before !== 0) {
    heap.words[before >>> 2] = next;
    return;
  }
  const index = classOf(sizeAt(address) >>> unitShift);
  heap.first[index] = next;
  if (next !== 0) return;
  const level = index >>> 3;
  heap.classMaps[level] &= ~(1 << (index & 7));
  if (heap.classMaps[level] === 0) heap.levelMap &= ~(1 << level);
}

/** The first block of the smallest class whose every block holds `units`, or 0. */
function find(units: number): number {
  const spare = units < subdivisions ? 0 : (1 << (31 - Math.clz32(units) - 3)) - 1;
  const index = classOf(units + spare);
  let level = index >>> 3;
  let classes = heap.classMaps[level] & (-1 << (index & 7));
  if (classes === 0) {
    const above = heap.levelMap & (-2 << level);
    if (above === 0) return 0;
    level = 31 - Math.clz32(above & -above);
    classes = heap.classMaps[level];
  }
  return heap.first[level * subdivisions + 31 - Math.clz32(classes & -classes)];
}

/**
 * The address of `bytes` bytes with any content, a multiple of 64, or 0 where the budget or the platform is exhausted.
 */
export function alloc(bytes: number): number {
  heapMemory();
  const size = Math.ceil((bytes + headerBytes) / 64) * 64;
  const units = size / 64;
  let address = find(units);
  if (address === 0) {
    if (!grow(size)) return 0;
    address = find(units);
  }
  unlink(address);
  const held = sizeAt(address);
  const rest = held - size;
  const next = address + held;
  if (rest > 0) {
    const cut = address + size;
    heap.words[header(cut)] = rest | freeBit;
    heap.words[header(cut) + 1] = size;
    heap.words[header(next) + 1] = rest;
    link(cut);
  }
  heap.words[header(address)] = size;
  heap.bytes += size;
  heap.peak = Math.max(heap.peak, heap.bytes);
  return address;
}

/** A block for a tensor, as `alloc`; `displace` gives it back. */
export function place(bytes: number): number {
  const address = alloc(bytes);
  if (address !== 0) heap.tensors++;
  return address;
}

export function displace(address: number): void {
  free(address);
  heap.tensors--;
}

function grow(bytes: number): boolean {
  const before = heap.memory!.buffer.byteLength;
  // A good fit asks for a class above the size itself; an eighth more always reaches it. Growing by a quarter keeps the
  // number of buffers small.
  const wanted = Math.max(bytes * 1.125 + 128, Math.min(before / 4, heap.budget - before));
  if (heap.isShared || heap.tensors === 0) return growBy(wanted);
  if (before + wanted <= heap.budget) heap.lacking += wanted;
  return false;
}

/** Grows an unshared memory by what allocations have lacked. To be called where nobody holds a view: it may detach them. */
export function settle(): void {
  const { lacking } = heap;
  if (lacking === 0) return;
  heap.lacking = 0;
  const room = heap.budget - heap.memory!.buffer.byteLength;
  growBy(Math.min(lacking, room - (room % pageBytes)));
}

function growBy(bytes: number): boolean {
  const memory = heap.memory!;
  const pages = Math.ceil(bytes / pageBytes);
  if (pages <= 0 || memory.buffer.byteLength + pages * pageBytes > heap.budget) return false;
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
  if (isFree(address)) throw new BackendError(`heap: a block is released twice, got address ${address}`);
  heap.bytes -= sizeAt(address);
  merge(address);
}

function merge(address: number): void {
  let start = address;
  let size = sizeAt(address);
  const next = address + size;
  if (isFree(next)) {
    unlink(next);
    size += sizeAt(next);
  }
  const before = heap.words[header(address) + 1];
  if (before !== 0 && isFree(address - before)) {
    start = address - before;
    unlink(start);
    size += before;
  }
  heap.words[header(start)] = size | freeBit;
  heap.words[header(start + size) + 1] = size;
  link(start);
}

/**
 * The typed array over `length` elements at `address`. The last one of each address is kept, since making one costs more
 * than many a kernel. On an unshared memory it must not be held across ops.
 */
export function view<D extends DType>(dtype: D, address: number, length: number): ArrayOf<D> {
  const held = heap.views.get(address);
  if (held !== undefined && held.length === length && held instanceof views[dtype]) return held as ArrayOf<D>;
  const made = new views[dtype](heap.memory!.buffer, address, length);
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
  const { buffer } = array;
  return buffer === heap.words.buffer || heap.buffers.has(buffer) ? array.byteOffset : 0;
}

/** At least `bytes` of scratch, valid until the next call, or 0 where the heap is exhausted. */
export function scratch(bytes: number): number {
  if (bytes > heap.scratchBytes) {
    const address = alloc(bytes);
    if (address === 0) return 0;
    if (heap.scratch !== 0) free(heap.scratch);
    heap.scratch = address;
    heap.scratchBytes = bytes;
  }
  return heap.scratch;
}

export interface HeapUse {
  /** Bytes in blocks now, and at most so far. */
  readonly bytes: number;
  readonly peak: number;
  /** Bytes the memory spans, and may span. */
  readonly reserved: number;
  readonly budget: number;
  readonly shared: boolean;
}

export function heapUse(): HeapUse {
  const { bytes, peak, budget, isShared, memory } = heap;
  return { bytes, peak, reserved: memory?.buffer.byteLength ?? 0, budget, shared: isShared };
}

/** Sets the bytes the memory may span; what it spans already stays. Starts the peak anew. */
export function setHeapBudget(bytes: number): void {
  heap.budget = Math.min(bytes, 2 ** 32);
  heap.peak = heap.bytes;
}
