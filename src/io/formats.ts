/** The element types of safetensors files and the tensors they become. */

import { toBfloat16, toFloat16, widenBfloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import type { DType } from "../dtype.ts";
import { DTypeError, FormatError, show } from "../errors.ts";
import type { FormatName } from "../safetensors/formats.ts";
import type { Shape } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";

/** What becomes of elements that no dtype here holds. */
export interface Conversions {
  /** Reads float16 and bfloat16, exactly, as float32; without it they are a DTypeError. */
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

const half = (format: string, widenBits: (bits: Uint16Array) => Float32Array): Format => ({
  decode(bytes, shape, name, { widen }) {
    if (!widen) {
      throw new DTypeError(
        `readSafetensors: ${format} is not a dtype, got it for ${show(name)}; pass { widen: true } to read it as float32`,
      );
    }
    return wrap(widenBits(viewAs(Uint16Array, bytes)), shape, "float32") as Tensor;
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
  F16: half("float16", widenFloat16),
  BF16: half("bfloat16", widenBfloat16),
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

/** The dtype that the floats of a file are stored in. */
export type StoredFloat = "float32" | "float16" | "bfloat16";

const storedFormat: Readonly<Record<StoredFloat, FormatName>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/** The format a tensor is written in: that of its dtype, or for floats the one asked for. */
export const formatFor = (dtype: DType, stored: StoredFloat | undefined): FormatName =>
  stored !== undefined && (dtype === "float32" || dtype === "float64")
    ? storedFormat[stored]
    : ownFormat[dtype];

/** The elements of a tensor as bytes of `format`. A finite number that would become infinite is a DTypeError. */
export function encode(name: string, value: Tensor, format: FormatName): Uint8Array {
  const { data } = value;
  let out: Uint16Array | Float32Array | typeof data = data;
  if (format === "F16") out = toFloat16(data);
  else if (format === "BF16") out = toBfloat16(data);
  else if (format === "F32" && value.dtype === "float64") out = Float32Array.from(data);
  if (out !== data) checkRange(name, data, out, format);
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
}

const infinities: Partial<Record<FormatName, number>> = { F16: 0x7c00, BF16: 0x7f80, F32: Infinity };

function checkRange(
  name: string,
  data: ArrayLike<number>,
  out: Uint16Array | ArrayLike<number>,
  format: FormatName,
): void {
  const infinity = infinities[format];
  for (let i = 0; i < data.length; i++) {
    const written = out instanceof Uint16Array ? out[i] & 0x7fff : Math.abs(out[i]);
    if (written === infinity && Number.isFinite(data[i])) {
      throw new DTypeError(
        `writeSafetensors: a value is beyond the range of ${format}, got ${data[i]} at index ${i} of ${show(name)}; scale it or choose a wider dtype`,
      );
    }
  }
}
