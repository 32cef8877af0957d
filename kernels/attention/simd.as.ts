/**
 * What attention does with a block of scores between its products, in AssemblyScript. kernels/attention/blocks.ts drives it.
 *
 * A block is (rows, keys) with rows `ld` elements apart, ld a multiple of 4, so that the last vector of a row may reach
 * into the padding. Row r sees its first `seen` keys, `seen` growing by `seenStep` a row. Addresses and strides are bytes.
 */

import { Float4 } from "../wasm/math.as";

function lanesSum(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/**
 * row = scale · row + mask over `seen` keys, −Infinity from there to `end`. A sum of −Infinity, which softmax would hide,
 * may have left float32 on its way alone: it becomes NaN, but where the mask itself is −Infinity.
 */
function finish(row: usize, seen: i32, end: i32, scale: f32, mask: usize, maskStep: i32): void {
  const factor = f32x4.splat(scale);
  const lowest = f32x4.splat(-Infinity);
  const odd = f32x4.splat(NaN);
  const whole = seen & ~3;
  let j = 0;
  if (mask === 0)
    for (; j < whole; j += 4) {
      const scaled = f32x4.mul(factor, v128.load(row + j * 4));
      v128.store(row + j * 4, v128.bitselect(odd, scaled, f32x4.eq(scaled, lowest)));
    }
  else if (maskStep === 4)
    for (; j < whole; j += 4) {
      const added = v128.load(mask + j * 4);
      const sum = f32x4.add(f32x4.mul(factor, v128.load(row + j * 4)), added);
      const left = v128.andnot(f32x4.eq(sum, lowest), f32x4.eq(added, lowest));
      v128.store(row + j * 4, v128.bitselect(odd, sum, left));
    }
  for (; j < seen; j++) {
    const added: f32 = mask ? load<f32>(mask + j * maskStep) : 0;
    const sum = scale * load<f32>(row + j * 4) + added;
    store<f32>(row + j * 4, sum === -Infinity && added !== -Infinity ? NaN : sum);
  }
  for (; j < end; j++) store<f32>(row + j * 4, -Infinity);
}

/**
 * Turns scores into exp(score − the row's maximum) in place, and writes that maximum and the sum of each row to stats
 * (rows, 2). A row that sees no key has zeros and the sum 0.
 */
export function expRows(
  scores: usize,
  ld: i32,
  rows: i32,
  keys: i32,
  seen: i32,
  seenStep: i32,
  scale: f32,
  mask: usize,
  maskRow: i32,
  maskStep: i32,
  stats: usize,
): void {
  const end = (keys + 3) & ~3;
  for (let r = 0; r < rows; r++) {
    const visible = max(0, min(keys, seen + r * seenStep));
    const last = (visible + 3) & ~3;
    finish(scores, visible, last, scale, mask, maskStep);
    let highest = f32x4.splat(-Infinity);
    for (let j = 0; j < last; j += 4) highest = f32x4.pmax(highest, v128.load(scores + j * 4));
    const peak = max(
      max(f32x4.extract_lane(highest, 0), f32x4.extract_lane(highest, 1)),
      max(f32x4.extract_lane(highest, 2), f32x4.extract_lane(highest, 3)),
    );
    const shift = f32x4.splat(peak === -Infinity ? 0 : peak);
    let sum = f32x4.splat(0);
    for (let j = 0; j < last; j += 4) {
      const e = Float4.expFalling(f32x4.sub(v128.load(scores + j * 4), shift));
      v128.store(scores + j * 4, e);
      sum = f32x4.add(sum, e);
    }
    for (let j = last; j < end; j += 4) v128.store(scores + j * 4, f32x4.splat(0));
    store<f32>(stats, peak);
    store<f32>(stats, lanesSum(sum), 4);
    stats += 8;
    scores += ld * 4;
    if (mask) mask += maskRow;
  }
}

/** Divides each row of out (rows, n), `step` apart, by its sum in stats; zeros where that is 0. */
export function divideRows(out: usize, step: i32, rows: i32, n: i32, stats: usize): void {
  const whole = n & ~3;
  for (let r = 0; r < rows; r++) {
    const sum = load<f32>(stats + r * 8, 4);
    const sums = f32x4.splat(sum);
    let j = 0;
    if (sum === 0) {
      memory.fill(out, 0, n * 4);
      j = n;
    }
    for (; j < whole; j += 4) v128.store(out + j * 4, f32x4.div(v128.load(out + j * 4), sums));
    for (; j < n; j++) store<f32>(out + j * 4, load<f32>(out + j * 4) / sum);
    out += step;
  }
}

/** Turns scores into exp(score − lse of the row) in place: all NaN where lse is. */
export function probabilities(
  scores: usize,
  ld: i32,
  rows: i32,
  keys: i32,
  seen: i32,
  seenStep: i32,
  scale: f32,
  mask: usize,
  maskRow: i32,
  maskStep: i32,
  lse: usize,
): void {
  const end = (keys + 3) & ~3;
  for (let r = 0; r < rows; r++) {
    const visible = max(0, min(keys, seen + r * seenStep));
    const last = (visible + 3) & ~3;
    finish(scores, visible, last, scale, mask, maskStep);
    const norm = load<f32>(lse + r * 4);
    const shift = f32x4.splat(norm);
    for (let j = 0; j < last; j += 4)
      v128.store(scores + j * 4, Float4.expFalling(f32x4.sub(v128.load(scores + j * 4), shift)));
    const hidden = f32x4.splat(isNaN(norm) ? NaN : 0);
    for (let j = last; j < end; j += 4) v128.store(scores + j * 4, hidden);
    scores += ld * 4;
    if (mask) mask += maskRow;
  }
}

/** dScores (rows, keys) = p · (dScores − Σ dOut · out of the row) · scale. Rows of dOut and out, of n, are `step` apart. */
export function scoreGradients(
  dScores: usize,
  p: usize,
  ld: i32,
  rows: i32,
  keys: i32,
  dOut: usize,
  out: usize,
  step: i32,
  n: i32,
  scale: f32,
): void {
  const whole = n & ~3;
  const factor = f32x4.splat(scale);
  for (let r = 0; r < rows; r++) {
    let sums = f32x4.splat(0);
    let j = 0;
    for (; j < whole; j += 4)
      sums = f32x4.add(sums, f32x4.mul(v128.load(dOut + j * 4), v128.load(out + j * 4)));
    let sum = lanesSum(sums);
    for (; j < n; j++) sum += load<f32>(dOut + j * 4) * load<f32>(out + j * 4);
    const mean = f32x4.splat(sum);
    for (let i = 0; i < keys; i += 4) {
      const d = f32x4.sub(v128.load(dScores + i * 4), mean);
      v128.store(dScores + i * 4, f32x4.mul(f32x4.mul(v128.load(p + i * 4), d), factor));
    }
    dScores += ld * 4;
    p += ld * 4;
    dOut += step;
    out += step;
  }
}
