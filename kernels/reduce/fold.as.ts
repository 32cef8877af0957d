/**
 * Folds of numbers of any type in doubles, in AssemblyScript; kernels/reduce/reference.ts states the contract. `out` holds
 * what each fold begins with. Numbers pass through `part` doubles at a time, in scratch that holds three parts.
 */

import { FLOAT64, narrow, widen, widthOf } from "../wasm/doubles.as";

const part: i32 = 512;
const partBytes: i32 = part * 8;

/** f(a, x); c is what a squared deviation is taken from. */
class Sum {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    return f64x2.add(a, x);
  }
}
/** a where it is NaN or wins, else x. */
class Larger {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    return v128.bitselect(a, x, v128.or(f64x2.ne(a, a), f64x2.gt(a, x)));
  }
}
class Smaller {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    return v128.bitselect(a, x, v128.or(f64x2.ne(a, a), f64x2.lt(a, x)));
  }
}
class Product {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    return f64x2.mul(a, x);
  }
}
/** 0 also of a 0 and Infinity. */
class WholeProduct {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    const zero = f64x2.splat(0);
    return v128.andnot(f64x2.mul(a, x), v128.or(f64x2.eq(a, zero), f64x2.eq(x, zero)));
  }
}
class Squares {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    return f64x2.add(a, f64x2.mul(x, x));
  }
}
class Count {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    return f64x2.add(a, v128.and(f64x2.ne(x, f64x2.splat(0)), f64x2.splat(1)));
  }
}
class Deviations {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    const d = f64x2.sub(x, c);
    return f64x2.add(a, f64x2.mul(d, d));
  }
}

/** The place of the first x that is c, or NaN as c is: a is −1 less than −k until it is found at k. */
class First {
  @inline
  of(a: v128, x: v128, c: v128): v128 {
    const one = f64x2.splat(1);
    const found = v128.or(f64x2.eq(x, c), f64x2.ne(x, x));
    const next = v128.bitselect(f64x2.sub(f64x2.neg(a), one), f64x2.sub(a, one), found);
    return v128.bitselect(next, a, f64x2.lt(a, f64x2.splat(0)));
  }
}

/** Rows, in their order. */
function rows<F>(out: usize, x: usize, kind: i32, count: i32, n: i32, centers: usize, scratch: usize): void {
  const f = changetype<F>(0);
  for (; count > 0; count--, out += 8) {
    let a = v128.load64_zero(out);
    let c = a;
    if (centers) {
      c = v128.load64_zero(centers);
      centers += 8;
    }
    for (let left = n; left > 0; left -= part) {
      const some = min(left, part);
      widen(scratch, x, kind, some);
      x += some * widthOf(kind);
      for (let at = scratch, end = scratch + (some << 3); at < end; at += 8)
        a = f.of(a, v128.load64_zero(at), c);
    }
    v128.store64_lane(out, a, 0);
  }
}

/** Rows, in four lanes that M joins: for what is the same in any order. */
function lanes<F, M>(out: usize, x: usize, kind: i32, count: i32, n: i32, scratch: usize): void {
  const f = changetype<F>(0);
  const join = changetype<M>(0);
  for (; count > 0; count--, out += 8) {
    // What there is for no number at all: each lane may begin with it.
    let a = v128.load64_splat(out);
    let b = a;
    for (let left = n; left > 0; left -= part) {
      const some = min(left, part);
      widen(scratch, x, kind, some);
      x += some * widthOf(kind);
      let at = scratch;
      for (const end = scratch + ((some & ~3) << 3); at < end; at += 32) {
        a = f.of(a, v128.load(at), a);
        b = f.of(b, v128.load(at, 16), b);
      }
      for (const end = scratch + (some << 3); at < end; at += 8) {
        const one = f.of(a, v128.load64_zero(at), a);
        a = v128.shuffle<i64>(one, a, 0, 3);
      }
    }
    a = join.of(a, b, b);
    v128.store64_lane(out, join.of(a, v128.shuffle<i64>(a, a, 1, 1), a), 0);
  }
}

/** `First` of rows: nothing is read beyond what is found. */
function places(out: usize, x: usize, kind: i32, count: i32, n: i32, centers: usize, scratch: usize): void {
  for (; count > 0; count--, out += 8, centers += 8, x += n * widthOf(kind)) {
    const c = v128.load64_splat(centers);
    let k = 0;
    for (let some = 0, found = false; k < n && !found; k += found ? 0 : some) {
      some = min(n - k, part);
      widen(scratch, x + k * widthOf(kind), kind, some);
      for (let i = 0; i < some && !found; i += 2) {
        const v = v128.load(scratch + (i << 3));
        const hits = i64x2.bitmask(v128.or(f64x2.eq(v, c), f64x2.ne(v, v)));
        // Behind the last number may lie anything.
        const at = i + (hits & 1 ? 0 : 1);
        if (hits && at < some) {
          k += at;
          found = true;
        }
      }
    }
    store<f64>(out, k as f64);
  }
}

