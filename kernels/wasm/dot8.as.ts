/**
 * acc + a · b over pairs of bytes, in lanes of int16: a is int8, b is at most 127, as relaxed SIMD needs it to be exact. In
 * the relaxed build alone.
 */
export function dot8(acc: v128, a: v128, b: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(a, b)) : acc;
}
