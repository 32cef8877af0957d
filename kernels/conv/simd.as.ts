/**
 * The copies around the products of convolution, and depthwise convolution, in AssemblyScript. kernels/conv/simd.ts
 * drives them.
 *
 * Images are padded first, so that every tap of every window is a plain load: a tap is the distance in bytes from the first
 * pixel of its window. Addresses and names ending in Step or Plane are bytes, sizes are elements.
 */

export { direct, directWeight, packFilters, paddedRows, storeWeight } from "./direct.as";
export { packColumns } from "../gemm-f32/pack.as";

import { total } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";

// The depth blocks of the panels of gemm-f32.
const blockDepth: i32 = 256;
// Rows of windows whose products are added in float before they go on in double.
const gradRows: i32 = 8;

/**
 * planes times: to (toH, toW) = from (h, w) moved down by `top` and right by `left`, both of any sign, else zero. In a frame
 * of two `phases` a row has its even columns first, then its odd ones, so that every other one is a neighbour.
 */
export function frame(
  to: usize,
  toH: i32,
  toW: i32,
  from: usize,
  h: i32,
  w: i32,
  planes: i32,
  top: i32,
  left: i32,
  phases: i32,
): void {
  const first = max(0, min(toW, left));
  const end = max(first, min(toW, w + left));
  for (let plane = 0; plane < planes; plane++, from += h * w * 4)
    for (let y = 0; y < toH; y++, to += toW * 4) {
      const row = y - top;
      if (row < 0 || row >= h) {
        memory.fill(to, 0, toW * 4);
        continue;
      }
      if (phases === 2) {
        phase(to, toW >> 1, from + row * w * 4, w, left, 0);
        phase(to + toW * 2, toW >> 1, from + row * w * 4, w, left, 1);
        continue;
      }
      for (let x = 0; x < first; x++) store<f32>(to + x * 4, 0);
      copyRow(to + first * 4, from + (row * w + first - left) * 4, end - first);
      for (let x = end; x < toW; x++) store<f32>(to + x * 4, 0);
    }
}

/** to (n) = every other of from (w) moved right by `left`, from `odd` on. */
function phase(to: usize, n: i32, from: usize, w: i32, left: i32, odd: i32): void {
  const first = max(0, min(n, (left - odd + 1) >> 1));
  const end = max(first, min(n, (w + left - odd + 1) >> 1));
  let i = 0;
  for (; i < first; i++) store<f32>(to + i * 4, 0);
  let at = from + (2 * i + odd - left) * 4;
  for (; i + 4 <= end; i += 4, at += 32)
    v128.store(to + i * 4, v128.shuffle<f32>(v128.load(at), v128.load(at, 16), 0, 2, 4, 6));
  for (; i < end; i++, at += 8) store<f32>(to + i * 4, load<f32>(at));
  for (; i < n; i++) store<f32>(to + i * 4, 0);
}

function copyRow(to: usize, from: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(to + i * 4, v128.load(from + i * 4));
  for (; i < n; i++) store<f32>(to + i * 4, load<f32>(from + i * 4));
}

/** taps (channels, kh, kw): where each tap lies, columns being `dilation` elements apart and odd ones `odd` bytes behind. */
export function tapTable(
  taps: usize,
  channels: i32,
  kh: i32,
  kw: i32,
  plane: i32,
  rowStep: i32,
  dilation: i32,
  phases: i32,
  odd: i32,
): void {
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++, taps += 4) {
        const x = j * dilation;
        const column = phases === 2 ? (x & 1) * odd + (x >> 1) * 4 : x * 4;
        store<i32>(taps, c * plane + i * rowStep + column);
      }
}

/** groups times: to (c, o, k) = the filters w (o, c, k), taps last first. */
export function mirror(to: usize, w: usize, groups: i32, o: i32, c: i32, k: i32): void {
  for (; groups > 0; groups--, w += o * c * k * 4)
    for (let channel = 0; channel < c; channel++)
      for (let filter = 0; filter < o; filter++) {
        const from = w + (filter * c + channel) * k * 4;
        for (let t = k - 1; t >= 0; t--, to += 4) store<f32>(to, load<f32>(from + t * 4));
      }
}

/**
 * The columns (k taps, count windows) from window `first`, in panels that gemm-f32 takes with its flag 8. Windows are
 * numbered along rows of ow, rowStep and colStep apart.
 */
