/**
 * Elementwise float32 loops on the heap, in AssemblyScript; kernels/elementwise/reference.ts states the contract. Each
 * function is a class, so that one generic loop is compiled for each. Addresses and strides are bytes, sizes are elements.
 * An output may be the very array of an input.
 */

import { Lanes, storePart } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";
import { Float4 } from "../wasm/math.as";

const geluScale: f32 = 0.7978845608;
const geluCube: f32 = 0.044715;

class Negate {
  @inline
  of(x: v128): v128 {
    return f32x4.neg(x);
  }
}
class Square {
  @inline
  of(x: v128): v128 {
    return f32x4.mul(x, x);
  }
}
class Sqrt {
  @inline
  of(x: v128): v128 {
    return f32x4.sqrt(x);
  }
}
class Exp {
  @inline
  of(x: v128): v128 {
    return Float4.exp(x);
  }
}
/** For x from −87 to 88. */
class ExpWithin {
  @inline
  of(x: v128): v128 {
    return Float4.expFalling(x);
  }
}
class Log {
  @inline
  of(x: v128): v128 {
    return Float4.log(x);
  }
}
class Tanh {
  @inline
  of(x: v128): v128 {
    return Float4.tanh(x);
  }
}
class Sigmoid {
  @inline
  of(x: v128): v128 {
    return Float4.sigmoid(x);
  }
}
class Erf {
  @inline
  of(x: v128): v128 {
    return Float4.erf(x);
  }
}
class Gelu {
  @inline
  of(x: v128): v128 {
    return f32x4.mul(x, Float4.normalCdf(x));
  }
}
/** σ(2u) = (1 + tanh u)/2 for the u of the tanh form. */
class GeluTanh {
  @inline
  static gate(x: v128, squared: v128): v128 {
    const u = f32x4.mul(x, madd(squared, f32x4.splat(2 * geluScale * geluCube), f32x4.splat(2 * geluScale)));
    return Float4.sigmoid(u);
  }
  @inline
  of(x: v128): v128 {
    return f32x4.mul(x, GeluTanh.gate(x, f32x4.mul(x, x)));
  }
}
class Silu {
  @inline
  of(x: v128): v128 {
    return f32x4.mul(x, Float4.sigmoid(x));
  }
}
class Rectify {
  @inline
  of(x: v128): v128 {
    return f32x4.max(x, f32x4.splat(0));
  }
}

function map<F>(out: usize, x: usize, n: i32): void {
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

// So many elements that they are still in the first-level cache when they are read again.
const chunk: i32 = 1024;

/** Whether all of n numbers, n a multiple of 16, lie within −limit … limit. */
function areWithin(x: usize, n: i32, limit: f32): bool {
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

export function negate(out: usize, x: usize, n: i32): void {
  map<Negate>(out, x, n);
}
export function square(out: usize, x: usize, n: i32): void {
  map<Square>(out, x, n);
}
export function sqrt(out: usize, x: usize, n: i32): void {
  map<Sqrt>(out, x, n);
}
export function exp(out: usize, x: usize, n: i32): void {
  while (n > 0) {
    const count = min(n, chunk);
    if (count >= 16 && areWithin(x, count & ~15, 87)) {
      map<ExpWithin>(out, x, count & ~15);
      if (count & 15) map<Exp>(out + (count & ~15) * 4, x + (count & ~15) * 4, count & 15);
    } else map<Exp>(out, x, count);
    n -= count;
    out += count * 4;
    x += count * 4;
  }
}
export function log(out: usize, x: usize, n: i32): void {
  map<Log>(out, x, n);
}
export function tanh(out: usize, x: usize, n: i32): void {
  map<Tanh>(out, x, n);
}
export function sigmoid(out: usize, x: usize, n: i32): void {
  map<Sigmoid>(out, x, n);
}
export function erf(out: usize, x: usize, n: i32): void {
  map<Erf>(out, x, n);
}
export function gelu(out: usize, x: usize, n: i32): void {
  map<Gelu>(out, x, n);
}
export function geluTanh(out: usize, x: usize, n: i32): void {
  map<GeluTanh>(out, x, n);
}
export function silu(out: usize, x: usize, n: i32): void {
  map<Silu>(out, x, n);
}
export function rectify(out: usize, x: usize, n: i32): void {
  map<Rectify>(out, x, n);
}

/** Derivatives, from the input and the output. */
class TanhSlope {
  @inline
  of(x: v128, y: v128): v128 {
    return f32x4.sub(f32x4.splat(1), f32x4.mul(y, y));
  }
}
class SigmoidSlope {
  @inline
  of(x: v128, y: v128): v128 {
    return f32x4.mul(y, f32x4.sub(f32x4.splat(1), y));
  }
}
class GeluSlope {
  @inline
  of(x: v128, y: v128): v128 {
    return Float4.geluSlope(x);
  }
}
class GeluTanhSlope {
  @inline
  of(x: v128, y: v128): v128 {
    const squared = f32x4.mul(x, x);
    const s = GeluTanh.gate(x, squared);
    // The derivative of u stays finite, for what it is multiplied with is 0 long before.
    const bounded = f32x4.pmin(squared, f32x4.splat(1e4));
    const slope = madd(bounded, f32x4.splat(6 * geluScale * geluCube), f32x4.splat(2 * geluScale));
    const rest = f32x4.mul(f32x4.sub(f32x4.splat(1), s), x);
    return madd(f32x4.mul(rest, s), slope, s);
  }
}
class SiluSlope {
  @inline
  of(x: v128, y: v128): v128 {
    const one = f32x4.splat(1);
    const s = Float4.sigmoid(x);
    return f32x4.mul(s, madd(x, f32x4.sub(one, s), one));
  }
}

function mapGrad<F>(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
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

export function tanhGrad(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
  mapGrad<TanhSlope>(out, grad, x, y, n);
}
export function sigmoidGrad(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
  mapGrad<SigmoidSlope>(out, grad, x, y, n);
}
export function geluGrad(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
  mapGrad<GeluSlope>(out, grad, x, y, n);
}
export function geluTanhGrad(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
  mapGrad<GeluTanhSlope>(out, grad, x, y, n);
}
export function siluGrad(out: usize, grad: usize, x: usize, y: usize, n: i32): void {
  mapGrad<SiluSlope>(out, grad, x, y, n);
}

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

/** out = a where the byte at c is not 0, else b; steps are 4, or 0 for an operand of one element. */
export function select(out: usize, c: usize, a: usize, b: usize, n: i32, aStep: i32, bStep: i32): void {
  for (; n > 0; n -= 4, out += 16, c += 4, a += 4 * aStep, b += 4 * bStep) {
    const bytes = v128.load32_zero(c);
    const mask = i32x4.ne(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes)), i32x4.splat(0));
    const x = aStep ? v128.load(a) : v128.load32_splat(a);
    const y = bStep ? v128.load(b) : v128.load32_splat(b);
    const v = v128.bitselect(x, y, mask);
    if (n < 4) storePart(out, v, n);
    else v128.store(out, v);
  }
}
