/** The loops of elementwise functions, each compiled once for each function. Addresses and strides are bytes, sizes are elements. */

import { Lanes } from "../wasm/lanes.as";

/** out = f(x). */
export function map<F>(out: usize, x: usize, n: i32): void {
  const f = changetype<F>(0);
  if (n >= 16)
    do {
      const a = f.of(v128.load(x));
      const b = f.of(v128.load(x, 16));
      const c = f.of(v128.load(x, 32));
      const d = f.of(v128.load(x, 48));
      v128.store(out, a);
      v128.store(out, b, 16);
      v128.store(out, c, 32);
      v128.store(out, d, 48);
      out += 64;
      x += 64;
      n -= 16;
    } while (n >= 16);
  for (; n > 0; n -= 4, out += 16, x += 16) Lanes.store(out, f.of(v128.load(x)), n);
}

/** out = f(x) with two numbers of its own. */
export function mapTuned<F>(out: usize, x: usize, n: i32, first: f32, second: f32): void {
  const f = changetype<F>(0);
  const p = f32x4.splat(first);
  const q = f32x4.splat(second);
  if (n >= 8)
    do {
      const a = f.of(v128.load(x), p, q);
      const b = f.of(v128.load(x, 16), p, q);
      v128.store(out, a);
      v128.store(out, b, 16);
      out += 32;
      x += 32;
      n -= 8;
    } while (n >= 8);
  for (; n > 0; n -= 4, out += 16, x += 16) Lanes.store(out, f.of(v128.load(x), p, q), n);
}

// So many elements that they are still in the first-level cache when they are read again.
export const chunk: i32 = 1024;

/** Whether all of n numbers, n a multiple of 16, lie within −limit … limit. */
export function areWithin(x: usize, n: i32, limit: f32): bool {
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  do {
    // Of numbers without a sign the bits are in the order of the values, NaN above all.
    a = i32x4.max_s(a, f32x4.abs(v128.load(x)));
    b = i32x4.max_s(b, f32x4.abs(v128.load(x, 16)));
    c = i32x4.max_s(c, f32x4.abs(v128.load(x, 32)));
    d = i32x4.max_s(d, f32x4.abs(v128.load(x, 48)));
    x += 64;
    n -= 16;
  } while (n > 0);
  const most = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
  return !v128.any_true(i32x4.gt_s(most, f32x4.splat(limit)));
}

/** out = grad · f(x, y). */
export function mapGrad<F>(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
  const f = changetype<F>(0);
  if (n >= 8)
    do {
      const a = f32x4.mul(v128.load(grad), f.of(v128.load(x), v128.load(y)));
      const b = f32x4.mul(v128.load(grad, 16), f.of(v128.load(x, 16), v128.load(y, 16)));
      v128.store(out, a);
      v128.store(out, b, 16);
      out += 32;
      grad += 32;
      x += 32;
      y += 32;
      n -= 8;
    } while (n >= 8);
  for (; n > 0; n -= 4, out += 16, grad += 16, x += 16, y += 16)
    Lanes.store(out, f32x4.mul(v128.load(grad), f.of(v128.load(x), v128.load(y))), n);
}
