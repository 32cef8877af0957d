/**
 * layerNorm, rmsNorm and batchNorm of float32 on the heap, and their gradients, in AssemblyScript; kernels/norm/reference.ts
 * states the contract. mean and rstd hold doubles; an address of 0 is an array that is not there. A mean is subtracted in
 * two float parts, so that rows far from 0 keep their digits.
 */

export * from "./batch.as";

import { Lanes, total } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";
import { loadRow, sumOf } from "../wasm/rows.as";
import { drift, high, low, squares } from "./distances.as";

const blockVectors: i32 = 64;
// Rows whose gradients of weight and bias are added in scratch before they go on.
const blockRows: i32 = 32;

function scaleRow(out: usize, x: usize, weight: usize, bias: usize, n: i32, center: f64, rstd: f64): void {
  const a = high(center);
  const scale = f32x4.splat(rstd as f32);
  const shift = f32x4.neg(f32x4.mul(low(center), scale));
  if (n >= 8 && weight && bias)
    do {
      const v = madd(madd(f32x4.sub(v128.load(x), a), scale, shift), v128.load(weight), v128.load(bias));
      const u = madd(f32x4.sub(v128.load(x, 16), a), scale, shift);
      v128.store(out, v);
      v128.store(out, madd(u, v128.load(weight, 16), v128.load(bias, 16)), 16);
      out += 32;
      x += 32;
      weight += 32;
      bias += 32;
      n -= 8;
    } while (n >= 8);
  for (let at = 0; n > 0; n -= 4, at += 16) {
    let v = madd(f32x4.sub(v128.load(x + at), a), scale, shift);
    if (weight) v = f32x4.mul(v, v128.load(weight + at));
    if (bias) v = f32x4.add(v, v128.load(bias + at));
    Lanes.store(out + at, v, n);
  }
}

/** A row in double, of layerNorm or of rmsNorm where `mean` is 0. */
function doubleRow(
  out: usize,
  mean: usize,
  rstd: usize,
  x: usize,
  weight: usize,
  bias: usize,
  n: i32,
  eps: f64,
): void {
  const bytes = n * 4;
  let center: f64 = 0;
  if (mean) {
    for (let at = 0; at < bytes; at += 4) center += load<f32>(x + at);
    center /= n as f64;
    store<f64>(mean, center);
  }
  let square: f64 = 0;
  for (let at = 0; at < bytes; at += 4) {
    const d = (load<f32>(x + at) as f64) - center;
    square += d * d;
  }
  const scale = 1 / sqrt(square / (n as f64) + eps);
  store<f64>(rstd, scale);
  for (let at = 0; at < bytes; at += 4) {
    let v = ((load<f32>(x + at) as f64) - center) * scale;
    if (weight) v *= load<f32>(weight + at);
    if (bias) v += load<f32>(bias + at);
    store<f32>(out + at, v as f32);
  }
}

export function layerNorm(
  out: usize,
  mean: usize,
  rstd: usize,
  x: usize,
  weight: usize,
  bias: usize,
  rows: i32,
  n: i32,
  eps: f64,
): void {
  for (; rows > 0; rows--, mean += 8, rstd += 8, x += n * 4, out += n * 4) {
    const near = sumOf(x, n) / (n as f64);
    const square = squares(x, n, near) / (n as f64);
    // The sum of large numbers is rounded, that of their distances hardly: it mends the mean and the variance.
    const off = drift / (n as f64);
    const center = near + off;
    const scale = 1 / sqrt(max(square - off * off, 0) + eps);
    // Squares of large numbers overflow float lanes.
    if (!(square < Infinity)) {
      doubleRow(out, mean, rstd, x, weight, bias, n, eps);
      continue;
    }
    store<f64>(mean, center);
    store<f64>(rstd, scale);
    scaleRow(out, x, weight, bias, n, center, scale);
  }
}

