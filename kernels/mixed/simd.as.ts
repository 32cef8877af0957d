/**
 * Elementwise functions of arrays of any type on the heap, in AssemblyScript; kernels/elementwise/reference.ts states the
 * contract. Numbers pass through doubles, `part` at a time, in scratch that holds three parts. Addresses and strides are
 * bytes, sizes are elements. An output may be the very array of an input of its type.
 */

import { FLOAT32, INT32, INT8, integers, narrow, UINT32, widen, widthOf } from "../wasm/doubles.as";
import { Lanes } from "../wasm/lanes.as";

const part: i32 = 512;
const partBytes: i32 = part * 8;

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
function apply(op: i32, to: usize, a: usize, b: usize, n: i32): void {
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

/** Of bytes, 16 at once. */
class BytesEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return i8x16.eq(a, b);
  }
}
class BytesDiffer {
  @inline
  of(a: v128, b: v128): v128 {
    return i8x16.ne(a, b);
  }
}
class BothBytes {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.not(v128.or(i8x16.eq(a, i8x16.splat(0)), i8x16.eq(b, i8x16.splat(0))));
  }
}
class EitherByte {
  @inline
  of(a: v128, b: v128): v128 {
    return i8x16.ne(v128.or(a, b), i8x16.splat(0));
  }
}
class OneByte {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.xor(i8x16.eq(a, i8x16.splat(0)), i8x16.eq(b, i8x16.splat(0)));
  }
}

function byteLoop<F>(out: usize, a: usize, b: usize, n: i32, aStep: i32, bStep: i32, scratch: usize): void {
  const f = changetype<F>(0);
  for (; n > 0; n -= 16, out += 16, a += 16 * aStep, b += 16 * bStep) {
    const x = aStep ? v128.load(a) : v128.load8_splat(a);
    const y = bStep ? v128.load(b) : v128.load8_splat(b);
    const v = v128.and(f.of(x, y), i8x16.splat(1));
    if (n >= 16) v128.store(out, v);
    else {
      v128.store(scratch, v);
      memory.copy(out, scratch, n);
    }
  }
}

function applyBytes(
  op: i32,
  out: usize,
  a: usize,
  b: usize,
  n: i32,
  aStep: i32,
  bStep: i32,
  scratch: usize,
): void {
  if (op === 9) byteLoop<BytesEqual>(out, a, b, n, aStep, bStep, scratch);
  else if (op === 10) byteLoop<BytesDiffer>(out, a, b, n, aStep, bStep, scratch);
  else if (op === 15) byteLoop<BothBytes>(out, a, b, n, aStep, bStep, scratch);
  else if (op === 16) byteLoop<EitherByte>(out, a, b, n, aStep, bStep, scratch);
  else byteLoop<OneByte>(out, a, b, n, aStep, bStep, scratch);
}

/** out = a · b of float32 and bytes, which float32 holds. */
function timesBytes(out: usize, a: usize, b: usize, kind: i32, n: i32): void {
  for (; n > 0; n -= 4, out += 16, a += 16, b += 4) {
    const bytes = v128.load32_zero(b);
    const numbers =
      kind === INT8
        ? i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(bytes))
        : i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
    Lanes.store(out, f32x4.mul(v128.load(a), f32x4.convert_i32x4_s(numbers)), n);
  }
}

/** One number, so many times as the parts of a row need. */
function repeat(to: usize, from: usize, kind: i32, n: i32): void {
  widen(to, from, kind, 1);
  const v = v128.load64_splat(to);
  for (const end = to + (min(n, part) << 3); to < end; to += 32) {
    v128.store(to, v);
    v128.store(to, v, 16);
  }
}

/** Rows of n; each operand has the distance of its rows, and of its elements, 0 for one that a row repeats. */
export function zip(
  out: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  aRow: i32,
  bRow: i32,
  aStep: i32,
  bStep: i32,
  scratch: usize,
  op: i32,
  kind: i32,
  aKind: i32,
  bKind: i32,
): void {
  const left = scratch + partBytes;
  const right = left + partBytes;
  const logic = op >= 15 && op <= 17;
  if (
    kind >= INT8 &&
    aKind >= INT8 &&
    bKind >= INT8 &&
    (logic || ((op === 9 || op === 10) && aKind === bKind))
  ) {
    for (; rows > 0; rows--, a += aRow, b += bRow, out += n)
      applyBytes(op, out, a, b, n, aStep, bStep, scratch);
    return;
  }
  if (op === 2 && kind === FLOAT32 && min(aStep, bStep) === 1 && max(aStep, bStep) === 4) {
    const first = aKind === FLOAT32;
    if (first || bKind === FLOAT32) {
      for (; rows > 0; rows--, a += aRow, b += bRow, out += n * 4)
        timesBytes(out, first ? a : b, first ? b : a, first ? bKind : aKind, n);
      return;
    }
  }
  for (; rows > 0; rows--, a += aRow, b += bRow) {
    if (!aStep) repeat(left, a, aKind, n);
    if (!bStep) repeat(right, b, bKind, n);
    for (let at = 0; at < n; at += part) {
      const count = min(n - at, part);
      if (aStep) widen(left, a + at * aStep, aKind, count);
      if (bStep) widen(right, b + at * bStep, bKind, count);
      apply(op, scratch, left, right, count);
      narrow(out, scratch, kind, count);
      out += count * widthOf(kind);
    }
  }
}

/** out = x, as integers without its fractions. Where these cannot hold a number, `lost` is set. */
export function cast(out: usize, x: usize, n: i32, scratch: usize, kind: i32, xKind: i32, lost: usize): void {
  const least = kind === INT32 ? -2147483648.0 : kind === INT8 ? -128.0 : 0.0;
  const most = kind === INT32 ? 2147483647.0 : kind === UINT32 ? 4294967295.0 : kind === INT8 ? 127.0 : 255.0;
  const low = f64x2.splat(least);
  const high = f64x2.splat(most);
  while (n > 0) {
    const count = min(n, part);
    widen(scratch, x, xKind, count);
    // Of an odd number the last is looked at twice.
    const end = scratch + (count << 3);
    if (count & 1) store<f64>(end, load<f64>(end - 8));
    let held = i64x2.splat(-1);
    for (let at = scratch; at < end; at += 16) {
      const v = f64x2.trunc(v128.load(at));
      v128.store(at, v);
      held = v128.and(held, v128.and(f64x2.ge(v, low), f64x2.le(v, high)));
    }
    if (!i64x2.all_true(held)) store<i32>(lost, 1);
    narrow(out, scratch, kind, count);
    n -= count;
    out += count * widthOf(kind);
    x += count * widthOf(xKind);
  }
}
