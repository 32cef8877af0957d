/** Updates of float32 parameters on the heap in one pass, in AssemblyScript; kernels/optimizer/reference.ts states the contract. */

import { Lanes } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";

/** −1, 0 or 1; a zero or a NaN itself. */
function sign(x: v128): v128 {
  const one = v128.bitselect(x, f32x4.splat(1), i32x4.splat(0x80000000));
  return v128.bitselect(one, x, f32x4.gt(f32x4.abs(x), f32x4.splat(0)));
}

/** from + share · (to − from): the moving average, whose two weights add up to 1 exactly. */
function towards(from: v128, to: v128, share: v128): v128 {
  return madd(share, f32x4.sub(to, from), from);
}

/**
 * The steps of four numbers each, of which `left` and more belong to the arrays. What `left` and the flags say is known
 * where loops of whole vectors call them, so that these loops test nothing.
 */
class Step {
  @inline
  static adam(
    weight: usize,
    grad: usize,
    mean: usize,
    square: usize,
    largest: usize,
    left: i32,
    shrink: v128,
    pull: v128,
    meanShare: v128,
    squareShare: v128,
    step: v128,
    by: v128,
    least: v128,
  ): void {
    const before = v128.load(weight);
    const w = madd(before, shrink, before);
    const g = madd(pull, w, v128.load(grad));
    const m = towards(v128.load(mean), g, meanShare);
    const v = towards(v128.load(square), f32x4.mul(g, g), squareShare);
    let second = v;
    if (largest) {
      second = f32x4.max(v128.load(largest), v);
      Lanes.store(largest, second, left);
    }
    Lanes.store(mean, m, left);
    Lanes.store(square, v, left);
    const divisor = madd(f32x4.sqrt(second), by, least);
    Lanes.store(weight, f32x4.sub(w, f32x4.div(f32x4.mul(step, m), divisor)), left);
  }

  @inline
  static sgd(
    weight: usize,
    grad: usize,
    buffer: usize,
    left: i32,
    way: v128,
    pull: v128,
    keep: v128,
    add: v128,
    step: v128,
    nesterov: i32,
    first: i32,
  ): void {
    const w = v128.load(weight);
    let d = madd(pull, w, f32x4.mul(way, v128.load(grad)));
    if (buffer) {
      const m = first ? d : madd(keep, v128.load(buffer), f32x4.mul(add, d));
      Lanes.store(buffer, m, left);
      d = nesterov ? madd(keep, m, d) : m;
    }
    Lanes.store(weight, madd(step, d, w), left);
  }
}

export function adam(
  weight: usize,
  grad: usize,
  mean: usize,
  square: usize,
  largest: usize,
  n: i32,
  decay: f32,
  coupled: f32,
  newMean: f32,
  newSquare: f32,
  size: f32,
  inverseRoot: f32,
  eps: f32,
): void {
  const shrink = f32x4.splat(-decay);
  const pull = f32x4.splat(coupled);
  const p = f32x4.splat(newMean);
  const q = f32x4.splat(newSquare);
  const step = f32x4.splat(size);
  const by = f32x4.splat(inverseRoot);
  const least = f32x4.splat(eps);
  let at: usize = 0;
  if (!largest)
    for (; n >= 4; n -= 4, at += 16)
      Step.adam(weight + at, grad + at, mean + at, square + at, 0, 4, shrink, pull, p, q, step, by, least);
  for (; n > 0; n -= 4, at += 16) {
    const most = largest ? largest + at : 0;
    Step.adam(weight + at, grad + at, mean + at, square + at, most, n, shrink, pull, p, q, step, by, least);
  }
}

/** buffer is 0 without momentum; the first step sets it. */
export function sgd(
  weight: usize,
  grad: usize,
  buffer: usize,
  n: i32,
  direction: f32,
  decay: f32,
  momentum: f32,
  gain: f32,
  nesterov: i32,
  first: i32,
  lr: f32,
): void {
  const way = f32x4.splat(direction);
  const pull = f32x4.splat(decay);
  const keep = f32x4.splat(momentum);
  const add = f32x4.splat(gain);
  const step = f32x4.splat(-lr);
  let at: usize = 0;
  if (!buffer)
    for (; n >= 4; n -= 4, at += 16) Step.sgd(weight + at, grad + at, 0, 4, way, pull, keep, add, step, 0, 0);
  else if (!first && !nesterov)
    for (; n >= 4; n -= 4, at += 16)
      Step.sgd(weight + at, grad + at, buffer + at, 4, way, pull, keep, add, step, 0, 0);
  else if (!first)
    for (; n >= 4; n -= 4, at += 16)
      Step.sgd(weight + at, grad + at, buffer + at, 4, way, pull, keep, add, step, 1, 0);
  for (; n > 0; n -= 4, at += 16) {
    const kept = buffer ? buffer + at : 0;
    Step.sgd(weight + at, grad + at, kept, n, way, pull, keep, add, step, nesterov, first);
  }
}

export function lion(
  weight: usize,
  grad: usize,
  mean: usize,
  n: i32,
  decay: f32,
  newSign: f32,
  newMean: f32,
  lr: f32,
): void {
  const shrink = f32x4.splat(-decay);
  const signShare = f32x4.splat(newSign);
  const meanShare = f32x4.splat(newMean);
  const step = f32x4.splat(-lr);
  for (let at = 0; n > 0; n -= 4, at += 16) {
    const w = v128.load(weight + at);
    const g = v128.load(grad + at);
    const m = v128.load(mean + at);
    Lanes.store(weight + at, madd(step, sign(towards(m, g, signShare)), madd(w, shrink, w)), n);
    Lanes.store(mean + at, towards(m, g, meanShare), n);
  }
}

/** mean is 0 where the sign of the gradient itself counts. */
export function signStep(
  weight: usize,
  grad: usize,
  mean: usize,
  n: i32,
  decay: f32,
  newMean: f32,
  lr: f32,
): void {
  const shrink = f32x4.splat(-decay);
  const share = f32x4.splat(newMean);
  const step = f32x4.splat(-lr);
  for (let at = 0; n > 0; n -= 4, at += 16) {
    const w = v128.load(weight + at);
    let g = v128.load(grad + at);
    if (mean) {
      g = towards(v128.load(mean + at), g, share);
      Lanes.store(mean + at, g, n);
    }
    Lanes.store(weight + at, madd(step, sign(g), madd(w, shrink, w)), n);
  }
}
