/**
 * layerNorm and rmsNorm over rows, batchNorm over channels, and their gradients.
 *
 * Layout: x, out, dx and dOut are (rows, n); weight, bias, dw and db are (n); mean and rstd are (rows); all contiguous. For
 * batchNorm they are (n, c, pixels), and all others (c).
 * Exactness: statistics and sums run in double (the variance in two passes, divided by n), each result is rounded once.
 * The gradients read mean and rstd as stored, so pass doubles to lose nothing.
 * Memory: the caller allocates everything; results are overwritten. dw and db sum over the rows in double scratch.
 */

import type { FloatArray } from "../../src/dtype.ts";

export interface RowSizes {
  rows: number;
  n: number;
}

export interface ChannelSizes {
  n: number;
  c: number;
  pixels: number;
}

/** out = (x − mean) · rstd · weight + bias with rstd = 1/√(variance + eps); also writes mean and rstd. */
export function layerNorm(
  out: FloatArray,
  mean: FloatArray,
  rstd: FloatArray,
  x: FloatArray,
  weight: FloatArray | null,
  bias: FloatArray | null,
  { rows, n }: RowSizes,
  eps: number,
): void {
  for (let r = 0; r < rows; r++) {
    const start = r * n;
    let sum = 0;
    for (let i = 0; i < n; i++) sum += x[start + i];
    const center = sum / n;
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const d = x[start + i] - center;
      squares += d * d;
    }
    const scale = 1 / Math.sqrt(squares / n + eps);
    for (let i = 0; i < n; i++) {
      const normal = (x[start + i] - center) * scale;
      out[start + i] = (weight === null ? normal : normal * weight[i]) + (bias === null ? 0 : bias[i]);
    }
    mean[r] = center;
    rstd[r] = scale;
  }
}

/** The gradients of `layerNorm`; a null result is not computed. */
export function layerNormGrad(
  dx: FloatArray | null,
  dw: FloatArray | null,
  db: FloatArray | null,
  dOut: FloatArray,
  x: FloatArray,
  weight: FloatArray | null,
  mean: FloatArray,
  rstd: FloatArray,
  { rows, n }: RowSizes,
): void {
  const weightSums = new Float64Array(dw === null ? 0 : n);
  const biasSums = new Float64Array(db === null ? 0 : n);
  for (let r = 0; r < rows; r++) {
    const start = r * n;
    const center = mean[r];
    const scale = rstd[r];
    let gradSum = 0;
    let alignedSum = 0;
    for (let i = 0; i < n; i++) {
      const normal = (x[start + i] - center) * scale;
      const d = dOut[start + i];
      if (dw !== null) weightSums[i] += d * normal;
      if (db !== null) biasSums[i] += d;
      const g = weight === null ? d : d * weight[i];
      gradSum += g;
      alignedSum += g * normal;
    }
    if (dx === null) continue;
    const gradMean = gradSum / n;
    const alignedMean = alignedSum / n;
    for (let i = 0; i < n; i++) {
      const normal = (x[start + i] - center) * scale;
      const g = weight === null ? dOut[start + i] : dOut[start + i] * weight[i];
      dx[start + i] = scale * (g - gradMean - normal * alignedMean);
    }
  }
  dw?.set(weightSums);
  db?.set(biasSums);
}

/** out = x · rstd · weight with rstd = 1/√(mean of x² + eps); also writes rstd. arXiv 1910.07467. */
export function rmsNorm(
  out: FloatArray,
  rstd: FloatArray,
  x: FloatArray,
  weight: FloatArray | null,
  { rows, n }: RowSizes,
  eps: number,
): void {
  for (let r = 0; r < rows; r++) {
    const start = r * n;
    let squares = 0;
    for (let i = 0; i < n; i++) squares += x[start + i] * x[start + i];
    const scale = 1 / Math.sqrt(squares / n + eps);
    for (let i = 0; i < n; i++) {
      const normal = x[start + i] * scale;
      out[start + i] = weight === null ? normal : normal * weight[i];
    }
    rstd[r] = scale;
  }
}

