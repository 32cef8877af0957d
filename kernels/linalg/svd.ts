/** Singular values and vectors of any matrix. */

import { eigh } from "./eigh.ts";
import { addScaled, dot, nothing, rotate, scaled, transposed } from "./rows.ts";

export interface Svd {
  /** (k, m), k the smaller of m and n: row i is the left vector of value i; the rows are orthonormal. */
  readonly left: Float64Array;
  /** (k), descending, none negative. */
  readonly values: Float64Array;
  /** (k, n): row i is the right vector of value i; the rows are orthonormal. */
  readonly right: Float64Array;
}

/** Sweeps over all pairs; two or three are usual. */
const most = 30;

/**
 * A = leftᵀ diag(values) right of an (m, n) A of finite numbers. The eigenvectors of AᵀA make its columns nearly
 * orthogonal, and Jacobi's rotations quite so (Hestenes 1958), which also finds small values to the precision of the
 * largest. Returns null for numbers that are not finite.
 */
export function svd(a: Float64Array, m: number, n: number): Svd | null {
  if (m < n) {
    const turned = svd(transposed(a, m, n), n, m);
    return turned && { left: turned.right, values: turned.values, right: turned.left };
  }
  if (!a.every(Number.isFinite)) return null;
  const [work, scale] = scaled(a);
  const columns = transposed(work, m, n);
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) gram[i * n + j] = dot(columns, i * m, columns, j * m, m);
  const first = eigh(gram, n);
  if (first === null) return null;
  const right = first.vectors;
  // Row i is A times the i-th right vector.
  const images = new Float64Array(n * m);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) addScaled(images, i * m, right[i * n + j], columns, j * m, m);
  if (!orthogonal(images, right, m, n)) return null;
  const norms = Float64Array.from({ length: n }, (_, i) => Math.sqrt(dot(images, i * m, images, i * m, m)));
  const order = [...norms.keys()].sort((i, j) => norms[j] - norms[i]);
  const found = {
    left: new Float64Array(n * m),
    values: Float64Array.from(order, (i) => norms[i] / scale),
    right: new Float64Array(n * n),
  };
  order.forEach((from, to) => {
    found.right.set(right.subarray(from * n, from * n + n), to * n);
    if (norms[from] > 0) addScaled(found.left, to * m, 1 / norms[from], images, from * m, m);
    else complete(found.left, to, m);
  });
  return found;
}

/** Turns pairs of rows of `images`, and those of `right` with them, until all are orthogonal. False where they never are. */
function orthogonal(images: Float64Array, right: Float64Array, m: number, n: number): boolean {
  const squares = new Float64Array(n);
  const tolerance = Number.EPSILON * Math.sqrt(m);
  for (let sweep = 0; sweep < most; sweep++) {
    for (let i = 0; i < n; i++) {
      squares[i] = dot(images, i * m, images, i * m, m);
      if (squares[i] < nothing ** 2) images.fill(0, i * m, i * m + m);
    }
    let turned = false;
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const both = dot(images, p * m, images, q * m, m);
        if (Math.abs(both) <= tolerance * Math.sqrt(squares[p]) * Math.sqrt(squares[q])) continue;
        turned = true;
        const ratio = (squares[q] - squares[p]) / (2 * both);
        const t = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.hypot(ratio, 1));
        const c = 1 / Math.hypot(t, 1);
        rotate(images, p * m, q * m, c, c * t, m);
        rotate(right, p * n, q * n, c, c * t, n);
        squares[p] = Math.max(0, squares[p] - t * both);
        squares[q] += t * both;
      }
    if (!turned) return true;
  }
  return false;
}

/** Writes into row `k` a unit vector that is orthogonal to the rows before: of the axes, the one that they hold least of. */
function complete(rows: Float64Array, k: number, m: number): void {
  let axis = 0;
  let least = Infinity;
  for (let j = 0; j < m; j++) {
    let held = 0;
    for (let i = 0; i < k; i++) held += rows[i * m + j] ** 2;
    if (held < least) [axis, least] = [j, held];
  }
  rows[k * m + axis] = 1;
  // Twice, since once leaves rounding errors of the size of what is subtracted.
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < k; i++) addScaled(rows, k * m, -dot(rows, i * m, rows, k * m, m), rows, i * m, m);
    const norm = Math.sqrt(dot(rows, k * m, rows, k * m, m));
    for (let j = 0; j < m; j++) rows[k * m + j] /= norm;
  }
}
