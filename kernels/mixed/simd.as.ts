/**
 * Elementwise functions of arrays of any type on the heap, in AssemblyScript; kernels/elementwise/reference.ts states the
 * contract. Numbers pass through doubles, `part` at a time, in scratch that holds three parts. Addresses and strides are
 * bytes, sizes are elements. An output may be the very array of an input of its type.
 */

import { FLOAT32, INT32, INT8, narrow, UINT32, widen, widthOf } from "../wasm/doubles.as";
import { applyBytes, timesBytes } from "./bytes.as";
import { apply } from "./functions.as";

const part: i32 = 512;
const partBytes: i32 = part * 8;

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
