/**
 * Filters over one channel each, plane by plane, windows along the lanes. Taps beside each other are a pair of int16: the product
 * of four windows with a pair of taps is one instruction. Weights lie as such pairs, (kh, kw / 2 rounded up) a filter, or where
 * taps are not beside each other (kh, kw), each with a 0.
 */

import { writePlane } from "../wasm/output.as";
import { framePlane } from "./frame.as";
import { Layer } from "./layer.as";

// Bytes of the frame, and half of those of the sums, of rows of windows that are done at once: all in the first level cache.
const held: i32 = 8192;

class Plan {
  /** Pairs of taps of a row. */
  @inline static pairs(layer: usize): i32 {
    return Layer.word(layer, 15) === 1 ? (Layer.word(layer, 13) + 1) >> 1 : Layer.word(layer, 13);
  }

  /** Rows of windows at once. */
  @inline static rows(layer: usize): i32 {
    const row = max(Layer.word(layer, 7) * Layer.word(layer, 10), Layer.word(layer, 17)) * 2;
    return max(1, min(Layer.word(layer, 16), held / row));
  }

  @inline static frameRows(layer: usize, rows: i32): i32 {
    return (rows - 1) * Layer.word(layer, 10) + (Layer.word(layer, 12) - 1) * Layer.word(layer, 14) + 1;
  }

  /** What is written behind the sums, and read behind the frame, by vectors that are not full. */
  @inline static behind(layer: usize): i32 {
    return 64 + (8 * Layer.word(layer, 11) + Layer.word(layer, 13) * Layer.word(layer, 15)) * 2;
  }
}

export function depthwiseScratch(layer: usize): i32 {
  const rows = Plan.rows(layer);
  const table = Layer.word(layer, 12) * Plan.pairs(layer) * 4;
  const sums = rows * Layer.word(layer, 17) * 4;
  return table + sums + Plan.frameRows(layer, rows) * Layer.word(layer, 7) * 2 + 2 * Plan.behind(layer) + 256;
}

/** The outputs of `count` planes from `first` on. */
export function depthwise(layer: usize, first: i32, count: i32, scratch: usize): void {
  const h = Layer.word(layer, 2);
  const w = Layer.word(layer, 3);
  const channels = Layer.word(layer, 5);
  const filters = Layer.word(layer, 6);
  const frameW = Layer.word(layer, 7);
  const strideH = Layer.word(layer, 10);
  const strideW = Layer.word(layer, 11);
  const kh = Layer.word(layer, 12);
  const oh = Layer.word(layer, 16);
  const ow = Layer.word(layer, 17);
  const output = Layer.word(layer, 25);
  const height = Plan.rows(layer);
  const pairs = Plan.pairs(layer);
  const taps = kh * pairs;
  const rowStep = (strideH * frameW) << 1;
  const tapStep = (Layer.word(layer, 14) * frameW) << 1;
  const pairStep = Layer.word(layer, 15) === 1 ? 4 : Layer.word(layer, 15) << 1;
  const small = kh === 3 && Layer.word(layer, 13) === 3 && pairs === 2 && strideW === 1;

  const table = (scratch + 63) & ~63;
  const sums = (table + (taps << 2) + 63) & ~63;
  const frame = (sums + height * ow * 4 + Plan.behind(layer) + 63) & ~63;
  let at = table;
  for (let i = 0; i < kh; i++)
    for (let j = 0; j < pairs; j++, at += 4) store<i32>(at, i * tapStep + j * pairStep);

  for (let plane = first; plane < first + count; plane++) {
    const image = plane / channels;
    const channel = plane % channels;
    const x = Layer.word(layer, 0) + plane * h * w;
    for (let row = 0; row < oh; row += height) {
      const rows = min(height, oh - row);
      framePlane(
        frame,
        Plan.frameRows(layer, rows),
        frameW,
        x,
        h,
        w,
        Layer.word(layer, 8) - row * strideH,
        Layer.word(layer, 9),
        Layer.word(layer, 18),
        Layer.word(layer, 19) !== 0,
      );
      for (let f = channel * filters; f < (channel + 1) * filters; f++) {
        const weights = Layer.word(layer, 23) + f * (taps << 2);
        if (small) windows3(sums, frame, rowStep, tapStep, weights, rows, ow);
        else windows(sums, frame, rowStep, strideW, table, taps, weights, rows, ow);
        writePlane(output, image, f, ((image * channels * filters + f) * oh + row) * ow, rows * ow, sums);
      }
    }
  }
}

