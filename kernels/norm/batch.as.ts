/** batchNorm of float32 and its gradients; kernels/norm/reference.ts states the contract. */

import { Lanes, total } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";
import { loadRow, sumOf } from "../wasm/rows.as";
import { drift, high, low, squares } from "./distances.as";

const blockVectors: i32 = 64;
// Squares as small as these may be lost in lanes.
const leastSpread: f64 = 1e-30;

/**
 * batchNorm of `channels` channels, each n rows of `pixels` that lie `step` bytes apart. Where squares leave the range of
 * float lanes, a channel is done in double.
 */
export function batchNorm(
  out: usize,
  mean: usize,
  variance: usize,
  x: usize,
  weight: usize,
  bias: usize,
  channels: i32,
  n: i32,
  pixels: i32,
  step: i32,
  eps: f64,
): void {
  const count = (n as f64) * (pixels as f64);
  for (let k = 0; k < channels; k++, x += pixels * 4, out += pixels * 4) {
    let sum: f64 = 0;
    for (let i = 0; i < n; i++) sum += sumOf(x + i * step, pixels);
    const near = sum / count;
    let square: f64 = 0;
    let off: f64 = 0;
    for (let i = 0; i < n; i++) {
      square += squares(x + i * step, pixels, near);
      off += drift;
    }
    off /= count;
    let center = near + off;
    let spread = max(square / count - off * off, 0);
    const exact = !(square < Infinity) || spread < leastSpread;
    if (exact) {
      sum = 0;
      for (let i = 0; i < n; i++) sum += powers(x + i * step, pixels, 0, false);
      center = sum / count;
      square = 0;
      for (let i = 0; i < n; i++) square += powers(x + i * step, pixels, center, true);
      spread = square / count;
    }
    store<f64>(mean + k * 8, center);
    store<f64>(variance + k * 8, spread);
    const scale = 1 / sqrt(spread + eps);
    const factor: f64 = weight ? load<f32>(weight + k * 4) : 1;
    const shift: f64 = bias ? load<f32>(bias + k * 4) : 0;
    for (let i = 0; i < n; i++)
      if (exact || !(abs(scale * factor) < 3e38))
        doubleMap(out + i * step, x + i * step, pixels, center, scale, factor, shift);
      else map(out + i * step, x + i * step, pixels, center, scale * factor, shift);
  }
}

/** Σ (x − center), or of its squares, in double. */
function powers(x: usize, n: i32, center: f64, squared: bool): f64 {
  let sum: f64 = 0;
  for (; n > 0; n--, x += 4) {
    const d = (load<f32>(x) as f64) - center;
    sum += squared ? d * d : d;
  }
  return sum;
}

function doubleMap(to: usize, x: usize, n: i32, center: f64, scale: f64, factor: f64, shift: f64): void {
  for (; n > 0; n--, x += 4, to += 4)
    store<f32>(to, (((load<f32>(x) as f64) - center) * scale * factor + shift) as f32);
}

/** (x − center) · factor + shift. */
function map(to: usize, x: usize, n: i32, center: f64, factor: f64, shift: f64): void {
  const a = high(center);
  const scale = f32x4.splat(factor as f32);
  const rest = f32x4.splat((shift - (center - (center as f32 as f64)) * factor) as f32);
  for (; n >= 8; n -= 8, x += 32, to += 32) {
    v128.store(to, madd(f32x4.sub(v128.load(x), a), scale, rest));
    v128.store(to, madd(f32x4.sub(v128.load(x, 16), a), scale, rest), 16);
  }
  for (; n > 0; n -= 4, x += 16, to += 16) Lanes.store(to, madd(f32x4.sub(v128.load(x), a), scale, rest), n);
}

/** The gradients of `batchNorm`. */
export function batchNormGrad(
  dx: usize,
  dw: usize,
  db: usize,
  dOut: usize,
  x: usize,
  weight: usize,
  mean: usize,
  variance: usize,
  channels: i32,
  n: i32,
  pixels: i32,
  step: i32,
  eps: f64,
): void {
  const count = (n as f64) * (pixels as f64);
  const bytes = pixels * 4;
  for (let k = 0; k < channels; k++, x += bytes, dOut += bytes, dx += bytes) {
    const center = load<f64>(mean + k * 8);
    const a = high(center);
    const b = low(center);
    let sum: f64 = 0;
    let aligned: f64 = 0;
    for (let i = 0; i < n; i++) {
      let from = dOut + i * step;
      let beside = x + i * step;
      for (let left = pixels; left > 0; ) {
        let sums = f32x4.splat(0);
        let others = sums;
        let even = sums;
        let odd = sums;
        let pairs = min(left >> 3, blockVectors);
        left -= pairs << 3;
        for (; pairs > 0; pairs--, from += 32, beside += 32) {
          const d = v128.load(from);
          const e = v128.load(from, 16);
          sums = f32x4.add(sums, d);
          others = f32x4.add(others, e);
          even = madd(d, f32x4.sub(f32x4.sub(v128.load(beside), a), b), even);
          odd = madd(e, f32x4.sub(f32x4.sub(v128.load(beside, 16), a), b), odd);
        }
        if (left < 8)
          for (; left > 0; left -= 4, from += 16, beside += 16) {
            const d = loadRow(from, left, 0);
            const distance = f32x4.sub(f32x4.sub(loadRow(beside, left, 0), a), b);
            sums = f32x4.add(sums, d);
            even = madd(d, distance, even);
          }
        sum += total(f32x4.add(sums, others));
        aligned += total(f32x4.add(even, odd));
      }
    }
    const scale = count > 0 ? 1 / sqrt(load<f64>(variance + k * 8) + eps) : 0;
    store<f32>(dw + k * 4, (aligned * scale) as f32);
    store<f32>(db + k * 4, sum as f32);
    const factor: f64 = weight ? scale * load<f32>(weight + k * 4) : scale;
    const slope = (-factor * scale * scale * aligned) / count;
    const shift = (-factor * sum) / count - (center - (center as f32 as f64)) * slope;
    const factors = f32x4.splat(factor as f32);
    const slopes = f32x4.splat(slope as f32);
    const shifts = f32x4.splat(shift as f32);
    for (let i = 0; i < n; i++) {
      const at = i * step;
      let left = pixels;
      let from = dOut + at;
      let beside = x + at;
      let to = dx + at;
      for (; left >= 8; left -= 8, from += 32, beside += 32, to += 32) {
        const d = madd(v128.load(from), factors, shifts);
        const e = madd(v128.load(from, 16), factors, shifts);
        v128.store(to, madd(f32x4.sub(v128.load(beside), a), slopes, d));
        v128.store(to, madd(f32x4.sub(v128.load(beside, 16), a), slopes, e), 16);
      }
      for (; left > 0; left -= 4, from += 16, beside += 16, to += 16) {
        const d = madd(v128.load(from), factors, shifts);
        Lanes.store(to, madd(f32x4.sub(v128.load(beside), a), slopes, d), left);
      }
    }
  }
}
