/**
 * Packed numbers of parameters in safetensors files: their bytes as U8, and what they are in the metadata, as JSON of
 * {name: {bits, signed, shape}}. Elements lie one behind another, from the lowest bit of a byte on; of signs 1 means −1.
 */

import { packedBytes } from "../../kernels/bits.ts";
import { FormatError, isPlainObject, show } from "../errors.ts";
import { isStore, type Store, stored, unpacking } from "../nn/store.ts";
import { type Entry, RANK_LIMIT } from "../safetensors/header.ts";
import { readJsonObject } from "../safetensors/json.ts";
import { type Shape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

export const STORES = "bitgrad.stores";

/** Writes down which tensors of a file are packed. */
export function noteStores(
  notes: Record<string, string>,
  tensors: readonly { readonly name: string; readonly value: Tensor }[],
): void {
  const packed = tensors.flatMap(({ name, value }) => {
    const held = stored(value);
    if (!held) return [];
    const { bits, signed } = held.store;
    return [[name, { bits, signed, shape: value.shape }] as const];
  });
  if (packed.length > 0) notes[STORES] = JSON.stringify(Object.fromEntries(packed));
}

/** Takes that out of `metadata`. Gives what makes tensors of the packed bytes of such a name, and null for any other name. */
export function takeStores(
  metadata: Readonly<Record<string, string>>,
  entries: ReadonlyMap<string, Entry>,
): (name: string, bytes: Uint8Array) => Tensor | null {
  const text = metadata[STORES];
  const found = new Map<string, { store: Store; shape: Shape }>();
  if (text !== undefined) {
    delete (metadata as Record<string, string>)[STORES];
    const given = readJsonObject("readSafetensors", new TextEncoder().encode(text));
    for (const [name, value] of Object.entries(given))
      found.set(name, readStore(name, value, entries.get(name)));
  }
  return (name, bytes) => {
    const held = found.get(name);
    // A copy: it is written in place, and the file's bytes are the caller's.
    return held ? unpacking(held.store, new Uint8Array(bytes), held.shape) : null;
  };
}

function readStore(name: string, value: unknown, entry: Entry | undefined): { store: Store; shape: Shape } {
  const { bits, signed, shape } = (isPlainObject(value) ? value : {}) as Partial<Store> & { shape?: unknown };
  const isCount = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  const kind = { bits, signed };
  if (isStore(kind) && Array.isArray(shape) && shape.length <= RANK_LIMIT && shape.every(isCount)) {
    const size = sizeOf(shape);
    const bytes = entry?.format === "U8" && entry.shape.length === 1 ? entry.to - entry.from : -1;
    if (Number.isSafeInteger(size * 8) && bytes === packedBytes(size, kind.bits))
      return { store: kind, shape };
  }
  throw new FormatError(
    `readSafetensors: packed numbers must be { bits, signed, shape } that fit their bytes, got ${show(value)} for ${show(name)}`,
  );
}
