/**
 * Windows times filters. A block of rows of windows has its pixels as int16, channels last, in a frame; a window is a few runs of
 * them, which are read where they lie: nothing is copied for it. Weights are widened to int16 a panel of 8 filters at a time.
 */

import { spread, widen } from "../gemm-i8/codes.as";
import { writePlane } from "../wasm/output.as";
import { frameLast } from "./frame.as";
import { Layer } from "./layer.as";

// Windows whose sums stay in the first level cache; a multiple of 4 and of the tile's 5.
const chunk: i32 = 160;

class Run {
  /** Taps beside each other in a row are one run. */
  @inline static taps(layer: usize): i32 {
    return Layer.word(layer, 15) === 1 ? Layer.word(layer, 13) : 1;
  }

  /** Numbers of a run. */
  @inline static length(layer: usize): i32 {
    return Run.taps(layer) * Layer.word(layer, 4);
  }

  @inline static count(layer: usize): i32 {
    return (Layer.word(layer, 12) * Layer.word(layer, 13)) / Run.taps(layer);
  }

  /** Numbers of a run in pairs, the last of which may be half full. */
  @inline static pairs(layer: usize): i32 {
    return (Run.length(layer) + 1) >> 1;
  }

  /** Chunks of 16 codes of a filter. */
  @inline static chunks(layer: usize): i32 {
    return (Run.count(layer) * Run.pairs(layer) + 7) >> 3;
  }
}

class Frame {
  @inline static rows(layer: usize, rows: i32): i32 {
    return (rows - 1) * Layer.word(layer, 10) + (Layer.word(layer, 12) - 1) * Layer.word(layer, 14) + 1;
  }

  @inline static bytes(layer: usize, rows: i32): i32 {
    return Frame.rows(layer, rows) * Layer.word(layer, 7) * Layer.word(layer, 4) * 2;
  }
}

class Room {
  /** The ways to the runs of a window, and where each window begins. */
  @inline static tables(layer: usize, windows: i32): i32 {
    return ((Run.count(layer) + windows + 5) * 4 + 63) & ~63;
  }
}

/** Bytes of scratch for `rows` rows of windows of `images` images. */
export function denseScratch(layer: usize, images: i32, rows: i32): i32 {
  const tables = Room.tables(layer, images * rows * Layer.word(layer, 17));
  return tables + Run.chunks(layer) * 384 + chunk * 64 + 128 + images * Frame.bytes(layer, rows) + 64;
}

/** The outputs of `rows` rows of windows from `row` on, of `images` images from `image` on. */
export function dense(layer: usize, image: i32, images: i32, row: i32, rows: i32, scratch: usize): void {
  const channels = Layer.word(layer, 4);
  const groups = Layer.word(layer, 5);
  const filters = Layer.word(layer, 6);
  const pixel = channels << 1;
  const rowBytes = Layer.word(layer, 7) * pixel;
  const strideH = Layer.word(layer, 10);
  const oh = Layer.word(layer, 16);
  const ow = Layer.word(layer, 17);
  const each = rows * ow;
  const windows = images * each;
  const runs = Run.count(layer);
  const pairs = Run.pairs(layer);
  const chunks = Run.chunks(layer);
  const frameRows = Frame.rows(layer, rows);
  const frameBytes = Frame.bytes(layer, rows);
  const output = Layer.word(layer, 25);

  const table = (scratch + 63) & ~63;
  const windowsAt = table + (runs << 2);
  const wide = table + Room.tables(layer, windows);
  const codes = wide + (chunks << 8);
  const sums = codes + (chunks << 7);
  const columns = sums + chunk * 32;
  const frames = columns + chunk * 32 + 64;

  let at = table;
  let end = 0;
  for (let i = 0; i < Layer.word(layer, 12); i++)
    for (let j = 0; j < Layer.word(layer, 13); j += Run.taps(layer), at += 4) {
      const place = i * Layer.word(layer, 14) * rowBytes + j * Layer.word(layer, 15) * pixel;
      store<i32>(at, place - end);
      end = place + (pairs << 2);
    }
  for (let i = 0; i < images; i++)
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < ow; x++, at += 4)
        store<i32>(at, frames + i * frameBytes + y * strideH * rowBytes + x * Layer.word(layer, 11) * pixel);
  // A tile that is not full repeats the last window.
  for (let i = 0; i < 4; i++, at += 4) store<i32>(at, load<i32>(windowsAt + ((windows - 1) << 2)));

  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < images; i++)
      frameLast(
        frames + i * frameBytes,
        frameRows,
        Layer.word(layer, 7),
        Layer.word(layer, 0) +
          (image + i) * Layer.word(layer, 1) +
          g * channels * Layer.word(layer, 2) * Layer.word(layer, 3),
        Layer.word(layer, 2),
        Layer.word(layer, 3),
        channels,
        Layer.word(layer, 8) - row * strideH,
        Layer.word(layer, 9),
        Layer.word(layer, 18),
        Layer.word(layer, 19) !== 0,
      );
    for (let j = 0; j < filters; j += 8) {
      const from =
        Layer.word(layer, 23) + g * Layer.word(layer, 24) + (j >> 3) * chunks * 16 * Layer.word(layer, 20);
      const betas = Layer.word(layer, 26);
      const beta = betas ? betas + ((g * ((filters + 7) >> 3) + (j >> 3)) << 5) : 0;
      panel(layer, wide, codes, from, beta, chunks, runs, pairs);
      for (let w = 0; w < windows; w += chunk) {
        const count = min(chunk, windows - w);
        for (let i = 0; i < count; i += 5)
          tile(sums + (i << 5), windowsAt + ((w + i) << 2), table, pairs, wide, wide + runs * (pairs << 5));
        for (let i = 0; i < count; i += 4) {
          transpose(columns + (i << 2), sums + (i << 5));
          transpose(columns + ((chunk * 4 + i) << 2), sums + (i << 5) + 16);
        }
        for (let f = 0; f < min(8, filters - j); f++) {
          const filter = g * filters + j + f;
          for (let done = 0; done < count; ) {
            const i = (w + done) / each;
            const inside = w + done - i * each;
            const length = min(count - done, each - inside);
            const to = ((image + i) * groups * filters + filter) * oh * ow + row * ow + inside;
            writePlane(output, image + i, filter, to, length, columns + ((f * chunk + done) << 2));
            done += length;
          }
        }
      }
    }
  }
}

