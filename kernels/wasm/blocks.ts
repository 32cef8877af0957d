/**
 * The blocks of the SIMD heap: two-level segregated fit (Masmano et al., 2004, "TLSF: a new dynamic memory allocator for
 * real-time systems"). Taking and giving back take constant time, and neighbours that are free merge at once, so a repeated
 * program needs no more memory the thousandth time than the second. A block's header of 16 bytes lies before its address.
 */

import { BackendError } from "../../src/errors.ts";
import { shared } from "../../src/state.ts";

const headerBytes = 16;
// Blocks are multiples of 64 bytes and their addresses too: a vector never straddles two cache lines.
const unitShift = 6;
const subdivisions = 8;
const levels = 25;
// Header words: the size in bytes with the lowest bit set while free, and the size of the block before.
const freeBit = 1;

/** One for all copies of the library in the process. */
export const blocks = /* @__PURE__ */ shared("blocks", () => ({
  words: new Uint32Array(0) as Uint32Array,
  /** The first free block of each size class, 0 for none, and which classes have one. */
  first: new Uint32Array(levels * subdivisions),
  levelMap: 0,
  classMaps: new Uint8Array(levels),
  /** The address of the zero-sized block that ends the memory. */
  end: 0,
}));

const header = (address: number): number => (address - headerBytes) >>> 2;
/** Bytes of a block, its header among them. */
export const sizeAt = (address: number): number => (blocks.words[header(address)] & ~freeBit) >>> 0;
const isFree = (address: number): boolean => (blocks.words[header(address)] & freeBit) !== 0;

/** Begins with no block. Address 0 is no address, so the first block starts one unit in; the last header ends the memory. */
export function startBlocks(words: Uint32Array): void {
  blocks.words = words;
  blocks.end = 64;
  words[header(blocks.end)] = 0;
  words[header(blocks.end) + 1] = 0;
}

/** Turns everything from the end block up to `limit` into one free block, merged with a free one before it. */
export function extend(limit: number): void {
  const address = blocks.end;
  // The end block's header moves to the new end.
  blocks.end = limit - 64;
  const size = blocks.end - address;
  blocks.words[header(address)] = size;
  blocks.words[header(blocks.end)] = 0;
  blocks.words[header(blocks.end) + 1] = size;
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
  const next = blocks.first[index];
  const at = address >>> 2;
  blocks.words[at] = next;
  blocks.words[at + 1] = 0;
  if (next !== 0) blocks.words[(next >>> 2) + 1] = address;
  blocks.first[index] = address;
  blocks.levelMap |= 1 << (index >>> 3);
  blocks.classMaps[index >>> 3] |= 1 << (index & 7);
}

function unlink(address: number): void {
  const at = address >>> 2;
  const next = blocks.words[at];
  const before = blocks.words[at + 1];
  if (next !== 0) blocks.words[(next >>> 2) + 1] = before;
  if (before !== 0) {
    blocks.words[before >>> 2] = next;
    return;
  }
  const index = classOf(sizeAt(address) >>> unitShift);
  blocks.first[index] = next;
  if (next !== 0) return;
  const level = index >>> 3;
  blocks.classMaps[level] &= ~(1 << (index & 7));
  if (blocks.classMaps[level] === 0) blocks.levelMap &= ~(1 << level);
}

/** The first block of the smallest class whose every block holds `units`, or 0. */
function find(units: number): number {
  const spare = units < subdivisions ? 0 : (1 << (31 - Math.clz32(units) - 3)) - 1;
  const index = classOf(units + spare);
  let level = index >>> 3;
  let classes = blocks.classMaps[level] & (-1 << (index & 7));
  if (classes === 0) {
    const above = blocks.levelMap & (-2 << level);
    if (above === 0) return 0;
    level = 31 - Math.clz32(above & -above);
    classes = blocks.classMaps[level];
  }
  return blocks.first[level * subdivisions + 31 - Math.clz32(classes & -classes)];
}

function merge(address: number): void {
  let start = address;
  let size = sizeAt(address);
  const next = address + size;
  if (isFree(next)) {
    unlink(next);
    size += sizeAt(next);
  }
  const before = blocks.words[header(address) + 1];
  if (before !== 0 && isFree(address - before)) {
    start = address - before;
    unlink(start);
    size += before;
  }
  blocks.words[header(start)] = size | freeBit;
  blocks.words[header(start + size) + 1] = size;
  link(start);
}

/** A block for `bytes` bytes, or 0 where none is free. */
export function takeBlock(bytes: number): number {
  const size = Math.ceil((bytes + headerBytes) / 64) * 64;
  const address = find(size / 64);
  if (address === 0) return 0;
  unlink(address);
  const held = sizeAt(address);
  const rest = held - size;
  const next = address + held;
  if (rest > 0) {
    const cut = address + size;
    blocks.words[header(cut)] = rest | freeBit;
    blocks.words[header(cut) + 1] = size;
    blocks.words[header(next) + 1] = rest;
    link(cut);
  }
  blocks.words[header(address)] = size;
  return address;
}

/** Gives a block back. Throws BackendError on one that is not in use. */
export function giveBlock(address: number): void {
  if (isFree(address)) throw new BackendError(`heap: a block is released twice, got address ${address}`);
  merge(address);
}
