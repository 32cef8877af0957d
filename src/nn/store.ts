/** Stores: how the numbers of a parameter lie at rest, where they are not plain floats. */

import { newArray, type TypedArray } from "../dtype.ts";
import { OptionError, show } from "../errors.ts";
import { type CodeType, packCodes, packedBytes, unpackCodes } from "../packed/file/codes.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { Storage } from "../storage.ts";
import { Tensor } from "../tensor.ts";

/** Integers of 1 to 8 bits; signed ones of one bit are 1 and −1. */
export type Store = CodeType;

/** 1 and −1, packed as one bit each: `new Parameter(value, { store: signs })`. */
export const signs: Store = { bits: 1, signed: true };

export const isStore = (value: unknown): value is Store => {
  const { bits, signed } = Object(value) as Partial<Store>;
  return Number.isInteger(bits) && bits! >= 1 && bits! <= 8 && typeof signed === "boolean";
};

/** Throws OptionError unless `store` is one, or null. */
export function checkStore(op: string, store: unknown): Store | null {
  if (store === null || isStore(store)) return store;
  throw new OptionError(`${op}: store must be signs, { bits: 1 to 8, signed } or null, got ${show(store)}`);
}

type FloatName = "float32" | "float64";

/** Codes that are unpacked at once: they fill whole bytes. */
const piece = 2 ** 14;

/** Numbers that lie packed. `data` is a copy, made anew whenever it is asked for; only `write` changes them. */
class PackedStorage extends Storage {
  readonly store: Store;
  readonly length: number;

  constructor(store: Store, bytes: Uint8Array, length: number, dtype: FloatName) {
    super(bytes, dtype);
    this.store = store;
    this.length = length;
  }

  /** The numbers as they lie. */
  get packed(): Uint8Array {
    return super.data as Uint8Array;
  }

  override get data(): TypedArray {
    const { packed, store, length } = this;
    const data = newArray(this.dtype, length);
    // Piece by piece, so that no second array of all codes is made.
    for (let at = 0; at < length; at += piece) {
      const count = Math.min(piece, length - at);
      const from = packedBytes(at, store.bits);
      const bytes = packed.subarray(from, from + packedBytes(count, store.bits));
      data.set(unpackCodes(bytes, 1, count, store), at);
    }
    return data;
  }

  override write(write: (data: TypedArray) => void, op: string): void {
    const { data, store, length } = this;
    write(data);
    this.packed.set(packed(op, store, data, length));
    this.version++;
  }

  override refuses(values: TypedArray): string | null {
    return refusal(this.store, values);
  }

  override copy(): Storage {
    const copy = new PackedStorage(this.store, this.packed.slice(), this.length, this.dtype as FloatName);
    copy.version = this.version;
    return copy;
  }
}

function refusal({ bits, signed }: Store, values: ArrayLike<number>): string | null {
  const signs = signed && bits === 1;
  const low = signed ? -(2 ** (bits - 1)) : 0;
  const high = low + 2 ** bits - 1;
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    if (signs ? x === 1 || x === -1 : Number.isInteger(x) && x >= low && x <= high) continue;
    return `the store holds ${signs ? "1 and -1" : `integers from ${low} to ${high}`}, got ${show(x)} at element ${i}`;
  }
  return null;
}

function packed(op: string, store: Store, values: TypedArray, length: number): Uint8Array {
  const wrong = refusal(store, values);
  if (wrong) throw new OptionError(`${op}: ${wrong}`);
  return packCodes(values, 1, length, store);
}

/** A tensor whose numbers lie packed. Throws OptionError that begins with `op` for what the store does not hold. */
export function packInto(op: string, value: Tensor, store: Store): Tensor {
  const bytes = packed(op, store, value.data, value.size);
  return unpacking(store, bytes, value.shape, value.dtype as FloatName);
}

/** A tensor over packed numbers, which it takes over. */
export const unpacking = (
  store: Store,
  bytes: Uint8Array,
  shape: Shape,
  dtype: FloatName = "float32",
): Tensor => new Tensor(new PackedStorage(store, bytes, sizeOf(shape), dtype), shape, dtype);

/** The store of a tensor and its bytes; null for plain numbers. */
export function stored({ storage }: Tensor): { readonly store: Store; readonly packed: Uint8Array } | null {
  return "store" in storage ? (storage as PackedStorage) : null;
}
