/** PackedWeight: a weight matrix as codes of 1 to 8 bits and scales, or as float32 where it is not quantized. */

import { packSigns } from "../../../kernels/bits.ts";
import type { BitFilters } from "../../../kernels/conv-b1/simd.ts";
import type { FloatWeights } from "../../../kernels/gemm-i4/reference.ts";
import type { PairWeights } from "../../../kernels/lookup/simd.ts";
import { kernelZeros, zeroKind } from "../../../kernels/zeros.ts";
import { isFloat32Array } from "../../dtype.ts";
import { checkInteger, FormatError, isPlainObject, OptionError, ShapeError, show } from "../../errors.ts";
import { isInstance } from "../../state.ts";
import { lasting, room } from "../values.ts";
import { type CodeType, packedBytes, ternaryRows, unpackCodes, unpackColumns } from "./codes.ts";

export interface CodedWeight extends CodeType {
  /** Rows, which are outputs, and codes a row. */
  readonly rows: number;
  readonly columns: number;
  /** Exactly ceil(columns · bits / 8) bytes a row. */
  readonly codes: Uint8Array;
  /** One scale, one a row, or with `group` one for every `group` codes of a row. */
  readonly scale: Float32Array;
  readonly group: number | null;
  /** float16 only where every scale is one: what a file stores it as. */
  readonly scaleType: "float16" | "float32";
  /** What unsigned codes stand for, before the scale; null where they are the integers themselves. */
  readonly codebook: readonly number[] | null;
  /** One for each scale, subtracted from its codes, which have no sign then; left out, 0. */
  readonly zeroPoint?: Float32Array | null;
}

