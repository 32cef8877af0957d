/**
 * Cross entropy of float32 rows on the heap against class indices, and its gradient, in AssemblyScript;
 * kernels/loss/reference.ts states the contract. lse holds doubles, targets are int32.
 */

import { expRow, logOf } from "../wasm/exp-rows.as";
import { Lanes, storePart, total } from "../wasm/lanes.as";
import { Float4 } from "../wasm/math.as";
import { loadRow, maxOf, sumOf } from "../wasm/rows.as";

export function crossEntropy(
  loss: usize,
  lse: usize,
  logits: usize,
  targets: usize,
  rows: i32,
  n: i32,
  ignoreIndex: i32,
  smoothing: f64,
): void {
  for (; rows > 0; rows--, loss += 4, lse += 8, targets += 4, logits += n * 4) {
    const most = maxOf(logits, n);
    const norm = (most as f64) + logOf(expRow(0, logits, n, most));
    store<f64>(lse, norm);
    const target = load<i32>(targets);
    let value: f64 = 0;
    if (target !== ignoreIndex) {
      value = norm - (load<f32>(logits + target * 4) as f64);
      if (smoothing !== 0)
        value = (1 - smoothing) * value + (smoothing / n) * (norm * (n as f64) - sumOf(logits, n));
    }
    store<f32>(loss, value as f32);
  }
}

export function crossEntropyGrad(
  dLogits: usize,
  dLoss: usize,
  lse: usize,
  logits: usize,
  targets: usize,
  rows: i32,
  n: i32,
  ignoreIndex: i32,
  smoothing: f64,
): void {
  const share = f32x4.splat((smoothing / n) as f32);
  const own = (1 - smoothing) as f32;
  for (; rows > 0; rows--, dLoss += 4, lse += 8, targets += 4, logits += n * 4, dLogits += n * 4) {
    const target = load<i32>(targets);
    if (target === ignoreIndex) {
      memory.fill(dLogits, 0, n * 4);
      continue;
    }
    const norm = load<f64>(lse);
    // In two parts: near the norm, where the probability is large, the difference is then as good as in double.
    const high = f32x4.splat(norm as f32);
    const low = f32x4.splat((norm - (norm as f32 as f64)) as f32);
    const grad = load<f32>(dLoss);
    const by = f32x4.splat(grad);
    let to = dLogits;
    let from = logits;
    let left = n;
    if (left >= 8)
      do {
        const a = Float4.expFalling(f32x4.sub(f32x4.sub(v128.load(from), high), low));
        const b = Float4.expFalling(f32x4.sub(f32x4.sub(v128.load(from, 16), high), low));
        v128.store(to, f32x4.mul(by, f32x4.sub(a, share)));
        v128.store(to, f32x4.mul(by, f32x4.sub(b, share)), 16);
        to += 32;
        from += 32;
        left -= 8;
      } while (left >= 8);
    for (; left > 0; left -= 4, to += 16, from += 16) {
      const p = Float4.expFalling(f32x4.sub(f32x4.sub(v128.load(from), high), low));
      Lanes.store(to, f32x4.mul(by, f32x4.sub(p, share)), left);
    }
    const at = dLogits + target * 4;
    store<f32>(at, load<f32>(at) - grad * own);
  }
}

// Pairs of vectors whose terms are added in float before they go on in double.
const blockPairs: i32 = 64;

class Scaled {
  /** exp((x − shift) · by) of four numbers. */
  @inline
  static exp(x: v128, shift: v128, by: v128): v128 {
    return Float4.expOfDifference(f32x4.mul(f32x4.sub(x, shift), by));
  }
}

/** Σ exp((x − most) · by). */
function sumExps(x: usize, n: i32, most: f32, by: f32): f64 {
  const shift = f32x4.splat(most);
  const scale = f32x4.splat(by);
  let sum: f64 = 0;
  while (n >= 8) {
    let count = min(n >> 3, blockPairs);
    n -= count << 3;
    let even = f32x4.splat(0);
    let odd = even;
    do {
      even = f32x4.add(even, Scaled.exp(v128.load(x), shift, scale));
      odd = f32x4.add(odd, Scaled.exp(v128.load(x, 16), shift, scale));
      x += 32;
    } while (--count > 0);
    sum += total(f32x4.add(even, odd));
  }
  for (; n > 0; n -= 4, x += 16) sum += total(Scaled.exp(loadRow(x, n, -Infinity), shift, scale));
  return sum;
}

