/** Comparisons of float32 arrays, which give bytes of 0 and 1, and choices by such bytes, in AssemblyScript. */

import { Lanes } from "../wasm/lanes.as";

class Equal {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.eq(a, b);
  }
}
class NotEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.ne(a, b);
  }
}
class Less {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.lt(a, b);
  }
}
class LessEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.le(a, b);
  }
}
class Greater {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.gt(a, b);
  }
}
class GreaterEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.ge(a, b);
  }
}
/** Of |a|. */
class SizeLess {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.lt(f32x4.abs(a), b);
  }
}
class SizeEqual {
  @inline
  of(a: v128, b: v128): v128 {
    return f32x4.eq(f32x4.abs(a), b);
  }
}

class Operand {
  /** Four elements, or one of them four times where the step is 0. */
  @inline
  static load(x: usize, step: i32): v128 {
    return step ? v128.load(x) : v128.load32_splat(x);
  }
}

/** Rows of n; each operand has the distance of its rows, and of its elements: 4, or 0 for one that a row repeats. */
function test<F>(
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
  const ones = i8x16.splat(1);
  for (; rows > 0; rows--, a += aRow, b += bRow) {
    let x = a;
    let y = b;
    let left = n;
    if (left >= 16)
      do {
        const p = f.of(Operand.load(x, aStep), Operand.load(y, bStep));
        const q = f.of(Operand.load(x + 4 * aStep, aStep), Operand.load(y + 4 * bStep, bStep));
        const r = f.of(Operand.load(x + 8 * aStep, aStep), Operand.load(y + 8 * bStep, bStep));
        const s = f.of(Operand.load(x + 12 * aStep, aStep), Operand.load(y + 12 * bStep, bStep));
        const bytes = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(p, q), i16x8.narrow_i32x4_s(r, s));
        v128.store(out, v128.and(bytes, ones));
        out += 16;
        x += 16 * aStep;
        y += 16 * bStep;
        left -= 16;
      } while (left >= 16);
    while (left > 0) {
      let bits = i32x4.bitmask(f.of(Operand.load(x, aStep), Operand.load(y, bStep)));
      for (const end = out + min(left, 4); out < end; out++, bits >>= 1) store<u8>(out, bits & 1);
      x += 4 * aStep;
      y += 4 * bStep;
      left -= 4;
    }
  }
}

export function equal(
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
  test<Equal>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function notEqual(
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
  test<NotEqual>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function less(
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
  test<Less>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function lessEqual(
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
  test<LessEqual>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function greater(
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
  test<Greater>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function greaterEqual(
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
  test<GreaterEqual>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function sizeLess(
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
  test<SizeLess>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}
export function sizeEqual(
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
  test<SizeEqual>(out, a, b, rows, n, aRow, bRow, aStep, bStep);
}

/**
 * out = a where the byte at c is not 0, else b, of numbers of four bytes; steps are 1 for c and the bytes of a number, or 0
 * for an operand that a row repeats.
 */
export function select(
  out: usize,
  c: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  cRow: i32,
  aRow: i32,
  bRow: i32,
  cStep: i32,
  aStep: i32,
  bStep: i32,
): void {
  for (; rows > 0; rows--, c += cRow, a += aRow, b += bRow) {
    let m = c;
    let x = a;
    let y = b;
    for (let left = n; left > 0; left -= 4, m += 4 * cStep, x += 4 * aStep, y += 4 * bStep) {
      const bytes = cStep ? v128.load32_zero(m) : i8x16.splat(load<i8>(m));
      const wide = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
      const mask = i32x4.ne(wide, i32x4.splat(0));
      Lanes.store(out, v128.bitselect(Operand.load(x, aStep), Operand.load(y, bStep), mask), left);
      out += min(left, 4) * 4;
    }
  }
}

function choose<T>(
  out: usize,
  c: usize,
  a: usize,
  b: usize,
  n: i32,
  cStep: i32,
  aStep: i32,
  bStep: i32,
): void {
  for (; n > 0; n--, out += sizeof<T>(), c += cStep, a += aStep, b += bStep)
    store<T>(out, load<u8>(c) ? load<T>(a) : load<T>(b));
}

class Bytes {
  @inline
  static load(x: usize, step: i32): v128 {
    return step ? v128.load(x) : v128.load8_splat(x);
  }
}

/** The same of numbers of one byte. */
export function selectBytes(
  out: usize,
  c: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  cRow: i32,
  aRow: i32,
  bRow: i32,
  cStep: i32,
  aStep: i32,
  bStep: i32,
): void {
  for (; rows > 0; rows--, c += cRow, a += aRow, b += bRow, out += n) {
    let i = 0;
    for (; i + 16 <= n; i += 16) {
      const mask = i8x16.ne(Bytes.load(c + i * cStep, cStep), i8x16.splat(0));
      const x = Bytes.load(a + i * aStep, aStep);
      v128.store(out + i, v128.bitselect(x, Bytes.load(b + i * bStep, bStep), mask));
    }
    choose<u8>(out + i, c + i * cStep, a + i * aStep, b + i * bStep, n - i, cStep, aStep, bStep);
  }
}

/** The same of numbers of eight bytes. */
export function selectDoubles(
  out: usize,
  c: usize,
  a: usize,
  b: usize,
  rows: i32,
  n: i32,
  cRow: i32,
  aRow: i32,
  bRow: i32,
  cStep: i32,
  aStep: i32,
  bStep: i32,
): void {
  for (; rows > 0; rows--, c += cRow, a += aRow, b += bRow, out += n * 8)
    choose<f64>(out, c, a, b, n, cStep, aStep, bStep);
}
