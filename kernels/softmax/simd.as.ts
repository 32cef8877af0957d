/**
 * softmax and logSoftmax of float32 rows on the heap, and their gradients, in AssemblyScript; kernels/softmax/reference.ts
 * states the contract. A result may be the very array of an input.
 */

import { expRow, logOf } from "../wasm/exp-rows.as";
import { storePart, total } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";
import { Float4 } from "../wasm/math.as";
import { loadRow, maxOf, sumOf } from "../wasm/rows.as";

const blockVectors: i32 = 64;

function storeRow(out: usize, v: v128, left: i32): void {
  if (left >= 4) v128.store(out, v);
  else storePart(out, v, left);
}

export function softmax(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, x += n * 4, out += n * 4) {
    const sum = expRow(out, x, n, maxOf(x, n));
    const scale = f32x4.splat((1 / sum) as f32);
    let to = out;
    for (let left = n; left > 0; left -= 4, to += 16) storeRow(to, f32x4.mul(v128.load(to), scale), left);
  }
}

export function logSoftmax(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, x += n * 4, out += n * 4) {
    const most = maxOf(x, n);
    const log = f32x4.splat(logOf(expRow(0, x, n, most)) as f32);
    const shift = f32x4.splat(most);
    let to = out;
    let from = x;
    for (let left = n; left > 0; left -= 4, to += 16, from += 16)
      storeRow(to, f32x4.sub(f32x4.sub(v128.load(from), shift), log), left);
  }
}

export function softmaxGrad(dx: usize, dOut: usize, out: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--) {
    let sum: f64 = 0;
    let g = dOut;
    let y = out;
    let left = n;
    while (left > 0) {
      let part = f32x4.splat(0);
      for (let i = min((left + 3) >> 2, blockVectors); i > 0; i--, left -= 4, g += 16, y += 16)
        part = madd(loadRow(g, left, 0), loadRow(y, left, 0), part);
      sum += total(part);
    }
    const shift = f32x4.splat(sum as f32);
    let to = dx;
    g = dOut;
    y = out;
    for (left = n; left > 0; left -= 4, to += 16, g += 16, y += 16)
      storeRow(to, f32x4.mul(v128.load(y), f32x4.sub(v128.load(g), shift)), left);
    dx += n * 4;
    dOut += n * 4;
    out += n * 4;
  }
}

export function logSoftmaxGrad(dx: usize, dOut: usize, out: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, dx += n * 4, dOut += n * 4, out += n * 4) {
    const scale = f32x4.splat(-sumOf(dOut, n) as f32);
    for (let at = 0, left = n; left > 0; left -= 4, at += 16)
      storeRow(dx + at, madd(Float4.expFalling(v128.load(out + at)), scale, v128.load(dOut + at)), left);
  }
}
