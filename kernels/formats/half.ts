/** float16 and bfloat16, the halves that files hold and tensors do not. Widening is exact; narrowing rounds half to even. */

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

/**
 * The bits of `x` in a float of `mantissa` stored bits and exponents from `least` (of the smallest normal number) to `most`.
 * Every step is exact in double, so that float64 is rounded once and not by way of float32.
 */
function narrow(x: number, mantissa: number, least: number, most: number): number {
  f64[0] = x;
  const upper = words[1];
  const sign = (upper >>> 16) & 0x8000;
  const infinity = (most - least + 2) << mantissa;
  if (Number.isNaN(x)) return sign | infinity | (1 << (mantissa - 1));
  const size = Math.abs(x);
  if (size === Infinity) return sign | infinity;
  const exponent = Math.max(((upper >>> 20) & 0x7ff) - 1023, least);
  words[0] = 0;
  words[1] = (1023 + mantissa - exponent) << 20;
  const steps = size * f64[0]; // 2^(mantissa − exponent)
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  // A carry out of the mantissa steps the exponent, as it should, up to infinity. Subnormals have exponent field 0, and the
  // leading bit of normal numbers adds the 1 that theirs lacks here.
  return sign | Math.min(((exponent - least) << mantissa) + floor + (up ? 1 : 0), infinity);
}

/** The nearest float16 bit patterns; beyond the range, infinity. */
export function toFloat16(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = narrow(values[i], 10, -14, 15);
  return out;
}

/** The nearest bfloat16 bit patterns; beyond the range, infinity. */
export function toBfloat16(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    f32[0] = values[i];
    // Exactly a float32: round its bits, which carries as it should.
    if (f32[0] === values[i] && Number.isFinite(f32[0]))
      out[i] = (u32[0] + 0x7fff + ((u32[0] >>> 16) & 1)) >>> 16;
    else out[i] = narrow(values[i], 7, -126, 127);
  }
  return out;
}
