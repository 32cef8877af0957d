/**
 * Float32 functions of two arrays, comparisons and choices on the heap, in AssemblyScript; kernels/elementwise/reference.ts states the contract. Each
 * function is a class, so that one generic loop is compiled for each. An output may be the very array of an input.
 */

import { storePart } from "../wasm/lanes.as";

class Add {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.add(a, b);
  }
}
class Subtract {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.sub(a, b);
  }
}
class Multiply {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.mul(a, b);
  }
}
class Divide {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.div(a, b);
  }
}
class Maximum {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.max(a, b);
  }
}
class Minimum {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.min(a, b);
  }
}
class Gate {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.and(a, f32x4.gt(b, f32x4.splat(0)));
  }
}

/** Rows of n; each operand has the distance of its rows, and of its elements: 4, or 0 for one that a row repeats. */
function zip<F>(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  const f = changetype<F>(0);
  for (; rows > 0; rows--, a += aRow, b += bRow) {
    let left = n;
    if (aStep && bStep) {
      let x = a;
      let y = b;
      for (; left >= 16; left -= 16, out += 64, x += 64, y += 64) {
        const first = f.of(v128.load(x), v128.load(y));
        const second = f.of(v128.load(x, 16), v128.load(y, 16));
        const third = f.of(v128.load(x, 32), v128.load(y, 32));
        const fourth = f.of(v128.load(x, 48), v128.load(y, 48));
        v128.store(out, first);
        v128.store(out, second, 16);
        v128.store(out, third, 32);
        v128.store(out, fourth, 48);
      }
      for (; left >= 4; left -= 4, out += 16, x += 16, y += 16)
        v128.store(out, f.of(v128.load(x), v128.load(y)));
      if (left > 0) storePart(out, f.of(v128.load(x), v128.load(y)), left);
    } else if (aStep) {
      const y = v128.load32_splat(b);
      let x = a;
      for (; left >= 4; left -= 4, out += 16, x += 16) v128.store(out, f.of(v128.load(x), y));
      if (left > 0) storePart(out, f.of(v128.load(x), y), left);
    } else if (bStep) {
      const x = v128.load32_splat(a);
      let y = b;
      for (; left >= 4; left -= 4, out += 16, y += 16) v128.store(out, f.of(x, v128.load(y)));
      if (left > 0) storePart(out, f.of(x, v128.load(y)), left);
    } else {
      const v = f.of(v128.load32_splat(a), v128.load32_splat(b));
      for (; left >= 4; left -= 4, out += 16) v128.store(out, v);
      if (left > 0) storePart(out, v, left);
    }
    out += left * 4;
  }
}

export function add(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Add>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function subtract(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Subtract>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function multiply(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Multiply>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function divide(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Divide>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function maximum(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Maximum>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function minimum(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Minimum>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function gate(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
): void {
  zip<Gate>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
