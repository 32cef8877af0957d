/** PackedWeight: a weight matrix as codes of 1 to 8 bits and scales, or as float32 where it is not quantized. */

import { FormatError, OptionError, show } from "../errors.ts";
import { isInstance } from "../state.ts";
import { type CodeType, packedBytes, unpackCodes } from "./codes.ts";
import { lasting, room } from "./values.ts";

export interface CodedWeight extends CodeType {
  /** Rows, which are outputs, and codes a row. */
  readonly rows: number;
  readonly columns: number;
  /** Exactly ceil(columns · bits / 8) bytes a row. */
  readonly codes: Uint8Array;
  /** One scale, one a row, or with `group` one for every `group` codes of a row. */
  readonly scale: Float32Array;
  readonly group: number | null;
  /** float16 where every scale is one: what a file stores it as. */
  readonly scaleType: "float16" | "float32";
  /** What unsigned codes stand for, before the scale; null where they are the integers themselves. */
  readonly codebook: readonly number[] | null;
}

/** How many scales there are for a row, and 0 where one serves them all. */
export const scalesPerRow = ({ scale, rows, columns, group }: CodedWeight): number =>
  group !== null
    ? Math.ceil(columns / group)
    : scale.length === rows && rows > 1
      ? 1
      : scale.length === 1 && rows === 1
        ? 1
        : 0;

const brand: unique symbol = Symbol.for("bitgrad.packedWeight") as never;

/** A weight (rows, columns) that layers multiply by or look rows up in. */
export class PackedWeight {
  readonly rows: number;
  readonly columns: number;
  /** The matrix itself where it is not quantized. */
  readonly floats: Float32Array | null;
  readonly coded: CodedWeight | null;
  private twin: Float32Array | null = null;

  private constructor(rows: number, columns: number, floats: Float32Array | null, coded: CodedWeight | null) {
    this.rows = rows;
    this.columns = columns;
    this.floats = floats;
    this.coded = coded;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, PackedWeight, brand, value);
  }

  get [brand](): true {
    return true;
  }

  static ofFloats(floats: Float32Array, rows: number, columns: number): PackedWeight {
    checkCount("floats", floats.length, rows * columns);
    return new PackedWeight(rows, columns, floats, null);
  }

  /** Throws FormatError where sizes contradict each other or a code stands for nothing. */
  static ofCodes(coded: CodedWeight): PackedWeight {
    const { rows, columns, bits, signed, codes, scale, group, codebook } = coded;
    if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
      throw new FormatError(`PackedWeight: bits must be 1 to 8, got ${show(bits)}`);
    }
    if (group !== null && !(Number.isInteger(group) && group > 0)) {
      throw new FormatError(`PackedWeight: group must be a positive integer, got ${show(group)}`);
    }
    checkCount("bytes of codes", codes.length, rows * packedBytes(columns, bits));
    checkPadding(coded);
    const scales = group === null ? (scale.length === 1 ? 1 : rows) : rows * Math.ceil(columns / group);
    checkCount("scales", scale.length, rows * columns === 0 ? scale.length : scales);
    if (scale.some((s) => !(Math.abs(s) < Infinity))) {
      throw new FormatError("PackedWeight: scales must be finite, got NaN or infinity");
    }
    if (codebook !== null && (signed || codebook.length < 2 ** bits)) {
      throw new FormatError(
        `PackedWeight: needs ${2 ** bits} levels for unsigned codes, got ${codebook.length}`,
      );
    }
    return new PackedWeight(rows, columns, null, coded);
  }

  /** `floats` where kernels read them in place: copied to the heap at first use. */
  get operand(): Float32Array {
    if (this.twin === null) {
      this.twin = lasting(this.floats!.length);
      this.twin.set(this.floats!);
    }
    return this.twin;
  }

  /** Bits of an element. */
  get bits(): number {
    return this.coded?.bits ?? 32;
  }

  /** Bytes of codes and scales as stored. */
  get byteLength(): number {
    if (this.floats) return this.floats.byteLength;
    const { codes, scale, scaleType } = this.coded!;
    return codes.length + scale.length * (scaleType === "float16" ? 2 : 4);
  }

  /** The codes of all rows, int8, or uint8 where they have no sign. */
  unpacked(): Int8Array | Uint8Array {
    if (!this.coded) throw new OptionError("PackedWeight: a float32 weight has no codes, got none");
    return unpackCodes(this.coded.codes, this.rows, this.columns, this.coded);
  }

  /** The whole matrix as float32, until the run ends. */
  dequantized(): Float32Array {
    const { rows, columns } = this;
    const out = room(rows * columns);
    for (let r = 0; r < rows; r++) this.readRow(out.subarray(r * columns, (r + 1) * columns), r);
    return out;
  }

  /** Writes row r as float32: (code · scale) rounded once, as `dequantize` gives it. */
  readRow(out: Float32Array, r: number): void {
    const { columns, coded } = this;
    if (coded === null) {
      out.set(this.floats!.subarray(r * columns, (r + 1) * columns));
      return;
    }
    const { bits, codes, scale, group, codebook } = coded;
    const stride = packedBytes(columns, bits);
    const row = unpackCodes(codes.subarray(r * stride, (r + 1) * stride), 1, columns, coded);
    const perRow = scalesPerRow(coded);
    const step = group ?? columns;
    for (let i = 0; i < columns; i++) {
      const s = scale[perRow === 0 ? 0 : r * perRow + (perRow === 1 ? 0 : Math.floor(i / step))];
      out[i] = (codebook ? Math.fround(codebook[row[i]]) : row[i]) * s + 0;
    }
  }
}

/** Products of whole bytes read what lies behind the last code of a row: it is 0. */
function checkPadding({ rows, columns, bits, codes }: CodedWeight): void {
  const stride = packedBytes(columns, bits);
  const used = 8 - (stride * 8 - columns * bits);
  for (let r = 0; r < rows && used < 8; r++) {
    if (codes[(r + 1) * stride - 1] >> used !== 0) {
      throw new FormatError(`PackedWeight: bits behind the last code must be 0, got row ${r} with others`);
    }
  }
}

function checkCount(what: string, got: number, want: number): void {
  if (got !== want) throw new FormatError(`PackedWeight: needs ${want} ${what}, got ${got}`);
}
