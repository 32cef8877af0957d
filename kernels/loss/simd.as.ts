/**
 * Cross entropy of float32 rows on the heap against class indices, and its gradient, in AssemblyScript;
 * kernels/loss/reference.ts states the contract. lse holds doubles, targets are int32.
 */

import { expRow, logOf } from "../wasm/exp-rows.as";
import { Lanes } from "../wasm/lanes.as";
import { Float4 } from "../wasm/math.as";
import { maxOf, sumOf } from "../wasm/rows.as";

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
