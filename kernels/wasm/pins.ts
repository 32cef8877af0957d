/**
 * Blocks of the heap that nobody need release: each lives as long as the array over it, or until `release`. For what lives
 * long, never for what every step makes: the engine does not see how large such arrays are, and collects none while a
 * program runs without a pause. So they take at most half of the heap's budget.
 */

import type { ArrayOf, DType, TypedArray } from "../../src/dtype.ts";
import { shared } from "../../src/state.ts";
import { displace, heapUse, outside, ownView } from "./heap.ts";

const pins = /* @__PURE__ */ shared("pins", () => ({
  arrays: new FinalizationRegistry(unpin),
  /** Of what was to be pinned and lies outside. */
  strays: new FinalizationRegistry((bytes: number) => outside("pinned", -bytes, 0)),
  bytes: 0,
}));

interface Block {
  address: number;
  bytes: number;
}

/**
 * An array over the block at `address`, which `place` gave, that takes it over; null where there is no room for it or
 * growth would detach it, and the block stays the caller's.
 */
export function pin<D extends DType>(dtype: D, address: number, length: number): ArrayOf<D> | null {
  const { shared: stays, budget } = heapUse();
  const array = ownView(dtype, address, length);
  const { byteLength: bytes } = array;
  if (!stays || pins.bytes + bytes > budget / 2) return null;
  pins.bytes += bytes;
  pins.arrays.register(array, { address, bytes }, array);
  return array;
}

function unpin({ address, bytes }: Block): void {
  pins.bytes -= bytes;
  displace(address);
}

/** Releases the block of an array from `pin` now; leaves other arrays alone. */
export function release(array: TypedArray): void {
  if (pins.arrays.unregister(array)) unpin({ address: array.byteOffset, bytes: array.byteLength });
}

/** As `outside`, for bytes of an owner; those that were to be pinned count until it is collected. */
export function astray(owner: object, kind: "scoped" | "pinned", bytes: number): void {
  outside(kind, bytes, pins.bytes);
  if (kind === "scoped") return;
  if (bytes < 0) pins.strays.unregister(owner);
  else pins.strays.register(owner, bytes, owner);
}

/** Bytes of all blocks that are pinned. */
export const pinnedBytes = (): number => pins.bytes;