export function panels(
  to: usize,
  x: usize,
  taps: usize,
  k: i32,
  first: i32,
  count: i32,
  ow: i32,
  rowStep: i32,
  colStep: i32,
): void {
  const width = (count + 7) & ~7;
  const last = first + count - 1;
  for (let k0 = 0; k0 < k; k0 += blockDepth) {
    const depth = min(blockDepth, k - k0);
    const table = taps + k0 * 4;
    const block = to + k0 * width * 4;
    for (let p = 0; p < width; p += 4) {
      let at = block + (p & ~7) * depth * 4 + (p & 4) * 4;
      // Lanes beyond the last window are dropped by the product; they repeat it.
      const w0 = x + offsetOf(min(first + p, last), ow, rowStep, colStep);
      const w1 = x + offsetOf(min(first + p + 1, last), ow, rowStep, colStep);
      const w2 = x + offsetOf(min(first + p + 2, last), ow, rowStep, colStep);
      const w3 = x + offsetOf(min(first + p + 3, last), ow, rowStep, colStep);
      const end = table + depth * 4;
      if (w1 === w0 + 4 && w2 === w0 + 8 && w3 === w0 + 12)
        for (let tap = table; tap < end; tap += 4, at += 32) v128.store(at, v128.load(w0 + load<i32>(tap)));
      else
        for (let tap = table; tap < end; tap += 4, at += 32) {
          const distance = load<i32>(tap);
          store<f32>(at, load<f32>(w0 + distance));
          store<f32>(at, load<f32>(w1 + distance), 4);
          store<f32>(at, load<f32>(w2 + distance), 8);
          store<f32>(at, load<f32>(w3 + distance), 12);
        }
    }
  }
}

function offsetOf(window: i32, ow: i32, rowStep: i32, colStep: i32): i32 {
  return (window / ow) * rowStep + (window % ow) * colStep;
}

/** columns (k taps, rows · ow windows): rows of windows as they lie. */
export function columns(
  to: usize,
  x: usize,
  taps: usize,
  k: i32,
  rows: i32,
  ow: i32,
  rowStep: i32,
  colStep: i32,
): void {
  for (let t = 0; t < k; t++, taps += 4) {
    let from = x + load<i32>(taps);
    for (let y = 0; y < rows; y++, from += rowStep, to += ow * 4)
      if (colStep === 4) copyRow(to, from, ow);
      else for (let i = 0, at = from; i < ow; i++, at += colStep) store<f32>(to + i * 4, load<f32>(at));
  }
}

/** Adds columns (k taps, rows · ow windows) back onto the framed image they are windows of. */
export function addColumns(
  x: usize,
  from: usize,
  taps: usize,
  k: i32,
  rows: i32,
  ow: i32,
  rowStep: i32,
  colStep: i32,
): void {
  for (let t = 0; t < k; t++, taps += 4) {
    let to = x + load<i32>(taps);
    for (let y = 0; y < rows; y++, to += rowStep, from += ow * 4) addScaled(to, colStep, from, ow, 1);
  }
}

/** to += factor · from, `step` bytes apart. */
function addScaled(to: usize, step: i32, from: usize, n: i32, factor: f32): void {
  let i = 0;
  if (step === 4) {
    const factors = f32x4.splat(factor);
    for (; i + 4 <= n; i += 4)
      v128.store(to + i * 4, madd(factors, v128.load(from + i * 4), v128.load(to + i * 4)));
  }
  for (let at = to + i * step; i < n; i++, at += step)
    store<f32>(at, load<f32>(at) + factor * load<f32>(from + i * 4));
}

/** planes times: to (h, w) = from (fromH, fromW) moved up by `top` and left by `left`: undoes `frame`. */
export function unframe(
  to: usize,
  h: i32,
  w: i32,
  from: usize,
  fromH: i32,
  fromW: i32,
  planes: i32,
  top: i32,
  left: i32,
  phases: i32,
): void {
  if (phases === 1) {
    frame(to, h, w, from, fromH, fromW, planes, -top, -left, 1);
    return;
  }
  for (; planes > 0; planes--, from += fromH * fromW * 4)
    for (let y = 0; y < h; y++, to += w * 4)
      if (y + top < fromH) joinPhases(to, w, from + (y + top) * fromW * 4, fromW, left);
      else memory.fill(to, 0, w * 4);
}

