/** The element types of safetensors files and the tensors they become. */

import {
  toBfloat16,
  toFloat8,
  toFloat16,
  widenBfloat16,
  widenFloat8,
  widenFloat16,
} from "../../kernels/formats/half.ts";
import { type DType, isFloat } from "../dtype.ts";
import { DTypeError, FormatError, show } from "../errors.ts";
import { stored } from "../nn/store.ts";
import type { FormatName } from "../safetensors/formats.ts";
import type { Shape } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";

/** What becomes of elements that no dtype here holds. */
export interface Conversions {
  /** Reads floats of 16 and 8 bits, exactly, as float32; without it they are a DTypeError. */
  widen: boolean;
  /** 64-bit integers become int32 or uint32, or float64; a value that does not fit is a DTypeError either way. */
  int64: "int32" | "float64";
}

interface Format {
  decode(bytes: Uint8Array, shape: Shape, name: string, conversions: Conversions): Tensor;
}

type View =
  | Float64Array
  | Float32Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | Int8Array
  | Uint8Array;
type ViewConstructor<A extends View> = {
  new (buffer: ArrayBufferLike, offset: number, length: number): A;
  readonly BYTES_PER_ELEMENT: number;
};

/** `bytes` as another array: over the same memory where it is aligned, else over a copy. */
function viewAs<A extends View>(Array: ViewConstructor<A>, bytes: Uint8Array): A {
  const own = bytes.byteOffset % Array.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
  return new Array(own.buffer, own.byteOffset, own.byteLength / Array.BYTES_PER_ELEMENT);
}

const direct = (
  dtype: "float64" | "float32" | "int32" | "uint32" | "int8" | "uint8",
  Array: ViewConstructor<View>,
): Format => ({
  decode: (bytes, shape) => wrap(viewAs(Array, bytes) as never, shape, dtype) as Tensor,
});

const narrow = (format: StoredFloat, widened: (bytes: Uint8Array) => Float32Array): Format => ({
  decode(bytes, shape, name, { widen }) {
    if (!widen) {
      throw new DTypeError(
        `readSafetensors: ${format} is not a dtype, got it for ${show(name)}; pass { widen: true } to read it as float32`,
      );
    }
    return wrap(widened(bytes), shape, "float32") as Tensor;
  },
});

const long = (signed: boolean): Format => ({
  decode(bytes, shape, name, { int64 }) {
    const words = viewAs(Uint32Array, bytes);
    const narrow = signed ? "int32" : "uint32";
    const dtype = int64 === "float64" ? "float64" : narrow;
    const count = words.length / 2;
    const out =
      dtype === "float64" ? new Float64Array(count) : signed ? new Int32Array(count) : new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      const high = signed ? words[2 * i + 1] | 0 : words[2 * i + 1];
      const value = high * 2 ** 32 + words[2 * i];
      out[i] = value;
      if (out[i] !== value || !Number.isSafeInteger(value)) {
        const advice = dtype === "float64" ? "" : '; pass { int64: "float64" }';
        throw new DTypeError(
          `readSafetensors: a 64-bit integer does not fit ${dtype}, got about ${value} in ${show(name)}${advice}`,
        );
      }
    }
    return wrap(out as never, shape, dtype) as Tensor;
  },
});

export const formats: Readonly<Record<FormatName, Format>> = {
  F64: direct("float64", Float64Array),
  F32: direct("float32", Float32Array),
  F16: narrow("float16", (bytes) => widenFloat16(viewAs(Uint16Array, bytes))),
  BF16: narrow("bfloat16", (bytes) => widenBfloat16(viewAs(Uint16Array, bytes))),
  F8_E4M3: narrow("float8_e4m3fn", (bytes) => widenFloat8(bytes, "float8_e4m3fn")),
  F8_E5M2: narrow("float8_e5m2", (bytes) => widenFloat8(bytes, "float8_e5m2")),
  I64: long(true),
  I32: direct("int32", Int32Array),
  I16: {
    decode: (bytes, shape) => wrap(Int32Array.from(viewAs(Int16Array, bytes)), shape, "int32") as Tensor,
  },
  I8: direct("int8", Int8Array),
  U64: long(false),
  U32: direct("uint32", Uint32Array),
  U16: {
    decode: (bytes, shape) => wrap(Uint32Array.from(viewAs(Uint16Array, bytes)), shape, "uint32") as Tensor,
  },
  U8: direct("uint8", Uint8Array),
  BOOL: {
    decode(bytes, shape, name) {
      const wrong = bytes.findIndex((byte) => byte > 1);
      if (wrong !== -1) {
        throw new FormatError(
          `readSafetensors: a bool must be 0 or 1, got ${bytes[wrong]} at index ${wrong} of ${show(name)}`,
        );
      }
      return wrap(bytes, shape, "bool") as Tensor;
    },
  },
};

const ownFormat: Readonly<Record<DType, FormatName>> = {
  float64: "F64",
  float32: "F32",
  int32: "I32",
  uint32: "U32",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
};

/** The dtype that the floats of a file are stored in, those of 8 bits by PyTorch's names. */
export type StoredFloat = "float32" | "float16" | "bfloat16" | "float8_e4m3fn" | "float8_e5m2";

export const storedFormat: Readonly<Record<StoredFloat, FormatName>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
};

/**
 * The format a tensor is written in, and the shape: that of its dtype, or for floats the one asked for. Packed numbers of a
 * parameter's store are bytes.
 */
export function storedShape(
  value: Tensor,
  wanted: StoredFloat | undefined,
): { format: FormatName; shape: Shape } {
  const { dtype, shape } = value;
  const packed = stored(value)?.packed;
  if (packed) return { format: "U8", shape: [packed.length] };
  const format = wanted !== undefined && isFloat(dtype) ? storedFormat[wanted] : ownFormat[dtype];
  return { format, shape };
}

/**
 * The elements of a tensor as bytes of `format`. A finite number that would become infinite, or any number that would become
 * NaN, is a DTypeError.
 */
export function encode(name: string, value: Tensor, format: FormatName): Uint8Array {
  const data = stored(value)?.packed ?? value.data;
  let out: Uint8Array | Uint16Array | Float32Array | typeof data = data;
  if (format === "F16") out = toFloat16(data);
  else if (format === "BF16") out = toBfloat16(data);
  else if (format === "F8_E4M3") out = toFloat8(data, "float8_e4m3fn");
  else if (format === "F8_E5M2") out = toFloat8(data, "float8_e5m2");
  else if (format === "F32" && value.dtype === "float64") out = Float32Array.from(data);
  if (out !== data) checkRange(name, data, out, format);
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
}

/** The codes behind the largest number. */
const ends: Partial<Record<FormatName, number>> = { F16: 0x7c00, BF16: 0x7f80, F8_E4M3: 0x7f, F8_E5M2: 0x7c };

function checkRange(name: string, data: ArrayLike<number>, out: ArrayLike<number>, format: FormatName): void {
  const end = ends[format] ?? Infinity;
  const sign = end > 0xff ? 0x8000 : 0x80;
  for (let i = 0; i < data.length; i++) {
    const written = end === Infinity ? Math.abs(out[i]) : out[i] & ~sign;
    if (written !== end || Number.isNaN(data[i])) continue;
    // F8_E4M3 has no infinity either.
    if (Number.isFinite(data[i]) || format === "F8_E4M3") {
      throw new DTypeError(
        `writeSafetensors: a value is beyond the range of ${format}, got ${data[i]} at index ${i} of ${show(name)}; scale it or choose a wider dtype`,
      );
    }
  }
}
