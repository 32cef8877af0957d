/** The functions of pairs of doubles, each a class whose `of` is inlined into a loop. */

import { integers } from "../wasm/doubles.as";

class Plus {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.add(a, b);
  }
}
class Minus {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.sub(a, b);
  }
}
class Times {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.mul(a, b);
  }
}
class Over {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.div(a, b);
  }
}
class Maximum {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.max(a, b);
  }
}
class Minimum {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.min(a, b);
  }
}
class Floored {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.floor(f64x2.div(a, b));
  }
}
class Truncated {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.trunc(f64x2.div(a, b));
  }
}
/** Of integers alone, as are the four that follow. */
class Imul {
  @inline
  static one(a: f64, b: f64): f64 {
    return ((a as i64) * (b as i64)) as i32 as f64;
  }
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2(
      Imul.one(f64x2.extract_lane(a, 0), f64x2.extract_lane(b, 0)),
      Imul.one(f64x2.extract_lane(a, 1), f64x2.extract_lane(b, 1)),
    );
  }
}

class Test {
  @inline
  static flag(mask: v128): v128 {
    return v128.and(mask, f64x2.splat(1));
  }
  @inline
  static holds(a: v128): v128 {
    return f64x2.ne(a, f64x2.splat(0));
  }
}
class Equal {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.eq(a, b));
  }
}
class NotEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.ne(a, b));
  }
}
class Less {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.lt(a, b));
  }
}
class LessEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.le(a, b));
  }
}
class Greater {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.gt(a, b));
  }
}
class GreaterEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.ge(a, b));
  }
}
class And {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(v128.and(Test.holds(a), Test.holds(b)));
  }
}
class Or {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(v128.or(Test.holds(a), Test.holds(b)));
  }
}
class Xor {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(v128.xor(Test.holds(a), Test.holds(b)));
  }
}
class SizeLess {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.lt(f64x2.abs(a), b));
  }
}
class SizeEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return Test.flag(f64x2.eq(f64x2.abs(a), b));
  }
}

/** Of a alone, as are those that follow. */
class Absolute {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.abs(a);
  }
}
class Negate {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.neg(a);
  }
}
class Sign {
  @inline
  of(a: v128, b: v128): v128 {
    const zero = f64x2.splat(0);
    return f64x2.sub(Test.flag(f64x2.gt(a, zero)), Test.flag(f64x2.lt(a, zero)));
  }
}
class Rectify {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.max(a, f64x2.splat(0));
  }
}
class Floor {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.floor(a);
  }
}
class Ceil {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.ceil(a);
  }
}
class Truncate {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.trunc(a);
  }
}
class RoundEven {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.nearest(a);
  }
}
class Sqrt {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.sqrt(a);
  }
}
class Reciprocal {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.div(f64x2.splat(1), a);
  }
}
class ReciprocalSqrt {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.div(f64x2.splat(1), f64x2.sqrt(a));
  }
}
class Square {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.mul(a, a);
  }
}

function loop<F>(to: usize, a: usize, b: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n > 0; n -= 4, to += 32, a += 32, b += 32) {
    const low = f.of(v128.load(a), v128.load(b));
    v128.store(to, f.of(v128.load(a, 16), v128.load(b, 16)), 16);
    v128.store(to, low);
  }
}

/** Of integers, as those of 32 bits. */
class BitAnd {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.and(a, b);
  }
}
class BitOr {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.or(a, b);
  }
}
class BitXor {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.xor(a, b);
  }
}

class Fraction {
  @inline
  of(a: v128, b: v128): v128 {
    return f64x2.sub(a, f64x2.trunc(a));
  }
}

/** a % b, with the sign of a or, where `floored` is set, of b. */
function remainders(to: usize, a: usize, b: usize, n: i32, floored: bool): void {
  for (; n > 0; n--, to += 8, a += 8, b += 8) {
    const by = load<f64>(b);
    let r = load<f64>(a) % by;
    if (floored && r !== 0 && r < 0 !== by < 0) r += by;
    store<f64>(to, r);
  }
}

function bitLoop<F>(to: usize, a: usize, b: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n > 0; n -= 4, to += 32, a += 32, b += 32) {
    const v = f.of(integers(a), integers(b));
    v128.store(to, f64x2.convert_low_i32x4_s(v));
    v128.store(to, f64x2.convert_low_i32x4_s(v128.shuffle<i64>(v, v, 1, 1)), 16);
  }
}

// Numbered as simd.ts lists the functions.
export function apply(op: i32, to: usize, a: usize, b: usize, n: i32): void {
  if (op === 0) loop<Plus>(to, a, b, n);
  else if (op === 1) loop<Minus>(to, a, b, n);
  else if (op === 2) loop<Times>(to, a, b, n);
  else if (op === 3) loop<Over>(to, a, b, n);
  else if (op === 4) loop<Maximum>(to, a, b, n);
  else if (op === 5) loop<Minimum>(to, a, b, n);
  else if (op === 6) loop<Floored>(to, a, b, n);
  else if (op === 7) loop<Truncated>(to, a, b, n);
  else if (op === 8) loop<Imul>(to, a, b, n);
  else if (op === 9) loop<Equal>(to, a, b, n);
  else if (op === 10) loop<NotEqual>(to, a, b, n);
  else if (op === 11) loop<Less>(to, a, b, n);
  else if (op === 12) loop<LessEqual>(to, a, b, n);
  else if (op === 13) loop<Greater>(to, a, b, n);
  else if (op === 14) loop<GreaterEqual>(to, a, b, n);
  else if (op === 15) loop<And>(to, a, b, n);
  else if (op === 16) loop<Or>(to, a, b, n);
  else if (op === 17) loop<Xor>(to, a, b, n);
  else if (op === 18) loop<SizeLess>(to, a, b, n);
  else if (op === 19) loop<SizeEqual>(to, a, b, n);
  else if (op === 20) loop<Absolute>(to, a, b, n);
  else if (op === 21) loop<Negate>(to, a, b, n);
  else if (op === 22) loop<Sign>(to, a, b, n);
  else if (op === 23) loop<Rectify>(to, a, b, n);
  else if (op === 24) loop<Floor>(to, a, b, n);
  else if (op === 25) loop<Ceil>(to, a, b, n);
  else if (op === 26) loop<Truncate>(to, a, b, n);
  else if (op === 27) loop<RoundEven>(to, a, b, n);
  else if (op === 28) loop<Sqrt>(to, a, b, n);
  else if (op === 29) loop<Reciprocal>(to, a, b, n);
  else if (op === 30) loop<ReciprocalSqrt>(to, a, b, n);
  else if (op === 31) loop<Square>(to, a, b, n);
  else if (op === 32) bitLoop<BitAnd>(to, a, b, n);
  else if (op === 33) bitLoop<BitOr>(to, a, b, n);
  else if (op === 34) bitLoop<BitXor>(to, a, b, n);
  else if (op === 35) loop<Fraction>(to, a, b, n);
  else remainders(to, a, b, n, op === 37);
}