/** to (w) = a row of two phases moved left by `left`, else zero. */
function joinPhases(to: usize, w: i32, from: usize, fromW: i32, left: i32): void {
  const half = fromW * 2;
  const end = min(w, fromW - left);
  let x = 0;
  for (; x < end; x++) {
    const column = x + left;
    if ((column & 1) === 0) {
      for (; x + 8 <= end; x += 8) {
        const at = from + (x + left) * 2;
        const even = v128.load(at);
        const odd = v128.load(at + half);
        v128.store(to + x * 4, v128.shuffle<f32>(even, odd, 0, 4, 1, 5));
        v128.store(to + x * 4, v128.shuffle<f32>(even, odd, 2, 6, 3, 7), 16);
      }
      if (x >= end) break;
    }
    store<f32>(to + x * 4, load<f32>(from + ((x + left) & 1) * half + ((x + left) >> 1) * 4));
  }
  for (; x < w; x++) store<f32>(to + x * 4, 0);
}

/** out (oh, ow) = the windows of one framed plane, weighted by w (k). */
export function depthwise(
  out: usize,
  x: usize,
  w: usize,
  taps: usize,
  k: i32,
  oh: i32,
  ow: i32,
  rowStep: i32,
  colStep: i32,
): void {
  for (let y = 0; y < oh; y++, x += rowStep, out += ow * 4) {
    let i = 0;
    if (colStep === 4) {
      for (; i + 8 <= ow; i += 8) {
        let s0 = f32x4.splat(0);
        let s1 = f32x4.splat(0);
        for (let t = 0; t < k * 4; t += 4) {
          const weight = v128.load32_splat(w + t);
          const at = x + i * 4 + load<i32>(taps + t);
          s0 = madd(weight, v128.load(at), s0);
          s1 = madd(weight, v128.load(at, 16), s1);
        }
        v128.store(out + i * 4, s0);
        v128.store(out + i * 4, s1, 16);
      }
    } else
      for (; i + 4 <= ow; i += 4) {
        let sum = f32x4.splat(0);
        for (let t = 0; t < k * 4; t += 4) {
          const at = x + i * colStep + load<i32>(taps + t);
          let lanes = v128.load32_zero(at);
          lanes = v128.load_lane<f32>(at + colStep, lanes, 1);
          lanes = v128.load_lane<f32>(at + 2 * colStep, lanes, 2);
          lanes = v128.load_lane<f32>(at + 3 * colStep, lanes, 3);
          sum = madd(v128.load32_splat(w + t), lanes, sum);
        }
        v128.store(out + i * 4, sum);
      }
    for (; i < ow; i++) {
      let sum: f32 = 0;
      for (let t = 0; t < k * 4; t += 4)
        sum += load<f32>(w + t) * load<f32>(x + i * colStep + load<i32>(taps + t));
      store<f32>(out + i * 4, sum);
    }
  }
}

/** Adds dOut (oh, ow) weighted by w (k) back onto one framed plane. */
export function depthwiseInput(
  x: usize,
  dOut: usize,
  w: usize,
  taps: usize,
  k: i32,
  oh: i32,
  ow: i32,
  rowStep: i32,
  colStep: i32,
): void {
  for (let y = 0; y < oh; y++, x += rowStep, dOut += ow * 4)
    for (let t = 0; t < k * 4; t += 4)
      addScaled(x + load<i32>(taps + t), colStep, dOut, ow, load<f32>(w + t));
}

/** dw (k) += the products of dOut (oh, ow) with the windows of one framed plane. */
export function depthwiseWeight(
  dw: usize,
  x: usize,
  dOut: usize,
  taps: usize,
  k: i32,
  oh: i32,
  ow: i32,
  rowStep: i32,
  colStep: i32,
): void {
  for (let t = 0; t < k * 4; t += 4) {
    let all: f64 = 0;
    let from = dOut;
    let row = x + load<i32>(taps + t);
    for (let y = 0; y < oh; y += gradRows) {
      let sums = f32x4.splat(0);
      let more = f32x4.splat(0);
      let rest: f32 = 0;
      for (let r = min(gradRows, oh - y); r > 0; r--, row += rowStep, from += ow * 4) {
        let i = 0;
        if (colStep === 4) {
          for (; i + 8 <= ow; i += 8) {
            sums = madd(v128.load(from + i * 4), v128.load(row + i * 4), sums);
            more = madd(v128.load(from + i * 4, 16), v128.load(row + i * 4, 16), more);
          }
          for (; i + 4 <= ow; i += 4) sums = madd(v128.load(from + i * 4), v128.load(row + i * 4), sums);
        }
        for (; i < ow; i++) rest += load<f32>(from + i * 4) * load<f32>(row + i * colStep);
      }
      all += total(f32x4.add(sums, more)) + (rest as f64);
    }
    store<f32>(dw + t, load<f32>(dw + t) + (all as f32));
  }
}
