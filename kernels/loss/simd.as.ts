/**
 * Cross entropy of float32 rows on the heap against class indices, and its gradient, in AssemblyScript;
 * kernels/loss/reference.ts states the contract. lse holds doubles, targets are int32.
 */

import { expRow, logOf } from "../wasm/exp-rows.as";
import { Lanes, total } from "../wasm/lanes.as";
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

export function divergence(
  loss: usize,
  stats: usize,
  student: usize,
  teacher: usize,
  rows: i32,
  n: i32,
  temperature: f64,
): void {
  const by = f32x4.splat((1 / temperature) as f32);
  const none = f32x4.splat(0);
  for (; rows > 0; rows--, loss += 4, stats += 32) {
    const most = maxOf(student, n);
    const mostTeacher = maxOf(teacher, n);
    const shift = f32x4.splat(most);
    const shiftTeacher = f32x4.splat(mostTeacher);
    let sum: f64 = 0;
    let sumTeacher: f64 = 0;
    let terms: f64 = 0;
    let left = n;
    while (left > 0) {
      let q = none;
      let p = none;
      let d = none;
      let count = min(left >> 2, blockPairs);
      left -= count << 2;
      if (count > 0)
        do {
          const v = f32x4.mul(f32x4.sub(v128.load(student), shift), by);
          const u = f32x4.mul(f32x4.sub(v128.load(teacher), shiftTeacher), by);
          const e = Float4.expOfDifference(u);
          q = f32x4.add(q, Float4.expOfDifference(v));
          p = f32x4.add(p, e);
          // Where the teacher gives 0, neither logarithm counts.
          d = f32x4.add(d, v128.andnot(f32x4.mul(e, f32x4.sub(u, v)), f32x4.eq(e, none)));
          student += 16;
          teacher += 16;
        } while (--count > 0);
      if (left < 4) {
        if (left > 0) {
          const v = f32x4.mul(f32x4.sub(loadRow(student, left, -Infinity), shift), by);
          const u = f32x4.mul(f32x4.sub(loadRow(teacher, left, -Infinity), shiftTeacher), by);
          const e = Float4.expOfDifference(u);
          q = f32x4.add(q, Float4.expOfDifference(v));
          p = f32x4.add(p, e);
          d = f32x4.add(d, v128.andnot(f32x4.mul(e, f32x4.sub(u, v)), f32x4.eq(e, none)));
          student += left * 4;
          teacher += left * 4;
        }
        left = 0;
      }
      sum += total(q);
      sumTeacher += total(p);
      terms += total(d);
    }
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
    for (let left = n; left > 0; left -= 4) {
      const v = f32x4.mul(f32x4.sub(v128.load(student), shift), by);
      const u = f32x4.mul(f32x4.sub(v128.load(teacher), shiftTeacher), by);
      const q = f32x4.mul(share, Float4.expOfDifference(v));
      const p = f32x4.mul(shareTeacher, Float4.expOfDifference(u));
      Lanes.store(dStudent, f32x4.sub(q, p), left);
      const bytes = min(left, 4) * 4;
      student += bytes;
      teacher += bytes;
      dStudent += bytes;
    }
  }
}
