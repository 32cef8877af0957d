/**
 * softmax and logSoftmax over the middle axis of (outer, n, inner) float32 numbers on the heap, and their gradients. Blocks
 * of up to 128 neighbouring columns are walked row by row, so that memory is read in its order; `first` and `count` are
 * blocks, of which each of `outer` has as many as its columns need. Scratch holds numbers of each column. Sums run in float
 * lanes over 32 rows and in double over these. A result may be the very array of an input.
 */

import { logOf } from "../wasm/exp-rows.as";
import { Lanes } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";
import { Float4 } from "../wasm/math.as";

const width: i32 = 128;
const blockRows: i32 = 32;
// Where in the scratch stand the columns' maxima, or what they are scaled by; their sums in float; and in double.
const floatSums: usize = width * 4;
const sums: usize = 2 * width * 4;

function fill(to: usize, columns: i32, value: f32): void {
  const v = f32x4.splat(value);
  for (let j = 0; j < columns; j += 4) v128.store(to + j * 4, v);
}

function clearSums(scratch: usize, columns: i32): void {
  fill(scratch + floatSums, columns, 0);
  memory.fill(scratch + sums, 0, ((columns + 3) & ~3) * 8);
}

/** Adds the sums in float to those in double, and begins anew. */
function flush(scratch: usize, columns: i32): void {
  const zero = f32x4.splat(0);
  for (let j = 0; j < columns; j += 4) {
    const from = scratch + floatSums + j * 4;
    const to = scratch + sums + j * 8;
    const v = v128.load(from);
    v128.store(to, f64x2.add(v128.load(to), f64x2.promote_low_f32x4(v)));
    const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
    v128.store(to, f64x2.add(v128.load(to, 16), high), 16);
    v128.store(from, zero);
  }
}

/** What is added up of a row's vector: at `x`, and of a second operand at `y`. */
class Exps {
  @inline
  of(out: usize, x: usize, y: usize, most: v128, sum: v128, left: i32): v128 {
    const e = Float4.expOfDifference(f32x4.sub(v128.load(x), most));
    if (out) Lanes.store(out, e, left);
    return f32x4.add(sum, e);
  }
}
class Products {
  @inline
  of(out: usize, x: usize, y: usize, most: v128, sum: v128, left: i32): v128 {
    return madd(v128.load(x), v128.load(y), sum);
  }
}
class Values {
  @inline
  of(out: usize, x: usize, y: usize, most: v128, sum: v128, left: i32): v128 {
    return f32x4.add(sum, v128.load(x));
  }
}

/** Adds up n rows; `out` is 0, or where what is added up is written. */
function addUp<F>(out: usize, x: usize, y: usize, n: i32, step: i32, columns: i32, scratch: usize): void {
  const f = changetype<F>(0);
  clearSums(scratch, columns);
  for (let k = 1; k <= n; k++, x += step, y += step) {
    for (let j = 0; j < columns; j += 4) {
      const at = scratch + j * 4;
      const sum = v128.load(at, floatSums);
      const to = out ? out + j * 4 : 0;
      v128.store(at, f.of(to, x + j * 4, y + j * 4, v128.load(at), sum, columns - j), floatSums);
    }
    if (out) out += step;
    if ((k & (blockRows - 1)) === 0) flush(scratch, columns);
  }
  flush(scratch, columns);
}

/** The largest of each column; NaN is passed over. */
function largest(x: usize, n: i32, step: i32, columns: i32, scratch: usize): void {
  fill(scratch, columns, -Infinity);
  for (; n > 0; n--, x += step)
    for (let j = 0; j < columns; j += 4) {
      const at = scratch + j * 4;
      v128.store(at, f32x4.pmax(v128.load(at), v128.load(x + j * 4)));
    }
}

/** What becomes of a number, by those of its column. */
class Scaled {
  @inline
  of(x: v128, y: v128, p: v128, q: v128): v128 {
    return f32x4.mul(x, q);
  }
}
class Shifted {
  @inline
  of(x: v128, y: v128, p: v128, q: v128): v128 {
    return f32x4.sub(f32x4.sub(x, p), q);
  }
}
class SoftmaxSlope {
  @inline
  of(x: v128, y: v128, p: v128, q: v128): v128 {
    return f32x4.mul(y, f32x4.sub(x, q));
  }
}
class LogSoftmaxSlope {
  @inline
  of(x: v128, y: v128, p: v128, q: v128): v128 {
    return madd(Float4.expFalling(y), q, x);
  }
}

