/**
 * softmax and logSoftmax of float32 rows on the heap, and their gradients, in AssemblyScript; kernels/softmax/reference.ts
 * states the contract. A result may be the very array of an input.
 */

export * from "./columns.as";

import { expRow, logOf } from "../wasm/exp-rows.as";
import { Lanes, total } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";
import { Float4 } from "../wasm/math.as";
import { loadRow, maxOf, sumOf } from "../wasm/rows.as";

// Groups of four vectors whose products are added in float before they go on in double.
const blockGroups: i32 = 16;

/** row = row · factor. */
function scaleRow(row: usize, n: i32, factor: f32): void {
  const by = f32x4.splat(factor);
  if (n >= 16)
    do {
      const a = f32x4.mul(v128.load(row), by);
      const b = f32x4.mul(v128.load(row, 16), by);
      const c = f32x4.mul(v128.load(row, 32), by);
      const d = f32x4.mul(v128.load(row, 48), by);
      v128.store(row, a);
      v128.store(row, b, 16);
      v128.store(row, c, 32);
      v128.store(row, d, 48);
      row += 64;
      n -= 16;
    } while (n >= 16);
  for (; n > 0; n -= 4, row += 16) Lanes.store(row, f32x4.mul(v128.load(row), by), n);
}

export function softmax(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, x += n * 4, out += n * 4)
    scaleRow(out, n, (1 / expRow(out, x, n, maxOf(x, n))) as f32);
}

export function logSoftmax(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--) {
    const most = maxOf(x, n);
    const log = f32x4.splat(logOf(expRow(0, x, n, most)) as f32);
    const shift = f32x4.splat(most);
    let left = n;
    if (left >= 8)
      do {
        const a = f32x4.sub(f32x4.sub(v128.load(x), shift), log);
        const b = f32x4.sub(f32x4.sub(v128.load(x, 16), shift), log);
        v128.store(out, a);
        v128.store(out, b, 16);
        x += 32;
        out += 32;
        left -= 8;
      } while (left >= 8);
    for (let at = 0; at < left; at += 4)
      Lanes.store(out + at * 4, f32x4.sub(f32x4.sub(v128.load(x + at * 4), shift), log), left - at);
    x += left * 4;
    out += left * 4;
  }
}

/** Σ a · b. */
function dot(a: usize, b: usize, n: i32): f64 {
  let sum: f64 = 0;
  for (; n >= 16; n -= 16 * blockGroups) {
    let even = f32x4.splat(0);
    let odd = even;
    let count = min(n >> 4, blockGroups);
    do {
      even = madd(v128.load(a), v128.load(b), even);
      odd = madd(v128.load(a, 16), v128.load(b, 16), odd);
      even = madd(v128.load(a, 32), v128.load(b, 32), even);
      odd = madd(v128.load(a, 48), v128.load(b, 48), odd);
      a += 64;
      b += 64;
    } while (--count > 0);
    sum += total(f32x4.add(even, odd));
  }
  n &= 15;
  let rest = f32x4.splat(0);
  for (; n > 0; n -= 4, a += 16, b += 16) rest = madd(loadRow(a, n, 0), loadRow(b, n, 0), rest);
  return sum + total(rest);
}

export function softmaxGrad(dx: usize, dOut: usize, out: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--) {
    const shift = f32x4.splat(dot(dOut, out, n) as f32);
    let left = n;
    if (left >= 8)
      do {
        const a = f32x4.mul(v128.load(out), f32x4.sub(v128.load(dOut), shift));
        const b = f32x4.mul(v128.load(out, 16), f32x4.sub(v128.load(dOut, 16), shift));
        v128.store(dx, a);
        v128.store(dx, b, 16);
        dx += 32;
        dOut += 32;
        out += 32;
        left -= 8;
      } while (left >= 8);
    for (let at = 0; at < left; at += 4) {
      const v = f32x4.mul(v128.load(out + at * 4), f32x4.sub(v128.load(dOut + at * 4), shift));
      Lanes.store(dx + at * 4, v, left - at);
    }
    dx += left * 4;
    dOut += left * 4;
    out += left * 4;
  }
}

export function logSoftmaxGrad(dx: usize, dOut: usize, out: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--) {
    const scale = f32x4.splat(-sumOf(dOut, n) as f32);
    let left = n;
    if (left >= 8)
      do {
        const a = madd(Float4.expFalling(v128.load(out)), scale, v128.load(dOut));
        const b = madd(Float4.expFalling(v128.load(out, 16)), scale, v128.load(dOut, 16));
        v128.store(dx, a);
        v128.store(dx, b, 16);
        dx += 32;
        dOut += 32;
        out += 32;
        left -= 8;
      } while (left >= 8);
    for (let at = 0; at < left; at += 4) {
      const v = madd(Float4.expFalling(v128.load(out + at * 4)), scale, v128.load(dOut + at * 4));
      Lanes.store(dx + at * 4, v, left - at);
    }
    dx += left * 4;
    dOut += left * 4;
    out += left * 4;
  }
}

/** out = log Σ exp of each row: an infinity or NaN that makes it stands for itself. */
export function logSumExp(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, out += 4, x += n * 4) {
    const most = maxOf(x, n);
    let sum: f32 = most;
    if (abs(most) < Infinity) sum += logOf(expRow(0, x, n, most)) as f32;
    else for (let i = 0; i < n; i++) if (isNaN(load<f32>(x + i * 4))) sum = NaN;
    store<f32>(out, sum);
  }
}
