/** Eigenvalues and eigenvectors of symmetric matrices. */

import { addScaled, dot, nothing, rotate, scaled, transposed } from "./rows.ts";

export interface Eigen {
  /** (n), ascending. */
  readonly values: Float64Array;
  /** (n, n): row i is the eigenvector of value i; the rows are orthonormal. */
  readonly vectors: Float64Array;
}

/** Steps of one eigenvalue; two are usual. */
const most = 60;

/**
 * A = Vᵀ diag(values) V of a symmetric (n, n) A of finite numbers, of which it reads the lower triangle; A stays as it is.
 * Householder reflections make it tridiagonal, and QL steps with implicit shifts diagonal. Its errors are a small multiple
 * of n · 2⁻⁵² of the largest eigenvalue. Returns null for numbers that are not finite.
 */
export function eigh(a: Float64Array, n: number): Eigen | null {
  if (!a.every(Number.isFinite)) return null;
  const [work, scale] = scaled(a);
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) work[j * n + i] = work[i * n + j];
  const beside = new Float64Array(n);
  const vectors = transposed(tridiagonal(work, n, beside), n, n);
  const values = Float64Array.from({ length: n }, (_, i) => work[i * n + i]);
  if (!diagonal(values, beside, vectors, n)) return null;
  const order = [...values.keys()].sort((i, j) => values[i] - values[j]);
  const sorted = new Float64Array(n * n);
  order.forEach((from, to) => {
    sorted.set(vectors.subarray(from * n, from * n + n), to * n);
  });
  return { values: Float64Array.from(order, (i) => values[i] / scale), vectors: sorted };
}

/**
 * Makes the full symmetric `a` tridiagonal, T = Qᵀ A Q: its diagonal stays in `a`, what lies beside goes to
 * `beside` (n − 1 of n). Returns Q.
 */
function tridiagonal(a: Float64Array, n: number, beside: Float64Array): Float64Array {
  const factors = new Float64Array(n);
  const w = new Float64Array(n);
  for (let k = 0; k + 1 < n; k++) {
    // The reflection I − f v vᵀ that leaves of row k, right of the diagonal, the first number alone. v replaces the row.
    const from = k * n + k + 1;
    const length = n - k - 1;
    const tail = dot(a, from + 1, a, from + 1, length - 1);
    const head = a[from];
    if (tail < nothing ** 2) {
      beside[k] = head;
      continue;
    }
    const norm = Math.sqrt(head * head + tail);
    const left = head > 0 ? -norm : norm;
    beside[k] = left;
    a[from] = head - left;
    const f = -1 / (left * a[from]);
    factors[k] = f;
    // A −= v wᵀ + w vᵀ, where w = p − (f vᵀp / 2) v and p = f A v.
    for (let i = 0; i < length; i++) w[i] = f * dot(a, (k + 1 + i) * n + k + 1, a, from, length);
    addScaled(w, 0, (-f / 2) * dot(w, 0, a, from, length), a, from, length);
    for (let i = 0; i < length; i++) {
      const row = (k + 1 + i) * n + k + 1;
      const v = a[from + i];
      for (let j = 0; j < length; j++) a[row + j] -= v * w[j] + w[i] * a[from + j];
    }
  }
  const q = new Float64Array(n * n);
  for (let i = 0; i < n; i++) q[i * n + i] = 1;
  for (let k = n - 3; k >= 0; k--) {
    if (factors[k] === 0) continue;
    const from = k * n + k + 1;
    const length = n - k - 1;
    w.fill(0, 0, length);
    for (let i = 0; i < length; i++) addScaled(w, 0, a[from + i], q, (k + 1 + i) * n + k + 1, length);
    for (let i = 0; i < length; i++)
      addScaled(q, (k + 1 + i) * n + k + 1, -factors[k] * a[from + i], w, 0, length);
  }
  return q;
}

/** The largest sum of magnitudes of a number of the diagonal and of the one beside it. */
function sizeOf(d: Float64Array, e: Float64Array): number {
  let most = 0;
  for (let i = 0; i < d.length; i++) most = Math.max(most, Math.abs(d[i]) + Math.abs(e[i]));
  return most;
}

/**
 * QL steps on the tridiagonal matrix of `d` and `e`, in place: d becomes the eigenvalues, and the rows of `vectors` turn
 * with them. False where an eigenvalue is not found.
 */
function diagonal(d: Float64Array, e: Float64Array, vectors: Float64Array, n: number): boolean {
  // What rounding has left of eigenvalues of 0, as of XᵀX of few rows, would take many steps by its own size.
  const little = Math.max(nothing, Number.EPSILON * sizeOf(d, e));
  for (let low = 0; low < n; low++) {
    for (let step = 0; ; step++) {
      // The block from `low` ends where what lies beside vanishes in rounding.
      let high = low;
      while (high + 1 < n && Math.abs(e[high]) > little) high++;
      if (high === low) break;
      if (step === most) return false;
      // Wilkinson's shift: the eigenvalue of the first two rows that is nearer to the first.
      const half = (d[low + 1] - d[low]) / (2 * e[low]);
      const root = Math.hypot(half, 1);
      let g = d[high] - d[low] + e[low] / (half + (half < 0 ? -root : root));
      let s = 1;
      let c = 1;
      let p = 0;
      let i = high - 1;
      for (; i >= low; i--) {
        const f = s * e[i];
        const b = c * e[i];
        const r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          // The block falls in two.
          d[i + 1] -= p;
          e[high] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        rotate(vectors, i * n, (i + 1) * n, c, s, n);
      }
      if (i >= low) continue;
      d[low] -= p;
      e[low] = g;
      e[high] = 0;
    }
  }
  return true;
}
