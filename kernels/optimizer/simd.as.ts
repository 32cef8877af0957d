/** Updates of float32 parameters on the heap in one pass, in AssemblyScript; kernels/optimizer/reference.ts states the contract. */

import { storePart } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";

function put(to: usize, v: v128, left: i32): void {
  if (left >= 4) v128.store(to, v);
  else storePart(to, v, left);
}

/** −1, 0 or 1; a zero or a NaN itself. */
function sign(x: v128): v128 {
  const one = v128.bitselect(x, f32x4.splat(1), i32x4.splat(0x80000000));
  return v128.bitselect(one, x, f32x4.gt(f32x4.abs(x), f32x4.splat(0)));
}

/** from + share · (to − from): the moving average, whose two weights add up to 1 exactly. */
function towards(from: v128, to: v128, share: v128): v128 {
  return madd(share, f32x4.sub(to, from), from);
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
  const meanShare = f32x4.splat(newMean);
  const squareShare = f32x4.splat(newSquare);
  const step = f32x4.splat(size);
  const by = f32x4.splat(inverseRoot);
  const least = f32x4.splat(eps);
  for (let at = 0; n > 0; n -= 4, at += 16) {
    const before = v128.load(weight + at);
    const w = madd(before, shrink, before);
    const g = madd(pull, w, v128.load(grad + at));
    const m = towards(v128.load(mean + at), g, meanShare);
    const v = towards(v128.load(square + at), f32x4.mul(g, g), squareShare);
    let second = v;
    if (largest) {
      second = f32x4.max(v128.load(largest + at), v);
      put(largest + at, second, n);
    }
    put(mean + at, m, n);
    put(square + at, v, n);
    const divisor = madd(f32x4.sqrt(second), by, least);
    put(weight + at, f32x4.sub(w, f32x4.div(f32x4.mul(step, m), divisor)), n);
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
  for (let at = 0; n > 0; n -= 4, at += 16) {
    const w = v128.load(weight + at);
    let d = madd(pull, w, f32x4.mul(way, v128.load(grad + at)));
    if (buffer) {
      const m = first ? d : madd(keep, v128.load(buffer + at), f32x4.mul(add, d));
      put(buffer + at, m, n);
      d = nesterov ? madd(keep, m, d) : m;
    }
    put(weight + at, madd(step, d, w), n);
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
    put(weight + at, madd(step, sign(towards(m, g, signShare)), madd(w, shrink, w)), n);
    put(mean + at, towards(m, g, meanShare), n);
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
      put(mean + at, g, n);
    }
    put(weight + at, madd(step, sign(g), madd(w, shrink, w)), n);
  }
}
