/** Functions of bytes that need no doubles. */

import { INT8 } from "../wasm/doubles.as";
import { Lanes } from "../wasm/lanes.as";

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

export function applyBytes(
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
export function timesBytes(out: usize, a: usize, b: usize, kind: i32, n: i32): void {
  for (; n > 0; n -= 4, out += 16, a += 16, b += 4) {
    const bytes = v128.load32_zero(b);
    const numbers =
      kind === INT8
        ? i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(bytes))
        : i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
    Lanes.store(out, f32x4.mul(v128.load(a), f32x4.convert_i32x4_s(numbers)), n);
  }
}
