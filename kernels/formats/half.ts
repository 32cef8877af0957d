/**
 * float16, bfloat16 and the two float8, which files hold and tensors do not. Widening is exact; narrowing rounds half to even.
 * Micikevicius et al., 2022, arXiv:2209.05433.
 */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
const f64 = new Float64Array(1);
/** Its lower word and its upper: sign, 11 bits of exponent, and mantissa. */
const words = new Uint32Array(f64.buffer);

function halfToFloat(h: number): number {
  const exponent = (h >>> 10) & 31;
  const mantissa = h & 1023;
  const sign = h & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

let halves: Float32Array | null = null;

/** float16 bit patterns as float32. */
export function widenFloat16(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, h) => halfToFloat(h));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = halves[bits[i]];
  return out;
}

/** bfloat16 bit patterns as float32: they are the upper half of its bits. */
export function widenBfloat16(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i] << 16;
  return new Float32Array(out.buffer);
}

/** Names as PyTorch's. */
export type Float8 = "float8_e4m3fn" | "float8_e5m2";

/** The number of a float8 code: e5m2 is the upper half of a float16, and e4m3fn has no infinity and one NaN a sign. */
function eighthToFloat(code: number, kind: Float8): number {
  if (kind === "float8_e5m2") return halfToFloat(code << 8);
  const field = (code >>> 3) & 15;
  const sign = code & 0x80 ? -1 : 1;
  if ((code & 0x7f) === 0x7f) return Number.NaN;
  return sign * (field === 0 ? code & 7 : (8 + (code & 7)) * 2 ** (field - 1)) * 2 ** -9;
}

/** float8 codes as float32. */
export function widenFloat8(codes: Uint8Array, kind: Float8): Float32Array {
  const table = Float32Array.from({ length: 256 }, (_, code) => eighthToFloat(code, kind));
  const out = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]];
  return out;
}

/** A float of few bits. */
interface Narrow {
  /** Stored bits of its mantissa. */
  readonly mantissa: number;
  /** The exponent of its smallest normal number. */
  readonly least: number;
  /** The code behind its largest number: infinity, or NaN where there is none. */
  readonly end: number;
  readonly nan: number;
  readonly sign: number;
}

const float16: Narrow = { mantissa: 10, least: -14, end: 0x7c00, nan: 0x7e00, sign: 0x8000 };
const bfloat16: Narrow = { mantissa: 7, least: -126, end: 0x7f80, nan: 0x7fc0, sign: 0x8000 };
const float8: Readonly<Record<Float8, Narrow>> = {
  float8_e4m3fn: { mantissa: 3, least: -6, end: 0x7f, nan: 0x7f, sign: 0x80 },
  float8_e5m2: { mantissa: 2, least: -14, end: 0x7c, nan: 0x7f, sign: 0x80 },
};

/** The code of `x` in a narrow float. Every step is exact in double, so that float64 is rounded once and not by way of float32. */
function narrow(x: number, { mantissa, least, end, nan, sign: minus }: Narrow): number {
  f64[0] = x;
  const upper = words[1];
  const sign = upper >>> 31 === 1 ? minus : 0;
  if (Number.isNaN(x)) return sign | nan;
  const size = Math.abs(x);
  if (size === Infinity) return sign | end;
  const exponent = Math.max(((upper >>> 20) & 0x7ff) - 1023, least);
  words[0] = 0;
  words[1] = (1023 + mantissa - exponent) << 20;
  const steps = size * f64[0]; // 2^(mantissa − exponent)
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  // A carry out of the mantissa steps the exponent, as it should, up to the end. Subnormals have exponent field 0, and the
  // leading bit of normal numbers adds the 1 that theirs lacks here.
  return sign | Math.min(((exponent - least) << mantissa) + floor + (up ? 1 : 0), end);
}

/** The nearest float8 codes; beyond the range, as PyTorch's cast: infinity in e5m2, NaN in e4m3fn. */
export function toFloat8(values: ArrayLike<number>, kind: Float8): Uint8Array {
  const out = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = narrow(values[i], float8[kind]);
  return out;
}

/** The nearest float16 bit patterns; beyond the range, infinity. */
export function toFloat16(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = narrow(values[i], float16);
  return out;
}

/** The largest power of two up to a positive number. */
export function powerBelow(x: number): number {
  f64[0] = x;
  words[0] = 0;
  words[1] &= 0x7ff00000;
  return f64[0];
}

/** A positive number rounded, half to even, to so many bits below its first one. */
function toBits(x: number, bits: number): number {
  // What leaves so many bits of a double: adding and taking it away rounds half to even.
  const magic = powerBelow(x) * 1.5 * 2 ** (52 - bits);
  return x + magic - magic;
}

// Half-way to what would be the next number, both give infinity.

/** The nearest float16 of a number that is at least 2^−14, its least normal number; beyond the range, infinity. */
export const nearestHalf = (x: number): number => (x >= 65520 ? Infinity : toBits(x, 10));

/** The nearest bfloat16 of a number that is at least 2^−126, its least normal number; beyond the range, infinity. */
export const nearestBfloat16 = (x: number): number => (x >= 255.5 * 2 ** 120 ? Infinity : toBits(x, 7));

/** The nearest bfloat16 bit patterns; beyond the range, infinity. */
export function toBfloat16(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    f32[0] = values[i];
    // Exactly a float32: round its bits, which carries as it should.
    if (f32[0] === values[i] && Number.isFinite(f32[0]))
      out[i] = (u32[0] + 0x7fff + ((u32[0] >>> 16) & 1)) >>> 16;
    else out[i] = narrow(values[i], bfloat16);
  }
  return out;
}
