/** The IDX files of MNIST and its kin. */

import { type DType, isBytes, newArray } from "../dtype.ts";
import { FormatError, OptionError, readOptions, show } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";
import { gunzip, isGzip } from "./bytes.ts";

type Element = { dtype: DType; bytes: number; read: (view: DataView, at: number) => number };

const elements: Record<number, Element> = {
  8: { dtype: "uint8", bytes: 1, read: (view, at) => view.getUint8(at) },
  9: { dtype: "int8", bytes: 1, read: (view, at) => view.getInt8(at) },
  11: { dtype: "int32", bytes: 2, read: (view, at) => view.getInt16(at) },
  12: { dtype: "int32", bytes: 4, read: (view, at) => view.getInt32(at) },
  13: { dtype: "float32", bytes: 4, read: (view, at) => view.getFloat32(at) },
  14: { dtype: "float64", bytes: 8, read: (view, at) => view.getFloat64(at) },
};

/**
 * The tensor in an IDX file, gzipped or not: two zero bytes, the type, the rank, a big-endian uint32 size an axis, then the
 * elements. All six types are read; int16 becomes int32. Throws FormatError where header and length disagree, and for a
 * gzipped file of more than `maxBytes` (1 GiB) unpacked.
 *
 * @example
 * ```ts
 * import { idx } from "bitgrad/data";
 *
 * const file = new Uint8Array([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]); // bytes, one axis of 3
 * console.log((await idx(file)).toArray()); // [7, 8, 9]
 * ```
 */
export async function idx(bytes: Uint8Array, options?: { maxBytes?: number }): Promise<Tensor> {
  const { maxBytes } = readOptions("idx", options, { maxBytes: 2 ** 30 });
  if (!(maxBytes > 0)) throw new OptionError(`idx: maxBytes must be above 0, got ${show(maxBytes)}`);
  if (!isBytes(bytes)) throw new OptionError(`idx: expected a Uint8Array, got ${show(bytes)}`);
  return readIdx(isGzip(bytes) ? await gunzip("idx", bytes, maxBytes) : bytes);
}

/** As `idx`, of bytes that are unpacked. */
export function readIdx(bytes: Uint8Array): Tensor {
  const element = bytes.length >= 4 && bytes[0] === 0 && bytes[1] === 0 ? elements[bytes[2]] : undefined;
  if (element === undefined) {
    throw new FormatError(`idx: not an IDX header, got bytes ${Array.from(bytes.subarray(0, 4)).join(" ")}`);
  }
  const rank = bytes[3];
  const start = 4 + 4 * rank;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < start) {
    throw new FormatError(`idx: the header is cut, got ${bytes.length} bytes for ${rank} axes`);
  }
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const size = sizeOf(shape);
  if (size * element.bytes !== bytes.length - start) {
    throw new FormatError(
      `idx: header and length disagree, got shape ${show(shape)} of ${element.bytes}-byte elements and ${bytes.length - start} bytes`,
    );
  }
  const data = newArray(element.dtype, size);
  if (data instanceof Uint8Array) data.set(bytes.subarray(start));
  else for (let i = 0; i < size; i++) data[i] = element.read(view, start + i * element.bytes);
  return wrap(data, Object.freeze(shape), element.dtype);
}