function write<F>(out: usize, x: usize, y: usize, n: i32, step: i32, columns: i32, scratch: usize): void {
  const f = changetype<F>(0);
  for (; n > 0; n--, out += step, x += step, y += step)
    for (let j = 0; j < columns; j += 4) {
      const at = scratch + j * 4;
      const v = f.of(v128.load(x + j * 4), v128.load(y + j * 4), v128.load(at), v128.load(at, floatSums));
      Lanes.store(out + j * 4, v, columns - j);
    }
}

// What a column's numbers are made of by its sum, in place of the sum in float.
const INVERSE = 0;
const LOGARITHM = 1;
const SUM = 2;
const OPPOSITE = 3;

function finish(kind: i32, columns: i32, scratch: usize): void {
  for (let j = 0; j < columns; j++) {
    const sum = load<f64>(scratch + sums + j * 8);
    const value = kind === INVERSE ? 1 / sum : kind === LOGARITHM ? logOf(sum) : kind === SUM ? sum : -sum;
    store<f32>(scratch + floatSums + j * 4, value as f32);
  }
}

/** Where the block's numbers begin, as an offset in bytes. */
function startOf(block: i32, n: i32, inner: i32): usize {
  const blocks = (inner + width - 1) / width;
  return ((((block / blocks) * n * inner) as usize) + (block % blocks) * width) << 2;
}

function columnsOf(block: i32, inner: i32): i32 {
  return min(width, inner - (block % ((inner + width - 1) / width)) * width);
}

export function softmaxColumns(
  out: usize,
  x: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  scratch: usize,
): void {
  for (const end = first + count; first < end; first++) {
    const columns = columnsOf(first, inner);
    const at = startOf(first, n, inner);
    largest(x + at, n, inner << 2, columns, scratch);
    addUp<Exps>(out + at, x + at, x + at, n, inner << 2, columns, scratch);
    finish(INVERSE, columns, scratch);
    write<Scaled>(out + at, out + at, out + at, n, inner << 2, columns, scratch);
  }
}

export function logSoftmaxColumns(
  out: usize,
  x: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  scratch: usize,
): void {
  for (const end = first + count; first < end; first++) {
    const columns = columnsOf(first, inner);
    const at = startOf(first, n, inner);
    largest(x + at, n, inner << 2, columns, scratch);
    addUp<Exps>(0, x + at, x + at, n, inner << 2, columns, scratch);
    finish(LOGARITHM, columns, scratch);
    write<Shifted>(out + at, x + at, x + at, n, inner << 2, columns, scratch);
  }
}

export function softmaxGradColumns(
  dx: usize,
  dOut: usize,
  out: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  scratch: usize,
): void {
  for (const end = first + count; first < end; first++) {
    const columns = columnsOf(first, inner);
    const at = startOf(first, n, inner);
    addUp<Products>(0, dOut + at, out + at, n, inner << 2, columns, scratch);
    finish(SUM, columns, scratch);
    write<SoftmaxSlope>(dx + at, dOut + at, out + at, n, inner << 2, columns, scratch);
  }
}

export function logSoftmaxGradColumns(
  dx: usize,
  dOut: usize,
  out: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  scratch: usize,
): void {
  for (const end = first + count; first < end; first++) {
    const columns = columnsOf(first, inner);
    const at = startOf(first, n, inner);
    addUp<Values>(0, dOut + at, dOut + at, n, inner << 2, columns, scratch);
    finish(OPPOSITE, columns, scratch);
    write<LogSoftmaxSlope>(dx + at, dOut + at, out + at, n, inner << 2, columns, scratch);
  }
}

/** Of each block, to out (outer, inner): an infinity or NaN that makes a sum stands for itself. */
export function logSumExpColumns(
  out: usize,
  x: usize,
  first: i32,
  count: i32,
  n: i32,
  inner: i32,
  scratch: usize,
): void {
  const blocks = (inner + width - 1) / width;
  for (const end = first + count; first < end; first++) {
    const columns = columnsOf(first, inner);
    const from = x + startOf(first, n, inner);
    const to = out + (((first / blocks) * inner + (first % blocks) * width) << 2);
    largest(from, n, inner << 2, columns, scratch);
    addUp<Exps>(0, from, from, n, inner << 2, columns, scratch);
    finish(LOGARITHM, columns, scratch);
    for (let j = 0; j < columns; j++) {
      let sum = load<f32>(scratch + j * 4);
      if (abs(sum) < Infinity) sum += load<f32>(scratch + j * 4, floatSums);
      else for (let k = 0; k < n; k++) if (isNaN(load<f32>(from + (k * inner + j) * 4))) sum = NaN;
      store<f32>(to + j * 4, sum);
    }
  }
}
