/** Numbers of any type as doubles and back, in AssemblyScript. Sizes are elements. */

import { Lanes } from "./lanes.as";

// The types, numbered as doubles.ts does.
export const FLOAT32 = 0;
export const FLOAT64 = 1;
export const INT32 = 2;
export const UINT32 = 3;
export const INT8 = 4;

/** Bytes of a number. */
export function widthOf(kind: i32): i32 {
  return kind === FLOAT64 ? 8 : kind < INT8 ? 4 : 1;
}

function high(v: v128): v128 {
  return v128.shuffle<i64>(v, v, 1, 1);
}

/** Writes n numbers as doubles, and up to three of any value behind them. */
export function widen(to: usize, from: usize, kind: i32, n: i32): void {
  const end = to + (n << 3);
  if (kind === FLOAT64) memory.copy(to, from, n << 3);
  else if (kind === FLOAT32)
    for (; to < end; to += 32, from += 16) {
      const v = v128.load(from);
      v128.store(to, f64x2.promote_low_f32x4(v));
      v128.store(to, f64x2.promote_low_f32x4(high(v)), 16);
    }
  else if (kind === UINT32)
    for (; to < end; to += 32, from += 16) {
      const v = v128.load(from);
      v128.store(to, f64x2.convert_low_i32x4_u(v));
      v128.store(to, f64x2.convert_low_i32x4_u(high(v)), 16);
    }
  else
    for (; to < end; to += 32) {
      let v: v128;
      if (kind === INT32) {
        v = v128.load(from);
        from += 16;
      } else {
        const bytes = v128.load32_zero(from);
        from += 4;
        v =
          kind === INT8
            ? i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(bytes))
            : i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
      }
      v128.store(to, f64x2.convert_low_i32x4_s(v));
      v128.store(to, f64x2.convert_low_i32x4_s(high(v)), 16);
    }
}

/** Four doubles without fractions, below 2⁵¹, as integers modulo 2³²: the low halves of their sums with 2⁵² + 2⁵¹. */
export function integers(from: usize): v128 {
  const lift = f64x2.splat(6755399441055744);
  const a = f64x2.add(v128.load(from), lift);
  return v128.shuffle<i32>(a, f64x2.add(v128.load(from, 16), lift), 0, 2, 4, 6);
}

/** Stores n doubles as an array of the type does; in integers they are without fractions and below 2⁵¹. */
export function narrow(to: usize, from: usize, kind: i32, n: i32): void {
  if (kind === FLOAT64) memory.copy(to, from, n << 3);
  else if (kind === FLOAT32)
    for (; n > 0; n -= 4, to += 16, from += 32) {
      const a = f32x4.demote_f64x2_zero(v128.load(from));
      const b = f32x4.demote_f64x2_zero(v128.load(from, 16));
      Lanes.store(to, v128.shuffle<i64>(a, b, 0, 2), n);
    }
  else if (kind <= UINT32) for (; n > 0; n -= 4, to += 16, from += 32) Lanes.store(to, integers(from), n);
  else {
    for (; n >= 16; n -= 16, to += 16, from += 128) {
      const a = v128.shuffle<i16>(integers(from), integers(from + 32), 0, 2, 4, 6, 8, 10, 12, 14);
      const b = v128.shuffle<i16>(integers(from + 64), integers(from + 96), 0, 2, 4, 6, 8, 10, 12, 14);
      v128.store(to, v128.shuffle<i8>(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
    }
    for (; n > 0; n--, to++, from += 8) v128.store8_lane(to, integers(from), 0);
  }
}