/** The gradients of `rmsNorm`; a null result is not computed. */
export function rmsNormGrad(
  dx: FloatArray | null,
  dw: FloatArray | null,
  dOut: FloatArray,
  x: FloatArray,
  weight: FloatArray | null,
  rstd: FloatArray,
  { rows, n }: RowSizes,
): void {
  const weightSums = new Float64Array(dw === null ? 0 : n);
  for (let r = 0; r < rows; r++) {
    const start = r * n;
    const scale = rstd[r];
    let alignedSum = 0;
    for (let i = 0; i < n; i++) {
      const normal = x[start + i] * scale;
      const d = dOut[start + i];
      if (dw !== null) weightSums[i] += d * normal;
      alignedSum += (weight === null ? d : d * weight[i]) * normal;
    }
    if (dx === null) continue;
    const alignedMean = alignedSum / n;
    for (let i = 0; i < n; i++) {
      const g = weight === null ? dOut[start + i] : dOut[start + i] * weight[i];
      dx[start + i] = scale * (g - x[start + i] * scale * alignedMean);
    }
  }
  dw?.set(weightSums);
}

/** out = (x − mean) · rstd · weight + bias, rstd = 1/√(variance + eps), by channels; also writes mean and variance. */
export function batchNorm(
  out: FloatArray,
  mean: Float64Array,
  variance: Float64Array,
  x: FloatArray,
  weight: FloatArray | null,
  bias: FloatArray | null,
  { n, c, pixels }: ChannelSizes,
  eps: number,
): void {
  mean.fill(0);
  variance.fill(0);
  for (let image = 0, i = 0; image < n; image++)
    for (let k = 0; k < c; k++) for (const end = i + pixels; i < end; i++) mean[k] += x[i];
  for (let k = 0; k < c; k++) mean[k] /= n * pixels;
  for (let image = 0, i = 0; image < n; image++)
    for (let k = 0; k < c; k++)
      for (const end = i + pixels; i < end; i++) variance[k] += (x[i] - mean[k]) ** 2;
  for (let k = 0; k < c; k++) variance[k] /= n * pixels;
  const scales = variance.map((spread) => 1 / Math.sqrt(spread + eps));
  for (let image = 0, i = 0; image < n; image++)
    for (let k = 0; k < c; k++)
      for (const end = i + pixels; i < end; i++) {
        const normal = (x[i] - mean[k]) * scales[k];
        out[i] = (weight === null ? normal : normal * weight[k]) + (bias === null ? 0 : bias[k]);
      }
}

/** The gradients of `batchNorm`, through its statistics too. */
export function batchNormGrad(
  dx: FloatArray,
  dw: FloatArray,
  db: FloatArray,
  dOut: FloatArray,
  x: FloatArray,
  weight: FloatArray | null,
  mean: Float64Array,
  variance: Float64Array,
  { n, c, pixels }: ChannelSizes,
  eps: number,
): void {
  const sums = new Float64Array(c);
  const aligned = new Float64Array(c);
  const scales = variance.map((spread) => 1 / Math.sqrt(spread + eps));
  for (let image = 0, i = 0; image < n; image++)
    for (let k = 0; k < c; k++)
      for (const end = i + pixels; i < end; i++) {
        sums[k] += dOut[i];
        aligned[k] += dOut[i] * (x[i] - mean[k]) * scales[k];
      }
  dw.set(aligned);
  db.set(sums);
  const count = n * pixels;
  for (let image = 0, i = 0; image < n; image++)
    for (let k = 0; k < c; k++) {
      const factor = weight === null ? scales[k] : scales[k] * weight[k];
      for (const end = i + pixels; i < end; i++) {
        const normal = (x[i] - mean[k]) * scales[k];
        dx[i] = factor * (dOut[i] - sums[k] / count - (normal * aligned[k]) / count);
      }
    }
}
