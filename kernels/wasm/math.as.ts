/**
 * Functions of four floats at once: relative error at most 3e-7 wherever the result is a normal number; NaN, infinities
 * and signed zeros as in JavaScript's Math. They are static methods because only there may a decorator ask for inlining.
 */

import { madd } from "./madd.as";

// Adding it rounds to an integer, which is then in the low bits.
const roundAt: f32 = 12582912;
const signBit: i32 = 0x80000000;

export class Float4 {
  /** x less n times ln 2, in two steps of which the first is exact. */
  @inline
  static lessLn2(x: v128, n: v128): v128 {
    return madd(n, f32x4.splat(2.1219444e-4), madd(n, f32x4.splat(-0.693359375), x));
  }

  /** exp(r) for |r| up to ln(2)/2. */
  @inline
  static expNear(r: v128): v128 {
    let p = madd(r, f32x4.splat(0.008312487043440342), f32x4.splat(0.0418904609978199));
    p = madd(p, r, f32x4.splat(0.16667115688323975));
    p = madd(p, r, f32x4.splat(0.4999922811985016));
    p = madd(p, r, f32x4.splat(1));
    return madd(p, r, f32x4.splat(1));
  }

  /** The same bits as `expFalling` from −87 to 88, so that either may serve a number, whatever its neighbours. */
  @inline
  static exp(x: v128): v128 {
    const magic = f32x4.splat(roundAt + 127);
    const within = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89)), f32x4.splat(-104));
    const shifted = madd(within, f32x4.splat(1.44269504), magic);
    const p = Float4.expNear(Float4.lessLn2(within, f32x4.sub(shifted, magic)));
    // Two factors, since 2ⁿ alone may overflow or vanish where the product does not.
    const n = i32x4.sub(shifted, magic);
    const half = i32x4.shr_s(n, 1);
    const one = f32x4.splat(1);
    const first = i32x4.add(i32x4.shl(half, 23), one);
    const second = i32x4.add(i32x4.shl(i32x4.sub(n, half), 23), one);
    return f32x4.mul(f32x4.mul(p, first), second);
  }

  /** exp(x) for x up to 88; what would be below the normal numbers has an absolute error of 2⁻¹²⁶, and is 0 from −88 down. */
  @inline
  static expFalling(x: v128): v128 {
    // The exponent's bias is added with the rounding: the low bits are then those of 2ⁿ, and 0 for n = −127.
    const magic = f32x4.splat(roundAt + 127);
    const within = f32x4.pmax(x, f32x4.splat(-88));
    const shifted = madd(within, f32x4.splat(1.44269504), magic);
    const p = Float4.expNear(Float4.lessLn2(within, f32x4.sub(shifted, magic)));
    return f32x4.mul(p, i32x4.shl(shifted, 23));
  }

  /**
   * exp(x) for x up to 88, from 2^(x log₂ e): fewer steps than `expFalling`, and an error that grows by 2⁻²⁴|x|, as that of a
   * difference x does anyway.
   */
  @inline
  static expOfDifference(x: v128): v128 {
    const magic = f32x4.splat(roundAt + 127);
    const y = f32x4.mul(f32x4.pmax(x, f32x4.splat(-88)), f32x4.splat(1.44269504));
    const shifted = f32x4.add(y, magic);
    const f = f32x4.sub(y, f32x4.sub(shifted, magic));
    let p = madd(f, f32x4.splat(0.001330020352021738), f32x4.splat(0.0096697886941225688));
    p = madd(p, f, f32x4.splat(0.05550560401763318));
    p = madd(p, f, f32x4.splat(0.24022279843765695));
    p = madd(p, f, f32x4.splat(0.69314718055994529));
    p = madd(p, f, f32x4.splat(1));
    return f32x4.mul(p, i32x4.shl(shifted, 23));
  }

  /** The logarithm of fdlibm's e_logf.c (Sun, 1993). */
  @inline
  static log(x: v128): v128 {
    const small = f32x4.lt(x, f32x4.splat(1.17549435e-38));
    const lifted = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, small);
    const bits = i32x4.add(lifted, i32x4.splat(0x3f800000 - 0x3f3504f3));
    const power = i32x4.sub(i32x4.shr_s(bits, 23), i32x4.splat(127));
    const n = f32x4.convert_i32x4_s(i32x4.sub(power, v128.and(small, i32x4.splat(23))));
    const head = i32x4.add(v128.and(bits, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
    const f = f32x4.sub(head, f32x4.splat(1));
    const s = f32x4.div(f, f32x4.add(f, f32x4.splat(2)));
    const z = f32x4.mul(s, s);
    let p = madd(z, f32x4.splat(0.24279078841), f32x4.splat(0.28498786688));
    p = madd(p, z, f32x4.splat(0.40000972152));
    p = f32x4.mul(madd(p, z, f32x4.splat(0.66666662693)), z);
    const half = f32x4.mul(f32x4.mul(f, f), f32x4.splat(0.5));
    const tail = madd(s, f32x4.add(half, p), f32x4.mul(n, f32x4.splat(9.0580006145e-6)));
    const y = madd(n, f32x4.splat(0.69313812256), f32x4.add(f32x4.sub(tail, half), f));
    const zero = f32x4.splat(0);
    const atZero = v128.bitselect(f32x4.splat(-Infinity), f32x4.splat(NaN), f32x4.eq(x, zero));
    // NaN and +Infinity stand for themselves.
    const beyond = v128.bitselect(x, y, f32x4.ne(f32x4.sub(x, x), zero));
    return v128.bitselect(atZero, beyond, f32x4.le(x, zero));
  }

  /** exp(x) − 1. */
  @inline
  static expm1(x: v128): v128 {
    const magic = f32x4.splat(roundAt + 126);
    const within = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89)), f32x4.splat(-30));
    const shifted = madd(within, f32x4.splat(1.44269504), magic);
    const r = Float4.lessLn2(within, f32x4.sub(shifted, magic));
    let p = madd(r, f32x4.splat(0.0013814496342092752), f32x4.splat(0.00836876593530178));
    p = madd(p, r, f32x4.splat(0.04166839271783829));
    p = madd(p, r, f32x4.splat(0.1666651964187622));
    p = madd(p, r, f32x4.splat(0.4999999403953552));
    p = madd(f32x4.mul(p, r), r, r);
    // With half of 2ⁿ, which does not overflow where the result is finite.
    const half = i32x4.shl(shifted, 23);
    const y = madd(half, p, f32x4.sub(half, f32x4.splat(0.5)));
    return v128.bitselect(x, f32x4.add(y, y), i32x4.splat(signBit));
  }

  /** log(1 + x), by the logarithm of the rounded sum and a correction of it. */
  @inline
  static log1p(x: v128): v128 {
    const one = f32x4.splat(1);
    const sum = f32x4.add(x, one);
    const log = Float4.log(sum);
    const mended = f32x4.add(log, f32x4.div(f32x4.sub(x, f32x4.sub(sum, one)), sum));
    const inside = v128.and(f32x4.gt(sum, f32x4.splat(0)), f32x4.lt(sum, f32x4.splat(Infinity)));
    return v128.bitselect(x, v128.bitselect(mended, log, inside), f32x4.eq(sum, one));
  }

  /** log(1 + exp(−a)) of a ≥ 0, by 2 artanh(e/(2 + e)). */
  @inline
  static softplusBelow(a: v128): v128 {
    const e = Float4.expFalling(f32x4.neg(a));
    const s = f32x4.div(e, f32x4.add(e, f32x4.splat(2)));
    const z = f32x4.mul(s, s);
    let p = madd(z, f32x4.splat(0.2817833423614502), f32x4.splat(0.27960601449012756));
    p = madd(p, z, f32x4.splat(0.40024909377098083));
    p = madd(p, z, f32x4.splat(0.6666631698608398));
    return f32x4.mul(madd(p, z, f32x4.splat(2)), s);
  }

  @inline
  static tanh(x: v128): v128 {
    const a = f32x4.abs(x);
    const z = f32x4.mul(x, x);
    let p = madd(z, f32x4.splat(-5.70498872745e-3), f32x4.splat(2.06390887954e-2));
    p = madd(p, z, f32x4.splat(-5.37397155531e-2));
    p = madd(p, z, f32x4.splat(1.33314422036e-1));
    p = madd(p, z, f32x4.splat(-3.33332819422e-1));
    const near = madd(f32x4.mul(p, z), a, a);
    const e = Float4.expFalling(f32x4.mul(a, f32x4.splat(-2)));
    const one = f32x4.splat(1);
    const far = f32x4.div(f32x4.sub(one, e), f32x4.add(one, e));
    const y = v128.bitselect(near, far, f32x4.lt(a, f32x4.splat(0.625)));
    return v128.bitselect(x, y, i32x4.splat(signBit));
  }

  @inline
  static sigmoid(x: v128): v128 {
    const one = f32x4.splat(1);
    const e = Float4.expFalling(f32x4.neg(f32x4.abs(x)));
    const above = v128.bitselect(e, one, f32x4.lt(x, f32x4.splat(0)));
    return f32x4.div(above, f32x4.add(one, e));
  }

  @inline
  static erf(x: v128): v128 {
    const z = f32x4.mul(x, x);
    let p = madd(z, f32x4.splat(-5.96761703e-4), f32x4.splat(4.99119423e-3));
    p = madd(p, z, f32x4.splat(-2.67681349e-2));
    p = madd(p, z, f32x4.splat(1.12819925e-1));
    p = madd(p, z, f32x4.splat(-3.76125336e-1));
    p = madd(p, z, f32x4.splat(1.28379166e-1));
    const near = madd(p, x, x);
    // 1 − exp(−a + a · p) from 0.927734375 up.
    const a = f32x4.abs(x);
    const u = madd(a, f32x4.splat(-3.88396438e-3), f32x4.splat(2.42546219e-2));
    p = madd(madd(a, f32x4.splat(-1.7285347e-5), f32x4.splat(3.83197126e-4)), z, u);
    p = madd(p, a, f32x4.splat(-1.06777877e-1));
    p = madd(p, a, f32x4.splat(-6.34846687e-1));
    p = madd(p, a, f32x4.splat(-1.28717512e-1));
    const far = f32x4.sub(f32x4.splat(1), Float4.expFalling(f32x4.sub(f32x4.mul(p, a), a)));
    const signed = v128.bitselect(x, far, i32x4.splat(signBit));
    return v128.bitselect(near, signed, f32x4.lt(a, f32x4.splat(0.927734375)));
  }

  /**
   * The normal distribution function, with an absolute error of 1e-7. Below 0 it is 1/(2 (1 + q)⁸) with a polynomial q of
   * |x|, after Abramowitz and Stegun, 7.1.28; squares are of 1 + q, of which only q is kept so that none is rounded near 1.
   */
  @inline
  static normalCdf(x: v128): v128 {
    const a = f32x4.abs(x);
    let q = madd(a, f32x4.splat(2.3975842395884683e-6), f32x4.splat(-1.046255692926934e-5));
    q = madd(q, a, f32x4.splat(6.813799700466916e-5));
    q = madd(q, a, f32x4.splat(1.81981609784998e-4));
    q = madd(q, a, f32x4.splat(8.881145040504634e-4));
    q = madd(q, a, f32x4.splat(8.656803518533707e-3));
    q = madd(q, a, f32x4.splat(0.04476647078990936));
    q = f32x4.mul(madd(q, a, f32x4.splat(0.09973527491092682)), a);
    const two = f32x4.splat(2);
    q = f32x4.mul(q, f32x4.add(q, two));
    q = f32x4.mul(q, f32x4.add(q, two));
    q = f32x4.mul(q, f32x4.add(q, two));
    const one = f32x4.splat(1);
    const tail = f32x4.div(f32x4.splat(0.5), f32x4.add(q, one));
    // 1 − tail or 0 + tail, by the sign of x.
    const step = v128.andnot(one, i32x4.shr_s(x, 31));
    return f32x4.sub(step, v128.xor(tail, v128.xor(x, a)));
  }

  /** The derivative of x · Φ(x), with an absolute error of 2e-7: a rational function, constant beyond 6. */
  @inline
  static geluSlope(x: v128): v128 {
    const within = f32x4.pmax(f32x4.pmin(x, f32x4.splat(6)), f32x4.splat(-6));
    const z = f32x4.mul(within, within);
    let p = madd(z, f32x4.splat(1.908854301291285e-7), f32x4.splat(3.585060403565876e-5));
    p = madd(p, z, f32x4.splat(2.418387884972617e-5));
    p = madd(p, z, f32x4.splat(0.014209176413714886));
    p = madd(p, z, f32x4.splat(-0.030743462964892387));
    p = madd(p, z, f32x4.splat(0.7978845238685608));
    let q = madd(z, f32x4.splat(8.887489457265474e-6), f32x4.splat(1.93519876577231e-4));
    q = madd(q, z, f32x4.splat(3.528762608766556e-3));
    q = madd(q, z, f32x4.splat(0.04106469452381134));
    q = madd(q, z, f32x4.splat(0.2948056757450104));
    q = madd(q, z, f32x4.splat(1));
    return f32x4.add(f32x4.div(f32x4.mul(p, within), q), f32x4.splat(0.5));
  }
}
