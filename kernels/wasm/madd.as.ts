/** c + a · b: rounded twice in the plain build; in the relaxed one as the machine does it fastest, so once where it can. */
export function madd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}
