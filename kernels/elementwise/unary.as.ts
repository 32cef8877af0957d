/**
 * Float32 functions of one array on the heap, in AssemblyScript; kernels/elementwise/reference.ts states the contract. Each
 * function is a class, so that one generic loop is compiled for each. An output may be the very array of an input.
 */

import { madd } from "../wasm/madd.as";
import { Float4 } from "../wasm/math.as";
import { areWithin, chunk, map, mapGrad } from "./loops.as";

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

class Absolute {
  @inline
  of(x: v128): v128 {
    return f32x4.abs(x);
  }
}
class Reciprocal {
  @inline
  of(x: v128): v128 {
    return f32x4.div(f32x4.splat(1), x);
  }
}
class ReciprocalSqrt {
  @inline
  of(x: v128): v128 {
    return f32x4.div(f32x4.splat(1), f32x4.sqrt(x));
  }
}
class Floor {
  @inline
  of(x: v128): v128 {
    return f32x4.floor(x);
  }
}
class Ceil {
  @inline
  of(x: v128): v128 {
    return f32x4.ceil(x);
  }
}
class Truncate {
  @inline
  of(x: v128): v128 {
    return f32x4.trunc(x);
  }
}
class RoundEven {
  @inline
  of(x: v128): v128 {
    return f32x4.nearest(x);
  }
}
class Sign {
  @inline
  of(x: v128): v128 {
    const one = f32x4.splat(1);
    const zero = f32x4.splat(0);
    return f32x4.sub(v128.and(f32x4.gt(x, zero), one), v128.and(f32x4.lt(x, zero), one));
  }
}
class Expm1 {
  @inline
  of(x: v128): v128 {
    return Float4.expm1(x);
  }
}
class Log1p {
  @inline
  of(x: v128): v128 {
    return Float4.log1p(x);
  }
}
class LogSigmoid {
  @inline
  of(x: v128): v128 {
    const above = f32x4.pmax(f32x4.neg(x), f32x4.splat(0));
    return f32x4.neg(f32x4.add(above, Float4.softplusBelow(f32x4.abs(x))));
  }
}
class HardSigmoid {
  @inline
  static gate(x: v128): v128 {
    const lifted = f32x4.add(x, f32x4.splat(3));
    const within = f32x4.pmax(f32x4.pmin(lifted, f32x4.splat(6)), f32x4.splat(0));
    return f32x4.mul(within, f32x4.splat(1.0 / 6));
  }
  @inline
  of(x: v128): v128 {
    return HardSigmoid.gate(x);
  }
}
class HardSwish {
  @inline
  of(x: v128): v128 {
    return v128.andnot(f32x4.mul(x, HardSigmoid.gate(x)), f32x4.le(x, f32x4.splat(-3)));
  }
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

export function absolute(out: usize, x: usize, n: i32): void {
  map<Absolute>(out, x, n);
}
export function reciprocal(out: usize, x: usize, n: i32): void {
  map<Reciprocal>(out, x, n);
}
export function reciprocalSqrt(out: usize, x: usize, n: i32): void {
  map<ReciprocalSqrt>(out, x, n);
}
export function floor(out: usize, x: usize, n: i32): void {
  map<Floor>(out, x, n);
}
export function ceil(out: usize, x: usize, n: i32): void {
  map<Ceil>(out, x, n);
}
export function truncate(out: usize, x: usize, n: i32): void {
  map<Truncate>(out, x, n);
}
export function roundEven(out: usize, x: usize, n: i32): void {
  map<RoundEven>(out, x, n);
}
export function sign(out: usize, x: usize, n: i32): void {
  map<Sign>(out, x, n);
}
export function expm1(out: usize, x: usize, n: i32): void {
  map<Expm1>(out, x, n);
}
export function log1p(out: usize, x: usize, n: i32): void {
  map<Log1p>(out, x, n);
}
export function logSigmoid(out: usize, x: usize, n: i32): void {
  map<LogSigmoid>(out, x, n);
}
export function hardSigmoid(out: usize, x: usize, n: i32): void {
  map<HardSigmoid>(out, x, n);
}
export function hardSwish(out: usize, x: usize, n: i32): void {
  map<HardSwish>(out, x, n);
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
  of(value: v128, y: v128): v128 {
    // All stays finite, for the slope no longer changes long before.
    const x = f32x4.pmax(f32x4.pmin(value, f32x4.splat(40)), f32x4.splat(-40));
    const squared = f32x4.mul(x, x);
    const s = GeluTanh.gate(x, squared);
    const slope = madd(squared, f32x4.splat(6 * geluScale * geluCube), f32x4.splat(2 * geluScale));
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
