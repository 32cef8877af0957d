/** What the factorizations do to rows of row-major matrices of doubles: each runs through memory in order. */

/** The sum of the products of two rows, from an offset each. Four sums run side by side and are added pairwise. */
export function dot(a: Float64Array, atA: number, b: Float64Array, atB: number, length: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) {
    s0 += a[atA + i] * b[atB + i];
    s1 += a[atA + i + 1] * b[atB + i + 1];
    s2 += a[atA + i + 2] * b[atB + i + 2];
    s3 += a[atA + i + 3] * b[atB + i + 3];
  }
  for (let i = whole; i < length; i++) s0 += a[atA + i] * b[atB + i];
  return s0 + s1 + (s2 + s3);
}

/** to += factor · from. */
export function addScaled(
  to: Float64Array,
  atTo: number,
  factor: number,
  from: Float64Array,
  atFrom: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[atTo + i] += factor * from[atFrom + i];
}

/** Turns two rows in their plane: (p, q) becomes (c p − s q, s p + c q). */
export function rotate(
  rows: Float64Array,
  atP: number,
  atQ: number,
  c: number,
  s: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) {
    const p = rows[atP + i];
    const q = rows[atQ + i];
    rows[atP + i] = c * p - s * q;
    rows[atQ + i] = s * p + c * q;
  }
}

/** (columns, rows) of a (rows, columns). */
export function transposed(a: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(a.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j];
  return out;
}

/** What lies so far below the largest number of a matrix is 0: no rounding error is so small, and its square is a number. */
export const nothing = 1e-100;

/**
 * `a` times the power of two that brings its largest magnitude to 1 or a little below, so that no square overflows, and
 * without what vanishes beside it; then the power.
 */
export function scaled(a: Float64Array): [scaled: Float64Array, scale: number] {
  let most = 0;
  for (const value of a) most = Math.max(most, Math.abs(value));
  // 2^1023 is the largest power there is, and 2^-1022 the smallest whose inverse is one.
  const scale = most === 0 ? 1 : 2 ** -Math.min(1022, Math.max(-1022, Math.ceil(Math.log2(most))));
  return [a.map((value) => (Math.abs(value * scale) < nothing ? 0 : value * scale)), scale];
}
