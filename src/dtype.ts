/** The element types, their arrays and the promotion table. */

import { DTypeError, isBuiltIn, ShapeError, show } from "./errors.ts";

export type DType = "float32" | "float64" | "int32" | "uint32" | "int8" | "uint8" | "bool";

export type TypedArray = Float32Array | Float64Array | Int32Array | Uint32Array | Int8Array | Uint8Array;

export type FloatArray = Float32Array | Float64Array;

export type ArrayOf<D extends DType> = {
  float32: Float32Array;
  float64: Float64Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int8: Int8Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}[D];

/** What smooth functions and means give; of any dtype, any. */
export type Float<D extends DType> = DType extends D ? D : D extends "float64" ? D : "float32";

/** What sums and products give; of any dtype, any. */
export type Counted<D extends DType> = DType extends D
  ? D
  : D extends "float32" | "float64" | "uint32"
    ? D
    : "int32";

/** The dtype that `promote` gives. */
export type Promoted<A extends DType, B extends DType> = A extends unknown
  ? B extends unknown
    ? Met<A, B>
    : never
  : never;

type Met<A, B> = A extends B
  ? A extends "bool"
    ? "bool" | "int32"
    : A
  : "float64" extends A | B
    ? "float64"
    : "float32" extends A | B
      ? "float32"
      : A extends "bool"
        ? B
        : B extends "bool"
          ? A
          : "uint32" extends A | B
            ? "uint8" extends A | B
              ? "uint32"
              : "float64"
            : "int32";

/** What a tensor and a plain number meet in: a float stays as it is, and int32 beside an integer. */
export type BesideNumber<D extends DType, N extends number> = D extends "float32" | "float64"
  ? D
  : D extends "int32"
    ? `${N}` extends `${bigint}`
      ? D
      : D | "float32"
    : DType;

const constructors = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

export const isDType = (name: unknown): name is DType =>
  typeof name === "string" && Object.hasOwn(constructors, name);

export const isFloat = (dtype: DType): dtype is "float32" | "float64" =>
  dtype === "float32" || dtype === "float64";

export const bytesPerElement = (dtype: DType): number => constructors[dtype].BYTES_PER_ELEMENT;

/**
 * A zeroed array of `size` elements (bool is stored as one byte, 0 or 1). Throws ShapeError for more than the engine can
 * allocate.
 */
export function newArray<D extends DType>(dtype: D, size: number): ArrayOf<D> {
  try {
    return new constructors[dtype](size) as ArrayOf<D>;
  } catch (cause) {
    throw new ShapeError(`tensor: too large to allocate, got ${size} elements of ${dtype}`, { cause });
  }
}

/** The dtype a typed array stands for, or null for one that has no dtype here (Int16Array, BigInt64Array, …). */
export function dtypeOfArray(array: ArrayBufferView): DType | null {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Float64Array) return "float64";
  if (array instanceof Int32Array) return "int32";
  if (array instanceof Uint32Array) return "uint32";
  if (array instanceof Int8Array) return "int8";
  if (array instanceof Uint8Array) return "uint8";
  // The array of another realm has another prototype, and the same tag.
  const tag = (array as Partial<TypedArray>)[Symbol.toStringTag]?.replace("Array", "").toLowerCase();
  return isDType(tag) ? tag : null;
}

/** Bytes of a Uint8Array (a Node Buffer slices otherwise) or an ArrayBuffer of any realm, over the same memory; null for other values. */
export function bytesOf(given: unknown): Uint8Array | null {
  if (isBuiltIn("ArrayBuffer", given)) return new Uint8Array(given);
  if (!isBytes(given)) return null;
  return new Uint8Array(given.buffer, given.byteOffset, given.length);
}

/** Whether a value is a Uint8Array of any realm. */
export const isBytes = (value: unknown): value is Uint8Array =>
  ArrayBuffer.isView(value) && dtypeOfArray(value) === "uint8";

/** Whether a value is a Float32Array of any realm. */
export const isFloat32Array = (value: unknown): value is Float32Array =>
  ArrayBuffer.isView(value) && dtypeOfArray(value) === "float32";

/**
 * The dtype two operands meet in. A float wins over every integer and float64 over float32; two integer types meet in the
 * narrowest type that holds both ranges (uint32 with a signed type only fits float64); bool gives way to everything.
 *
 * @example
 * ```ts
 * import { promote } from "bitgrad";
 *
 * console.log(promote("int8", "uint8"), promote("int32", "float32"), promote("bool", "int8")); // int32 float32 int8
 * ```
 */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  for (const dtype of [a, b]) {
    if (!isDType(dtype)) throw new DTypeError(`promote: unknown dtype, got ${show(dtype)}`);
  }
  if (a === "float64" || b === "float64") return "float64";
  if (a === "float32" || b === "float32") return "float32";
  if (a === "bool") return b;
  if (b === "bool") return a;
  if (a === "uint32" || b === "uint32") return a === "uint8" || b === "uint8" ? "uint32" : "float64";
  return "int32";
}

const ranges: Partial<Record<DType, [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int8: [-128, 127],
  uint8: [0, 255],
  bool: [0, 1],
};

/** Writes `values` into an array of `dtype`; a value that the integer type cannot hold is an error. */
export function convertArray<D extends DType>(
  op: string,
  values: ArrayLike<number | boolean>,
  dtype: D,
): ArrayOf<D> {
  const out = newArray(dtype, values.length);
  const range = ranges[dtype];
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    if (range && (!Number.isInteger(value) || value < range[0] || value > range[1])) {
      throw new DTypeError(
        `${op}: ${dtype} cannot hold the value, got ${value} at index ${i}; round, clip or choose another dtype`,
      );
    }
    out[i] = value;
  }
  return out;
}

/**
 * Runs `write`, which sums or multiplies, on `out`; on doubles where that holds integers. Throws DTypeError for a result that
 * their dtype cannot hold.
 */
export function exactly(op: string, out: TypedArray, dtype: DType, write: (out: TypedArray) => void): void {
  const range = ranges[dtype];
  if (!range) {
    write(out);
    return;
  }
  const doubles = new Float64Array(out.length);
  write(doubles);
  for (let i = 0; i < doubles.length; i++) {
    if (doubles[i] >= range[0] && doubles[i] <= range[1]) continue;
    throw new DTypeError(
      `${op}: ${dtype} cannot hold the result, got ${doubles[i]} at index ${i}; use .to("float64")`,
    );
  }
  out.set(doubles);
}