export function rmsNorm(out: usize, rstd: usize, x: usize, weight: usize, rows: i32, n: i32, eps: f64): void {
  for (; rows > 0; rows--, rstd += 8, x += n * 4, out += n * 4) {
    const square = squares(x, n, 0);
    if (!(square < Infinity)) {
      doubleRow(out, 0, rstd, x, weight, 0, n, eps);
      continue;
    }
    const scale = 1 / sqrt(square / (n as f64) + eps);
    store<f64>(rstd, scale);
    scaleRow(out, x, weight, 0, n, 0, scale);
  }
}

/** The gradients of layerNorm, or of rmsNorm where `mean` is 0. scratch has room for 6 (n + 3) floats. */
export function normGrad(
  dx: usize,
  dw: usize,
  db: usize,
  dOut: usize,
  x: usize,
  weight: usize,
  mean: usize,
  rstd: usize,
  rows: i32,
  n: i32,
  scratch: usize,
): void {
  const bytes = ((n + 3) & ~3) * 4;
  const weightSums = dw ? scratch : 0;
  const biasSums = db ? scratch + bytes : 0;
  // The blocks of rows, in double.
  const weightTotals = scratch + 2 * bytes;
  const biasTotals = scratch + 4 * bytes;
  memory.fill(scratch, 0, 6 * bytes);
  for (let r = 0; r < rows; r++) {
    const center = mean ? load<f64>(mean + r * 8) : 0;
    const a = high(center);
    const b = low(center);
    const scale = f32x4.splat(load<f64>(rstd + r * 8) as f32);
    let gradSum: f64 = 0;
    let alignedSum: f64 = 0;
    let at = 0;
    let left = n;
    while (left > 0) {
      let sum = f32x4.splat(0);
      let aligned = sum;
      for (let i = min((left + 3) >> 2, blockVectors); i > 0; i--, left -= 4, at += 16) {
        const normal = f32x4.mul(f32x4.sub(f32x4.sub(loadRow(x + at, left, 0), a), b), scale);
        const d = loadRow(dOut + at, left, 0);
        if (weightSums) v128.store(weightSums + at, madd(d, normal, v128.load(weightSums + at)));
        if (biasSums) v128.store(biasSums + at, f32x4.add(d, v128.load(biasSums + at)));
        const g = weight ? f32x4.mul(d, loadRow(weight + at, left, 0)) : d;
        sum = f32x4.add(sum, g);
        aligned = madd(g, normal, aligned);
      }
      gradSum += total(sum);
      alignedSum += total(aligned);
    }
    if (dx) {
      const gradMean = f32x4.splat(mean ? ((gradSum / (n as f64)) as f32) : 0);
      const alignedMean = f32x4.splat(-(alignedSum / (n as f64)) as f32);
      for (at = 0, left = n; left > 0; left -= 4, at += 16) {
        const normal = f32x4.mul(f32x4.sub(f32x4.sub(v128.load(x + at), a), b), scale);
        let g = v128.load(dOut + at);
        if (weight) g = f32x4.mul(g, v128.load(weight + at));
        Lanes.store(dx + at, f32x4.mul(scale, madd(normal, alignedMean, f32x4.sub(g, gradMean))), left);
      }
      dx += n * 4;
    }
    x += n * 4;
    dOut += n * 4;
    if ((r + 1) % blockRows === 0 || r + 1 === rows) {
      if (dw) flush(weightTotals, weightSums, n);
      if (db) flush(biasTotals, biasSums, n);
    }
  }
  for (let i = 0; i < n; i++) {
    if (dw) store<f32>(dw + i * 4, load<f64>(weightTotals + i * 8) as f32);
    if (db) store<f32>(db + i * 4, load<f64>(biasTotals + i * 8) as f32);
  }
}

/** totals += sums, which are cleared. */
function flush(totals: usize, sums: usize, n: i32): void {
  for (; n > 0; n -= 4, totals += 32, sums += 16) {
    const v = v128.load(sums);
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
    v128.store(totals, f64x2.add(v128.load(totals), low));
    v128.store(totals, f64x2.add(v128.load(totals, 16), high), 16);
    v128.store(sums, f32x4.splat(0));
  }
}
