/** Sums and products of signs that no packed weight holds today: scales of rows and columns, and two orders of signs. */

import { rowRuns } from "./fit.ts";

const signOf = (x: number): number => (x < 0 ? -1 : 1);
/** 0 / 0 is 0: a row or a column of zeros has the scale 0. */
const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b);

/**
 * rowScale · columnScale · sign: each side's scales are found anew for the other's, by turns, from the mean magnitudes of
 * the rows and those of the columns about them. ARB-RC of ARB-LLM, Li et al., 2024, arXiv:2410.03129.
 */
export function rowColumnSigns(
  weight: Float64Array,
  rows: number,
  columns: number,
  iterations: number,
): Float64Array {
  const size = Float64Array.from(weight, Math.abs);
  const ofRow = new Float64Array(rows);
  const ofColumn = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += size[i * columns + j];
    ofRow[i] = sum / columns;
    for (let j = 0; j < columns; j++) ofColumn[j] += ratio(size[i * columns + j], ofRow[i]) / rows;
  }
  for (let t = 0; t < iterations; t++) {
    turn(ofRow, rows, ofColumn, columns, (i, j) => size[i * columns + j]);
    turn(ofColumn, columns, ofRow, rows, (j, i) => size[i * columns + j]);
  }
  return weight.map((w, at) => signOf(w) * ofRow[Math.floor(at / columns)] * ofColumn[at % columns]);
}

/** The best scales of one side for those of the other. */
function turn(
  out: Float64Array,
  n: number,
  other: Float64Array,
  m: number,
  at: (i: number, j: number) => number,
): void {
  let squares = 0;
  for (let j = 0; j < m; j++) squares += other[j] ** 2;
  for (let i = 0; i < n; i++) {
    let sum = 0;
    for (let j = 0; j < m; j++) sum += at(i, j) * other[j];
    out[i] = ratio(sum, squares);
  }
}

/**
 * What `orders` times mean + scale · sign, each of what those before left, make of the elements of each row that `chosen`
 * holds; 0 elsewhere. `binarize` of BiLLM, Huang et al., 2024, arXiv:2402.04291, but that the sign of 0 is +1.
 */
export function residualSigns(
  weight: Float64Array,
  rows: number,
  columns: number,
  orders: number,
  chosen: Uint8Array | null = null,
): Float64Array {
  const values = new Float64Array(weight.length);
  for (const [[from, to]] of rowRuns(rows, columns)) {
    const at: number[] = [];
    for (let i = from; i < to; i++) if (chosen === null || chosen[i] === 1) at.push(i);
    if (at.length === 0) continue;
    for (let order = 0; order < orders; order++) {
      const rest = at.map((i) => weight[i] - values[i]);
      const mean = rest.reduce((sum, r) => sum + r, 0) / rest.length;
      const scale = rest.reduce((sum, r) => sum + Math.abs(r - mean), 0) / rest.length;
      at.forEach((i, n) => {
        values[i] += mean + scale * signOf(rest[n] - mean);
      });
    }
  }
  return values;
}

/**
 * Of each row mean ± first ± second, from two orders of `residualSigns`: by turns the mean, either scale, and for each
 * element the nearest of the four numbers. No turn makes the squared error larger. ARB-LLM's second order.
 */
export function secondOrderSigns(
  weight: Float64Array,
  rows: number,
  columns: number,
  iterations: number,
): Float64Array {
  const values = residualSigns(weight, rows, columns, 2);
  if (iterations === 0) return values;
  for (const [[from, to]] of rowRuns(rows, columns)) {
    values.set(secondOrder(weight.subarray(from, to), iterations), from);
  }
  return values;
}

const meanOf = (x: Float64Array): number => x.reduce((sum, v) => sum + v, 0) / x.length;

function secondOrder(w: Float64Array, iterations: number): Float64Array {
  const start = meanOf(w);
  const first = w.map((v) => signOf(v - start));
  let a = meanOf(w.map((v) => Math.abs(v - start)));
  const left = w.map((v, i) => v - start - a * first[i]);
  const shift = meanOf(left);
  const second = left.map((v) => signOf(v - shift));
  let b = meanOf(left.map((v) => Math.abs(v - shift)));
  let mean = start + shift;
  for (let t = 0; t < iterations; t++) {
    mean = meanOf(w.map((v, i) => v - a * first[i] - b * second[i]));
    a = meanOf(w.map((v, i) => first[i] * (v - mean - b * second[i])));
    b = meanOf(w.map((v, i) => second[i] * (v - mean - a * first[i])));
    for (let i = 0; i < w.length; i++) {
      let least = Infinity;
      for (const [f, s] of [
        [1, 1],
        [1, -1],
        [-1, 1],
        [-1, -1],
      ]) {
        const off = Math.abs(w[i] - mean - a * f - b * s);
        if (off < least) [least, first[i], second[i]] = [off, f, s];
      }
    }
  }
  return w.map((_, i) => mean + a * first[i] + b * second[i]);
}