/** The index of the first number that float16 does not hold, or −1. */
export function noHalf(numbers: Float32Array): number {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  return numbers.findIndex((x, i) => {
    const size = Math.abs(x);
    // Below 2^−14 halves are the multiples of 2^−24; from there on they have 13 bits less than float32.
    return size < 2 ** -14 ? !Number.isInteger(x * 2 ** 24) : !(size < 65536) || (words[i] & 8191) !== 0;
  });
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

/** What `make` gives, made anew when nobody has held it for a while. */
function passing<T extends object>(make: () => T): () => T {
  let made: WeakRef<T> | null = null;
  return () => {
    const value = made?.deref() ?? make();
    made = new WeakRef(value);
    return value;
  };
}

/**
 * A weight (rows, columns) that layers multiply by or look rows up in.
 *
 * @example
 * ```ts
 * import { PackedWeight } from "bitgrad/packed";
 *
 * const weight = PackedWeight.ofCodes({
 *   ...{ rows: 1, columns: 2, bits: 8, signed: true, codes: Uint8Array.of(3, 255) },
 *   ...{ scale: Float32Array.of(0.5), scaleType: "float32", group: null, codebook: null },
 * });
 * const row = new Float32Array(2);
 * weight.readRow(row, 0);
 * console.log(Array.from(row)); // [1.5, -0.5]
 * ```
 */
export class PackedWeight {
  readonly rows: number;
  readonly columns: number;
  /** The matrix itself where it is not quantized. */
  readonly floats: Float32Array | null;
  readonly coded: CodedWeight | null;
  /** The kinds of kernel whose filters it is. */
  readonly kernels = new Set<string>();
  private twin: Float32Array | null = null;
  private ints: FloatWeights | null = null;
  private scaled: Float32Array | null = null;
  private pairs: PairWeights | null | undefined;
  private readonly filters = new Map<number, BitFilters>();

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

  /** Throws FormatError unless there are rows x columns numbers, OptionError for sizes that are none. */
  static ofFloats(floats: Float32Array, rows: number, columns: number): PackedWeight {
    checkFloats(floats);
    for (const [name, count] of Object.entries({ rows, columns }))
      checkInteger("PackedWeight", name, count, 0);
    if (floats.length !== rows * columns)
      throw new FormatError(`PackedWeight: needs ${rows} x ${columns} floats, got ${floats.length}`);
    return new PackedWeight(rows, columns, floats, null);
  }

  /** Throws FormatError where sizes contradict each other or a code stands for nothing. */
  static ofCodes(coded: CodedWeight): PackedWeight {
    if (!isPlainObject(coded)) throw new FormatError(`PackedWeight: needs codes, got ${show(coded)}`);
    const { rows, columns, bits, signed, codes, scale, group, codebook } = coded;
    checkFloats(scale);
    if (!ArrayBuffer.isView(codes)) throw new FormatError(`PackedWeight: needs bytes, got ${show(codes)}`);
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
    for (const numbers of [scale, coded.zeroPoint ?? scale]) {
      if (numbers.every(Number.isFinite)) continue;
      throw new FormatError("PackedWeight: zero points and scales must be finite, got NaN or infinity");
    }
    const odd = coded.scaleType === "float16" ? noHalf(scale) : -1;
    if (odd >= 0) {
      throw new FormatError(`PackedWeight: float16 scales must be float16 numbers, got ${scale[odd]}`);
    }
    if (codebook !== null && (signed || !(codebook?.length >= 2 ** bits))) {
      throw new FormatError(
        `PackedWeight: needs ${2 ** bits} levels for unsigned codes, got ${codebook?.length}`,
      );
    }
    const { zeroPoint } = coded;
    if (zeroPoint && (signed || codebook)) {
      throw new FormatError(
        `PackedWeight: ${signed ? "codes with a sign" : "levels"} have no zero points, got ${zeroPoint.length}`,
      );
    }
    if (zeroPoint) checkCount("zero points", zeroPoint.length, scale.length);
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
    const { codes, scale, scaleType, zeroPoint } = this.coded!;
    const zeroBytes = !zeroPoint ? 0 : zeroKind(zeroPoint, this.bits) === "float" ? 4 : 1;
    return codes.length + scale.length * ((scaleType === "float16" ? 2 : 4) + zeroBytes);
  }

  /** The codes of all rows, int8, or uint8 where they have no sign. */
  unpacked(): Int8Array | Uint8Array {
    if (!this.coded) throw new OptionError("PackedWeight: a float32 weight has no codes, got none");
    return unpackCodes(this.coded.codes, this.rows, this.columns, this.coded);
  }

  /** The codes as kernels take them: one object, so that all layers of the weight share what is laid out of it. */
  get kernelWeights(): FloatWeights {
    if (this.ints) return this.ints;
    const { rows: n, columns: k, bits, coded } = this;
    const { group, codebook } = coded!;
    const codes = passing(() => this.unpacked());
    const each = (x: Float32Array) => (scalesPerRow(coded!) === 0 ? new Float32Array(n).fill(x[0]) : x);
    this.ints = {
      n,
      k,
      bits,
      get codes() {
        return codes();
      },
      ...(group !== null && { group }),
      scale: each(this.integerScale),
      ...(codebook && { codebook: Float32Array.from(codebook) }),
      ...(coded!.zeroPoint && kernelZeros(each(coded!.zeroPoint), bits)),
    };
    return this.ints;
  }

  /** What the integers that kernels multiply are scaled by: where zero points lie between codes, those are twice as large. */
  get integerScale(): Float32Array {
    const { coded } = this;
    const { zeroPoint, scale } = coded!;
    this.scaled ??= zeroPoint && zeroKind(zeroPoint, this.bits) === "half" ? scale.map((s) => s / 2) : scale;
    return this.scaled;
  }

  /**
   * Rows of signs or of ternary digits, as lookup takes them; null for other weights, and for groups with scales of their
   * own.
   */
  get pairWeights(): PairWeights | null {
    if (this.pairs !== undefined) return this.pairs;
    const { rows: n, columns: k, coded } = this;
    const { bits, signed, codes, scale, zeroPoint } = coded!;
    const digits = passing(() => ternaryRows(codes, n, k) ?? codes);
    const served = bits <= 2 && signed && !zeroPoint && k > 0 && scale.length <= Math.max(1, n);
    this.pairs =
      !served || (bits === 2 && digits() === codes)
        ? null
        : {
            n,
            k,
            get rows() {
              return bits === 1 ? codes : digits();
            },
          };
    return this.pairs;
  }

  /** Signs of filters of so many taps, tap by tap where they are stored channel by channel. */
  bitFilters(taps: number): BitFilters {
    const known = this.filters.get(taps);
    if (known) return known;
    const channels = this.columns / taps;
    const rows = passing(() => {
      const codes = this.kernelWeights.codes;
      const ordered = new Int8Array(codes.length);
      for (let o = 0; o < this.rows; o++)
        for (let t = 0; t < taps; t++)
          for (let c = 0; c < channels; c++)
            ordered[(o * taps + t) * channels + c] = codes[(o * channels + c) * taps + t];
      return packSigns(ordered, this.rows * taps, channels);
    });
    const made = {
      get rows() {
        return rows();
      },
    };
    this.filters.set(taps, made);
    return made;
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
    if (!(Number.isInteger(r) && r >= 0 && r < this.rows && isFloat32Array(out) && out.length === columns)) {
      throw new ShapeError(
        `PackedWeight: needs ${columns} float32 numbers and a row below ${this.rows}, got ${show(out)} and ${show(r)}`,
      );
    }
    if (coded === null) {
      out.set(this.floats!.subarray(r * columns, (r + 1) * columns));
      return;
    }
    const stride = packedBytes(columns, coded.bits);
    const row = unpackCodes(coded.codes.subarray(r * stride, (r + 1) * stride), 1, columns, coded);
    const value = valueOf(coded);
    for (let i = 0; i < columns; i++) out[i] = value(row[i], r, i);
  }
}

/** What the code of row r and column i stands for. */
function valueOf(coded: CodedWeight): (code: number, r: number, i: number) => number {
  const { columns, scale, group, codebook, zeroPoint } = coded;
  const perRow = scalesPerRow(coded);
  const step = group ?? columns;
  return (code, r, i) => {
    const at = perRow === 0 ? 0 : r * perRow + (perRow === 1 ? 0 : Math.floor(i / step));
    const value = codebook ? codebook[code] : zeroPoint ? code - zeroPoint[at] : code;
    return Math.fround(Math.fround(value) * scale[at]) + 0;
  };
}

/** The numbers that `readRow` gives of some columns, as rows of so many. They outlast the run: `giveBack`. */
export function readColumns(coded: CodedWeight, some: readonly number[]): Float32Array {
  const { rows, columns } = coded;
  const out = lasting(rows * some.length);
  const codes = unpackColumns(coded.codes, rows, columns, coded, some);
  const value = valueOf(coded);
  for (let r = 0, at = 0; r < rows; r++) {
    for (const i of some) {
      out[at] = value(codes[at], r, i);
      at++;
    }
  }
  return out;
}

function checkFloats(numbers: unknown): void {
  if (isFloat32Array(numbers)) return;
  throw new FormatError(`PackedWeight: needs float32 numbers, got ${show(numbers)}`);
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