// What a row of the teacher adds up to beside Σ exp.
let terms: f64;

/** Σ exp((t − mostOfT) · by), with Σ of it times the difference of t and s, each less its largest, in `terms`. */
function sumTerms(s: usize, t: usize, n: i32, mostOfS: f32, mostOfT: f32, by: f32): f64 {
  const shift = f32x4.splat(mostOfT);
  const other = f32x4.splat(mostOfS);
  const scale = f32x4.splat(by);
  const none = f32x4.splat(0);
  let sum: f64 = 0;
  let all: f64 = 0;
  while (n >= 4) {
    let count = min(n >> 2, blockPairs);
    n -= count << 2;
    let p = none;
    let d = none;
    do {
      const u = f32x4.sub(v128.load(t), shift);
      const e = Float4.expOfDifference(f32x4.mul(u, scale));
      const far = f32x4.sub(u, f32x4.sub(v128.load(s), other));
      p = f32x4.add(p, e);
      // Where the teacher gives 0, neither logarithm counts.
      d = f32x4.add(d, v128.andnot(f32x4.mul(e, far), f32x4.eq(e, none)));
      s += 16;
      t += 16;
    } while (--count > 0);
    sum += total(p);
    all += total(d);
  }
  if (n > 0) {
    const u = f32x4.sub(loadRow(t, n, -Infinity), shift);
    const e = Float4.expOfDifference(f32x4.mul(u, scale));
    const far = f32x4.sub(u, f32x4.sub(loadRow(s, n, 0), other));
    sum += total(e);
    all += total(v128.andnot(f32x4.mul(e, far), f32x4.eq(e, none)));
  }
  terms = all * by;
  return sum;
}

export function divergence(
  loss: usize,
  stats: usize,
  student: usize,
  teacher: usize,
  rows: i32,
  n: i32,
  temperature: f64,
): void {
  const by = (1 / temperature) as f32;
  for (; rows > 0; rows--, loss += 4, stats += 32, student += n * 4, teacher += n * 4) {
    const most = maxOf(student, n);
    const mostTeacher = maxOf(teacher, n);
    const sum = sumExps(student, n, most, by);
    const sumTeacher = sumTerms(student, teacher, n, most, mostTeacher, by);
    store<f64>(stats, most as f64);
    store<f64>(stats, sum, 8);
    store<f64>(stats, mostTeacher as f64, 16);
    store<f64>(stats, sumTeacher, 24);
    store<f32>(loss, (terms / sumTeacher + (logOf(sum) - logOf(sumTeacher))) as f32);
  }
}

export function divergenceGrad(
  dStudent: usize,
  dLoss: usize,
  stats: usize,
  student: usize,
  teacher: usize,
  rows: i32,
  n: i32,
  temperature: f64,
): void {
  const by = f32x4.splat((1 / temperature) as f32);
  for (; rows > 0; rows--, dLoss += 4, stats += 32) {
    const grad = (load<f32>(dLoss) as f64) / temperature;
    const shift = f32x4.splat(load<f64>(stats) as f32);
    const share = f32x4.splat((grad / load<f64>(stats, 8)) as f32);
    const shiftTeacher = f32x4.splat(load<f64>(stats, 16) as f32);
    const shareTeacher = f32x4.splat((grad / load<f64>(stats, 24)) as f32);
    let left = n;
    if (left >= 4)
      do {
        const q = f32x4.mul(share, Scaled.exp(v128.load(student), shift, by));
        const p = f32x4.mul(shareTeacher, Scaled.exp(v128.load(teacher), shiftTeacher, by));
        v128.store(dStudent, f32x4.sub(q, p));
        student += 16;
        teacher += 16;
        dStudent += 16;
        left -= 4;
      } while (left >= 4);
    if (left > 0) {
      const q = f32x4.mul(share, Scaled.exp(v128.load(student), shift, by));
      const p = f32x4.mul(shareTeacher, Scaled.exp(v128.load(teacher), shiftTeacher, by));
      storePart(dStudent, f32x4.sub(q, p), left);
      student += left * 4;
      teacher += left * 4;
      dStudent += left * 4;
    }
  }
}