/** Sums (rows, ow), written in whole vectors: the end of a row is overwritten by the next one. */
function windows(
  to: usize,
  from: usize,
  rowStep: i32,
  strideW: i32,
  table: usize,
  taps: i32,
  weights: usize,
  rows: i32,
  ow: i32,
): void {
  const end = taps << 2;
  for (let y = 0; y < rows; y++, from += rowStep, to += ow << 2)
    for (let i = 0; i < ow; i += 8) {
      const x = from + ((i * strideW) << 1);
      let s0 = i32x4.splat(0);
      let s1 = s0;
      for (let t = 0; t < end; t += 4) {
        const weight = v128.load32_splat(weights + t);
        const at = x + load<i32>(table + t);
        // Windows one pixel apart: the even ones, then the odd ones.
        const next = strideW === 1 ? at + 2 : at + (strideW << 3);
        s0 = i32x4.add(s0, i32x4.dot_i16x8_s(weight, Four.at(at, strideW)));
        s1 = i32x4.add(s1, i32x4.dot_i16x8_s(weight, Four.at(next, strideW)));
      }
      if (strideW === 1) Four.interleave(to + (i << 2), s0, s1);
      else {
        v128.store(to + (i << 2), s0);
        v128.store(to + (i << 2), s1, 16);
      }
    }
}

class Four {
  /** Pairs of four windows, every second one where they are one pixel apart. */
  @inline static at(from: usize, stride: i32): v128 {
    if (stride <= 2) return v128.load(from);
    const bytes = stride << 1;
    let lanes = v128.load32_zero(from);
    lanes = v128.load_lane<i32>(from + bytes, lanes, 1);
    lanes = v128.load_lane<i32>(from + bytes * 2, lanes, 2);
    return v128.load_lane<i32>(from + bytes * 3, lanes, 3);
  }

  @inline static interleave(to: usize, even: v128, odd: v128): void {
    v128.store(to, v128.shuffle<i32>(even, odd, 0, 4, 1, 5));
    v128.store(to, v128.shuffle<i32>(even, odd, 2, 6, 3, 7), 16);
  }
}

/** The same for 3 x 3 taps and windows beside each other: one loop over all rows, which keeps the weights in registers. */
export function windows3(
  to: usize,
  from: usize,
  rowStep: i32,
  tapStep: i32,
  weights: usize,
  rows: i32,
  ow: i32,
): void {
  const w0 = v128.load32_splat(weights);
  const w1 = v128.load32_splat(weights, 4);
  const w2 = v128.load32_splat(weights, 8);
  const w3 = v128.load32_splat(weights, 12);
  const w4 = v128.load32_splat(weights, 16);
  const w5 = v128.load32_splat(weights, 20);
  const end = to + ((rows * ow) << 2);
  let x = from;
  let rowEnd = to + (ow << 2);
  while (true) {
    const y = x + tapStep;
    const z = y + tapStep;
    let even = i32x4.dot_i16x8_s(w0, v128.load(x));
    let odd = i32x4.dot_i16x8_s(w0, v128.load(x, 2));
    even = i32x4.add(even, i32x4.dot_i16x8_s(w1, v128.load(x, 4)));
    odd = i32x4.add(odd, i32x4.dot_i16x8_s(w1, v128.load(x, 6)));
    even = i32x4.add(even, i32x4.dot_i16x8_s(w2, v128.load(y)));
    odd = i32x4.add(odd, i32x4.dot_i16x8_s(w2, v128.load(y, 2)));
    even = i32x4.add(even, i32x4.dot_i16x8_s(w3, v128.load(y, 4)));
    odd = i32x4.add(odd, i32x4.dot_i16x8_s(w3, v128.load(y, 6)));
    even = i32x4.add(even, i32x4.dot_i16x8_s(w4, v128.load(z)));
    odd = i32x4.add(odd, i32x4.dot_i16x8_s(w4, v128.load(z, 2)));
    even = i32x4.add(even, i32x4.dot_i16x8_s(w5, v128.load(z, 4)));
    odd = i32x4.add(odd, i32x4.dot_i16x8_s(w5, v128.load(z, 6)));
    Four.interleave(to, even, odd);
    to += 32;
    x += 16;
    if (to >= rowEnd) {
      if (rowEnd === end) return;
      to = rowEnd;
      rowEnd += ow << 2;
      from += rowStep;
      x = from;
    }
  }
}