/** The weights of 8 filters as int16, in pairs; 0 where the last of a run is half full. `betas`: of these filters, or 0. */
function panel(
  layer: usize,
  to: usize,
  codes: usize,
  from: usize,
  betas: usize,
  chunks: i32,
  runs: i32,
  pairs: i32,
): void {
  widen(to, spread(codes, from, Layer.word(layer, 20), chunks), chunks << 2);
  const alpha = i16x8.splat(Layer.word(layer, 21) as i16);
  const all = i16x8.splat(Layer.word(layer, 22) as i16);
  const beta0 = betas ? v128.load(betas) : all;
  const beta1 = betas ? v128.load(betas, 16) : all;
  for (let at = to; at < to + (chunks << 8); at += 32) {
    v128.store(at, i16x8.add(i16x8.mul(v128.load(at), alpha), beta0));
    v128.store(at, i16x8.add(i16x8.mul(v128.load(at, 16), alpha), beta1), 16);
  }
  if ((Run.length(layer) & 1) === 0) return;
  for (let run = 1; run <= runs; run++) {
    const last = to + ((run * pairs - 1) << 5);
    for (let f = 0; f < 32; f += 4) store<i16>(last + f, 0, 2);
  }
}

/** Four windows of four filters. */
function transpose(to: usize, from: usize): void {
  const v0 = v128.load(from);
  const v1 = v128.load(from, 32);
  const v2 = v128.load(from, 64);
  const v3 = v128.load(from, 96);
  const t0 = v128.shuffle<i32>(v0, v1, 0, 4, 1, 5);
  const t1 = v128.shuffle<i32>(v2, v3, 0, 4, 1, 5);
  const t2 = v128.shuffle<i32>(v0, v1, 2, 6, 3, 7);
  const t3 = v128.shuffle<i32>(v2, v3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(t0, t1, 0, 2));
  v128.store(to, v128.shuffle<i64>(t0, t1, 1, 3), chunk * 4);
  v128.store(to, v128.shuffle<i64>(t2, t3, 0, 2), chunk * 8);
  v128.store(to, v128.shuffle<i64>(t2, t3, 1, 3), chunk * 12);
}

/**
 * to (5, 8 filters) = the sums of five windows over their runs, of `pairs` each: `ways` has the bytes from the end of a run
 * to the next one. One loop over all runs: in two, one in the other, V8 keeps the sums in memory.
 */
export function tile(to: usize, windows: usize, ways: usize, pairs: i32, b: usize, end: usize): void {
  let c00 = i32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  let c40 = c00;
  let c41 = c00;
  let x0 = load<usize>(windows);
  let x1 = load<usize>(windows, 4);
  let x2 = load<usize>(windows, 8);
  let x3 = load<usize>(windows, 12);
  let x4 = load<usize>(windows, 16);
  let next = b;
  while (b < end) {
    if (b === next) {
      const way = load<i32>(ways);
      x0 += way;
      x1 += way;
      x2 += way;
      x3 += way;
      x4 += way;
      ways += 4;
      next += pairs << 5;
    }
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(x0);
    c00 = i32x4.add(c00, i32x4.dot_i16x8_s(a0, b0));
    c01 = i32x4.add(c01, i32x4.dot_i16x8_s(a0, b1));
    const a1 = v128.load32_splat(x1);
    c10 = i32x4.add(c10, i32x4.dot_i16x8_s(a1, b0));
    c11 = i32x4.add(c11, i32x4.dot_i16x8_s(a1, b1));
    const a2 = v128.load32_splat(x2);
    c20 = i32x4.add(c20, i32x4.dot_i16x8_s(a2, b0));
    c21 = i32x4.add(c21, i32x4.dot_i16x8_s(a2, b1));
    const a3 = v128.load32_splat(x3);
    c30 = i32x4.add(c30, i32x4.dot_i16x8_s(a3, b0));
    c31 = i32x4.add(c31, i32x4.dot_i16x8_s(a3, b1));
    const a4 = v128.load32_splat(x4);
    c40 = i32x4.add(c40, i32x4.dot_i16x8_s(a4, b0));
    c41 = i32x4.add(c41, i32x4.dot_i16x8_s(a4, b1));
    x0 += 4;
    x1 += 4;
    x2 += 4;
    x3 += 4;
    x4 += 4;
    b += 32;
  }
  v128.store(to, c00);
  v128.store(to, c01, 16);
  v128.store(to, c10, 32);
  v128.store(to, c11, 48);
  v128.store(to, c20, 64);
  v128.store(to, c21, 80);
  v128.store(to, c30, 96);
  v128.store(to, c31, 112);
  v128.store(to, c40, 128);
  v128.store(to, c41, 144);
}
