/**
 * Blocks of many rows with seven products of halves for eight: Strassen (Gaussian Elimination is not Optimal, 1969) in
 * Winograd's form, one level deep. Rows are halved by panels of 5, columns by panels of 8, both in turns, and k in the middle.
 * Sums of four activations, or of four codes, fit int16, and all else wraps where the result does not, so the sums are the
 * same integers.
 *
 * With A the activations, B the codes, and the second index that of k for A and of the columns for B:
 *
 *     S1 = A21 + A22    S2 = S1 − A11    S3 = A11 − A21    S4 = A12 − S2
 *     T1 = B12 − B11    T2 = B22 − T1    T3 = B22 − B12    T4 = B21 − T2
 *     C11 = A11 B11 + A12 B21                C12 = A11 B11 + S2 T2 + S1 T1 + S4 B22
 *     C21 = A11 B11 + S2 T2 + S3 T3 + A22 T4     C22 = A11 B11 + S2 T2 + S3 T3 + S1 T1
 */

import { tile16, tileRows } from "./tile.as";

/** A panel of activations, half of its k, is followed by its other half, then by those of the next panel. */
export function sumActivations(to: usize, a: usize, half: i32, pairs: i32): void {
  for (let p = 0; p < pairs; p++, a += 3 * half, to += 3 * half)
    for (const end = a + half; a < end; a += 16, to += 16) {
      const a11 = v128.load(a);
      const a21 = v128.load(a + 2 * half);
      const s1 = i16x8.add(a21, v128.load(a + 3 * half));
      const s2 = i16x8.sub(s1, a11);
      v128.store(to, s1);
      v128.store(to + half, s2);
      v128.store(to + 2 * half, i16x8.sub(a11, a21));
      v128.store(to + 3 * half, i16x8.sub(v128.load(a + half), s2));
    }
}

/** Four codes of each of four rows, as int16 in pairs along k. */
class Quad {
  @inline static first(v: v128): v128 {
    return v128.shuffle<i32>(i16x8.extend_low_i8x16_u(v), i16x8.extend_high_i8x16_u(v), 0, 2, 4, 6);
  }

  @inline static second(v: v128): v128 {
    return v128.shuffle<i32>(i16x8.extend_low_i8x16_u(v), i16x8.extend_high_i8x16_u(v), 1, 3, 5, 7);
  }

  /** B11, B21, B22, T1 … T4 at `to`, `half` bytes apart. */
  @inline static sums(to: usize, half: i32, b11: v128, b21: v128, b12: v128, b22: v128): void {
    const t1 = i16x8.sub(b12, b11);
    const t2 = i16x8.sub(b22, t1);
    v128.store(to, b11);
    v128.store(to + half, b21);
    v128.store(to + 2 * half, b22);
    v128.store(to + 3 * half, t1);
    v128.store(to + 4 * half, t2);
    v128.store(to + 5 * half, i16x8.sub(b22, b12));
    v128.store(to + 6 * half, i16x8.sub(b21, t2));
  }
}

/** What `seven` reads of two panels of spread codes: their first halves, of `quads` quads, and their second ones. */
export function sumCodes(to: usize, left: usize, right: usize, quads: i32): void {
  const half = quads * 64;
  const next = quads * 32;
  for (const end = left + next; left < end; left += 32, right += 32, to += 64)
    for (let at: usize = 0; at < 32; at += 16) {
      const b11 = v128.load(left + at);
      const b21 = v128.load(left + at + next);
      const b12 = v128.load(right + at);
      const b22 = v128.load(right + at + next);
      Quad.sums(to + at, half, Quad.first(b11), Quad.first(b21), Quad.first(b12), Quad.first(b22));
      Quad.sums(to + at + 32, half, Quad.second(b11), Quad.second(b21), Quad.second(b12), Quad.second(b22));
    }
}

function products(to: usize, a: usize, b: usize, quads: i32, pairs: i32, more: bool): void {
  for (let p = 0; p < pairs; p++, to += 2 * tileRows * 32, a += 4 * quads * 40)
    tile16(to, a, b, quads * 2, more);
}

/** Copies the sums of every other panel. */
function copy(to: usize, from: usize, pairs: i32): void {
  for (let p = 0; p < pairs; p++, to += 2 * tileRows * 32, from += 2 * tileRows * 32)
    memory.copy(to, from, tileRows * 32);
}

/**
 * The sums of `pairs` pairs of row panels, left and right of two column panels: activations `a`, their sums `s`, and codes `b`,
 * halves of `quads` quads.
 */
export function seven(left: usize, right: usize, a: usize, s: usize, b: usize, quads: i32, pairs: i32): void {
  const lower: usize = tileRows * 32;
  const ha = quads * 40;
  const hb = quads * 64;
  products(left, a, b, quads, pairs, false);
  copy(right, left, pairs);
  products(right, s + ha, b + 4 * hb, quads, pairs, true);
  copy(left + lower, right, pairs);
  products(left + lower, s + 2 * ha, b + 5 * hb, quads, pairs, true);
  products(right + lower, s, b + 3 * hb, quads, pairs, false);
  for (let p = 0, at: usize = 0; p < pairs; p++, at += 2 * lower)
    for (let i = at; i < at + lower; i += 16) {
      const sum = v128.load(right + lower + i);
      v128.store(right + i, i32x4.add(v128.load(right + i), sum));
      v128.store(right + lower + i, i32x4.add(v128.load(left + lower + i), sum));
    }
  products(right, s + 3 * ha, b + 2 * hb, quads, pairs, true);
  products(left + lower, a + 3 * ha, b + 6 * hb, quads, pairs, true);
  products(left, a + ha, b + hb, quads, pairs, true);
}
