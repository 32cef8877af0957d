/** Factors of symmetric positive definite matrices, and of their inverses. Row-major (n, n) doubles. */

import { addScaled, dot } from "./rows.ts";

/**
 * Writes the lower factor L of A = L Lᵀ over A, of which it reads the lower triangle, and zeros above the diagonal.
 * Returns n, or the first row whose pivot is not a positive finite number: A is then not positive definite to working
 * precision, and its rows from there on are unfinished.
 */
export function cholesky(a: Float64Array, n: number): number {
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j < i; j++) a[row + j] = (a[row + j] - dot(a, row, a, j * n, j)) / a[j * n + j];
    const pivot = a[row + i] - dot(a, row, a, row, i);
    if (!(pivot > 0 && pivot < Infinity)) return i;
    a[row + i] = Math.sqrt(pivot);
    a.fill(0, row + i + 1, row + n);
  }
  return n;
}

/** Writes the inverse of a lower triangular L over it. Its diagonal holds no 0. */
export function invertLower(l: Float64Array, n: number): void {
  const row = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const at = i * n;
    row.fill(0);
    for (let k = 0; k < i; k++) addScaled(row, 0, l[at + k], l, k * n, k + 1);
    const pivot = l[at + i];
    for (let j = 0; j < i; j++) l[at + j] = -row[j] / pivot;
    l[at + i] = 1 / pivot;
  }
}

/**
 * Writes over a symmetric positive definite A, of which it reads the lower triangle, the upper U of its inverse,
 * A⁻¹ = Uᵀ U. Returns n, or the row of A at which it is not positive definite; what A then holds is unfinished.
 *
 * The inverse itself is never formed: A = R Rᵀ with an upper R, found from the last row up, and U is R⁻¹.
 */
export function inverseFactor(a: Float64Array, n: number): number {
  // Turned upside down and left to right, an upper factor is a lower one. The lower triangle lands in the upper.
  a.reverse();
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) a[i * n + j] = a[j * n + i];
  const done = cholesky(a, n);
  if (done < n) return n - 1 - done;
  invertLower(a, n);
  a.reverse();
  return n;
}

/** Writes over b (n) the solution x of L Lᵀ x = b. */
export function solveFactored(l: Float64Array, b: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) b[i] = (b[i] - dot(l, i * n, b, 0, i)) / l[i * n + i];
  for (let i = n - 1; i >= 0; i--) {
    b[i] /= l[i * n + i];
    addScaled(b, 0, -b[i], l, i * n, i);
  }
}