/** Blocks of up to `part` columns, of which each of `outer` has as many as it needs, walked row by row. */
function columns<F>(
  out: usize,
  x: usize,
  kind: i32,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  centers: usize,
  scratch: usize,
): void {
  const f = changetype<F>(0);
  const blocks = (inner + part - 1) / part;
  const sums = scratch + partBytes;
  const means = sums + partBytes;
  for (const end = first + count; first < end; first++) {
    const o = first / blocks;
    const column = (first % blocks) * part;
    const some = min(part, inner - column);
    const bytes = some << 3;
    const to = out + ((o * inner + column) << 3);
    let from = x + (o * n * inner + column) * widthOf(kind);
    memory.copy(sums, to, bytes);
    if (centers) memory.copy(means, centers + ((o * inner + column) << 3), bytes);
    for (let k = 0; k < n; k++, from += inner * widthOf(kind)) {
      widen(scratch, from, kind, some);
      for (let j = 0; j < bytes; j += 16)
        v128.store(sums + j, f.of(v128.load(sums + j), v128.load(scratch + j), v128.load(means + j)));
    }
    memory.copy(to, sums, bytes);
  }
}

function run<F, M>(
  out: usize,
  x: usize,
  kind: i32,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  centers: usize,
  scratch: usize,
  anyOrder: bool,
): void {
  if (inner !== 1) {
    columns<F>(out, x, kind, first, count, n, inner, centers, scratch);
    return;
  }
  const to = out + (first << 3);
  const from = x + first * n * widthOf(kind);
  if (anyOrder) lanes<F, M>(to, from, kind, count, n, scratch);
  else rows<F>(to, from, kind, count, n, centers ? centers + (first << 3) : 0, scratch);
}

/** `op` is numbered as simd.ts lists them; `first` and `count` are rows, or blocks of columns. */
export function fold(
  out: usize,
  x: usize,
  centers: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  op: i32,
  kind: i32,
  scratch: usize,
): void {
  // So many integers have a sum that doubles hold, whatever the order.
  const exact = kind > FLOAT64 && n <= 1 << 21;
  if (op === 0) run<Sum, Sum>(out, x, kind, first, count, n, inner, centers, scratch, exact);
  else if (op === 1) run<Larger, Larger>(out, x, kind, first, count, n, inner, centers, scratch, true);
  else if (op === 2) run<Smaller, Smaller>(out, x, kind, first, count, n, inner, centers, scratch, true);
  else if (op === 3) run<Product, Product>(out, x, kind, first, count, n, inner, centers, scratch, false);
  else if (op === 4)
    run<WholeProduct, WholeProduct>(out, x, kind, first, count, n, inner, centers, scratch, false);
  else if (op === 5) run<Squares, Squares>(out, x, kind, first, count, n, inner, centers, scratch, false);
  else if (op === 6) run<Count, Sum>(out, x, kind, first, count, n, inner, centers, scratch, true);
  else if (op === 7)
    run<Deviations, Deviations>(out, x, kind, first, count, n, inner, centers, scratch, false);
  else if (inner !== 1) columns<First>(out, x, kind, first, count, n, inner, centers, scratch);
  else {
    const from = x + first * n * widthOf(kind);
    places(out + (first << 3), from, kind, count, n, centers + (first << 3), scratch);
  }
}

/** The running values of rows or of blocks of columns, numbered as for `fold`. */
function runs<F>(
  out: usize,
  outKind: i32,
  x: usize,
  kind: i32,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  initial: f64,
  scratch: usize,
): void {
  const f = changetype<F>(0);
  const width = widthOf(outKind);
  const sums = scratch + partBytes;
  if (inner === 1) {
    out += first * n * width;
    x += first * n * widthOf(kind);
    for (; count > 0; count--) {
      let a = f64x2.splat(initial);
      for (let left = n; left > 0; left -= part) {
        const some = min(left, part);
        widen(scratch, x, kind, some);
        for (let at = scratch, end = scratch + (some << 3); at < end; at += 8) {
          a = f.of(a, v128.load64_zero(at), a);
          v128.store64_lane(at, a, 0);
        }
        narrow(out, scratch, outKind, some);
        out += some * width;
        x += some * widthOf(kind);
      }
    }
    return;
  }
  const blocks = (inner + part - 1) / part;
  for (const end = first + count; first < end; first++) {
    const column = (first % blocks) * part;
    const some = min(part, inner - column);
    let at = (first / blocks) * n * inner + column;
    for (let j = 0; j < part; j++) store<f64>(sums + j * 8, initial);
    for (let k = 0; k < n; k++, at += inner) {
      widen(scratch, x + at * widthOf(kind), kind, some);
      for (let j = 0; j < some << 3; j += 16)
        v128.store(sums + j, f.of(v128.load(sums + j), v128.load(scratch + j), v128.load(scratch + j)));
      narrow(out + at * width, sums, outKind, some);
    }
  }
}

/** Running sums, or for `op` 3 running products. */
export function scan(
  out: usize,
  x: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  op: i32,
  outKind: i32,
  kind: i32,
  scratch: usize,
): void {
  if (op === 0) runs<Sum>(out, outKind, x, kind, first, count, n, inner, 0, scratch);
  else runs<Product>(out, outKind, x, kind, first, count, n, inner, 1, scratch);
}
