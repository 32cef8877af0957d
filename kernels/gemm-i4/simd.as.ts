/**
 * Products of float32 activations with weights of 1 to 8 bits, in AssemblyScript; kernels/gemm-i4/reference.ts states the
 * contract and simd.ts writes the words of a layer:
 *
 *     0 m   1 n   2 k   3 bits   4 depth: codes of a row in a group   5 groups   6 activations   7 bytes between their rows
 *     8 weights   9 alpha   10 beta, eight of it   11 betas or 0   12 scale   13 bias, or 0   14 out
 *     15 a codebook, or 0: byte b of its 16 floats from 16 b on   16 rests: floats that are added to betas, or 0
 *
 * Weights lie as kernels/gemm-i8/layout.ts draws them; a weight is (alpha · code + beta) · scale, or codebook[code] · scale.
 * Words 11, 12 and 16 are arrays (panels, groups, 8 rows). Few rows go one by one, by integers where they can; more rows
 * meet panels of weights that are made floats in scratch, in the order of kernels/gemm-f32.
 */

import { packRows } from "../gemm-f32/pack.as";
import { tiles } from "../gemm-f32/simd.as";
import { fours, spread } from "../gemm-i8/codes.as";
import { levels, levelsRow } from "./codebook.as";
import { addRests, fixed4, fixedBytes, fixedSpread, roomOf, runsOf, toFixed } from "./fixed.as";

// Exported so that they stay functions of their own: the compiler inlines what has one caller, and V8 then spills the sums.
export { fixed4, fixedSpread, levels, levelsRow };

const blockRows: i32 = 180;
const blockDepth: i32 = 256;

// Up to so many rows.
const fewRows: i32 = 5;

// Codes of a group from which on its rests may be added to its sum.
const leastRest: i32 = 16;

// The scratch: what `tiles` needs, eight sums, a panel of floats, a quad of it, codes, activations.
const sumsAt: usize = 256;
const panelAt: usize = 320;
const quadAt: usize = panelAt + blockDepth * 32;
const codesAt: usize = quadAt + 128;

function padded(k: i32): i32 {
  return (k + 15) & ~15;
}

export function scratchBytes(m: i32, k: i32, depth: i32, groups: i32): i32 {
  const few = padded(k) * 8 + fixedBytes(padded(k) >> 2, runsOf(k, depth, groups));
  const many = blockDepth * 8 + blockRows * blockDepth * 4;
  return (codesAt as i32) + (m <= fewRows ? few : many);
}

/** Outputs `column` … `end` − 1 of all rows; `column` is a multiple of 8. */
export function gemm(layer: usize, scratch: usize, column: i32, end: i32): void {
  const m = load<i32>(layer);
  const n = load<i32>(layer, 4);
  const k = load<i32>(layer, 8);
  const bias = load<usize>(layer, 52);
  memory.fill(scratch, 0, 32);
  let out = load<usize>(layer, 56);
  if (k === 0) {
    const bytes = (end - column) * 4;
    out += column * 4;
    for (let i = 0; i < m; i++, out += n * 4)
      if (bias) memory.copy(out, bias + column * 4, bytes);
      else memory.fill(out, 0, bytes);
    return;
  }
  let x = load<usize>(layer, 24);
  const step = load<i32>(layer, 28);
  if (m <= fewRows)
    for (let i = 0; i < m; i++, x += step, out += n * 4) row(layer, scratch, out, x, column, end);
  else
    for (let i = 0; i < m; i += blockRows)
      block(layer, scratch, out + i * n * 4, x + i * step, min(blockRows, m - i), column, end);
}

/** Whether a row of fixed-point numbers may be multiplied by integers; rests are added after, for which it must not be short. */
function areIntegers(layer: usize): bool {
  if (load<usize>(layer, 60)) return false;
  if (load<usize>(layer, 64) && min(load<i32>(layer, 8), load<i32>(layer, 16)) < leastRest) return false;
  return load<i32>(layer, 12) <= 4 || load<i32>(layer, 36) === 1;
}

function row(layer: usize, scratch: usize, out: usize, x: usize, column: i32, end: i32): void {
  const k = load<i32>(layer, 8);
  const bits = load<i32>(layer, 12);
  const depth = load<i32>(layer, 16);
  const alpha = load<i32>(layer, 36);
  const betas = load<usize>(layer, 44);
  const bias = load<usize>(layer, 52);
  const groups = load<i32>(layer, 20);
  const betaStep = betas ? 32 : 0;
  const chunks = padded(k) >> 4;
  const quads = chunks * 4;
  const sums = scratch + sumsAt;
  const spreadAt = scratch + codesAt;
  const fixed = spreadAt + chunks * 128;
  const room = roomOf(quads, runsOf(k, depth, groups));
  const whole = bits <= 4;
  const codebook = load<usize>(layer, 60);
  const rests = load<usize>(layer, 64);
  // Groups that part a quad are made floats, as activations that are no integers are.
  const byLevels = codebook !== 0 && (groups === 1 || (depth & 3) === 0);
  let byIntegers = false;
  if (byLevels) {
    memory.copy(fixed, x, k * 4);
    memory.fill(fixed + k * 4, 0, quads * 16 - k * 4);
  } else if (areIntegers(layer)) byIntegers = toFixed(fixed, x, k, depth, room, whole);
  const panel = 16 * bits * chunks;
  let weights = load<usize>(layer, 32) + (column >> 3) * panel;
  for (; column < end; column += 8, weights += panel) {
    const beta = betas ? betas + column * groups * 4 : load<usize>(layer, 40);
    const scale = load<usize>(layer, 48) + column * groups * 4;
    if (byLevels) levelsRow(sums, fixed, spread(spreadAt, weights, bits, chunks), codebook, k, depth, scale);
    else if (!byIntegers) dequantizedRow(layer, scratch, sums, x, column, weights);
    else if (whole) {
      const codes = fours(spreadAt, weights, bits, chunks);
      fixed4(sums, fixed, codes, k, room, depth, alpha, beta, betaStep, scale);
    } else {
      const codes = spread(spreadAt, weights, bits, chunks);
      fixedSpread(sums, fixed, codes, k, room, depth, beta, betaStep, scale);
    }
    if (byIntegers && rests) addRests(sums, fixed + room * 16, k, depth, rests + column * groups * 4, scale);
    for (let j = 0; j < min(8, end - column); j++) {
      const at = (column + j) * 4;
      const sum = load<f32>(sums + j * 4);
      store<f32>(out + at, bias ? load<f32>(bias + at) + sum : sum);
    }
  }
}

/** Eight outputs of a row whose activations are no integers, or not near each other. */
function dequantizedRow(
  layer: usize,
  scratch: usize,
  sums: usize,
  x: usize,
  column: i32,
  weights: usize,
): void {
  const k = load<i32>(layer, 8);
  const panel = scratch + panelAt;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (let k0 = 0; k0 < k; k0 += blockDepth) {
    const depth = min(blockDepth, k - k0);
    dequantize(layer, scratch, panel, weights, column, k0, depth);
    for (let i = 0; i < depth; i++) {
      const a = v128.load32_splat(x + (k0 + i) * 4);
      s0 = f32x4.add(s0, f32x4.mul(a, v128.load(panel + i * 32)));
      s1 = f32x4.add(s1, f32x4.mul(a, v128.load(panel + i * 32, 16)));
    }
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
}

function block(layer: usize, scratch: usize, out: usize, x: usize, rows: i32, start: i32, end: i32): void {
  const n = load<i32>(layer, 4);
  const k = load<i32>(layer, 8);
  const bits = load<i32>(layer, 12);
  const xStep = load<i32>(layer, 28);
  const bias = load<usize>(layer, 52);
  const panelB = scratch + panelAt;
  const panelA = scratch + codesAt + blockDepth * 8;
  const panel = 16 * bits * (padded(k) >> 4);
  const step = n * 4;
  for (let k0 = 0; k0 < k; k0 += blockDepth) {
    const depth = min(blockDepth, k - k0);
    packRows(panelA, x + k0 * 4, rows, depth, xStep, 4);
    let weights = load<usize>(layer, 32) + (start >> 3) * panel;
    for (let column = start; column < end; column += 8, weights += panel) {
      dequantize(layer, scratch, panelB, weights, column, k0, depth);
      const to = out + column * 4;
      const cols = min(8, end - column);
      if (k0 > 0) tiles(to, step, to, step, 4, panelA, panelB, rows, cols, depth, scratch);
      else if (bias) tiles(to, step, bias + column * 4, 0, 4, panelA, panelB, rows, cols, depth, scratch);
      else tiles(to, step, scratch, 0, 0, panelA, panelB, rows, cols, depth, scratch);
    }
  }
}

/** Codes k0 … k0 + count − 1 of a panel as floats, 8 rows for each; k0 is a multiple of 16. Writes up to 3 more. */
function dequantize(
  layer: usize,
  scratch: usize,
  to: usize,
  weights: usize,
  column: i32,
  k0: i32,
  count: i32,
): void {
  const bits = load<i32>(layer, 12);
  const depth = load<i32>(layer, 16);
  const groups = load<i32>(layer, 20);
  const alpha = load<i32>(layer, 36);
  const betas = load<usize>(layer, 44);
  const codebook = load<usize>(layer, 60);
  const rests = load<usize>(layer, 64);
  let codes = scratch + codesAt;
  codes = spread(codes, weights + k0 * bits, bits, (count + 15) >> 4);
  for (let done = 0; done < count; ) {
    const g = (k0 + done) / depth;
    const stop = min(count, (g + 1) * depth - k0);
    const at: usize = (column * groups + g * 8) << 2;
    const beta = betas ? betas + at : load<usize>(layer, 40);
    const scale = load<usize>(layer, 48) + at;
    let beta0 = f32x4.convert_i32x4_s(v128.load(beta));
    let beta1 = f32x4.convert_i32x4_s(v128.load(beta, 16));
    if (rests) {
      // Exactly what was parted.
      beta0 = f32x4.add(beta0, v128.load(rests + at));
      beta1 = f32x4.add(beta1, v128.load(rests + at, 16));
    }
    const scale0 = v128.load(scale);
    const scale1 = v128.load(scale, 16);
    if (done & 3) {
      // The quad's first codes are of the group before.
      const at = scratch + quadAt;
      const quad = codes + (done >> 2) * 32;
      if (codebook) {
        levels(at, quad, codebook, scale0);
        levels(at + 16, quad + 16, codebook, scale1);
      } else {
        four(at, v128.load(quad), alpha, beta0, scale0);
        four(at + 16, v128.load(quad, 16), alpha, beta1, scale1);
      }
      const end = min(stop, (done + 3) & ~3);
      memory.copy(to + done * 32, at + (done & 3) * 32, (end - done) * 32);
      done = end;
    }
    if (codebook)
      for (; done < stop; done = min(stop, done + 4)) {
        levels(to + done * 32, codes + done * 8, codebook, scale0);
        levels(to + done * 32 + 16, codes + done * 8 + 16, codebook, scale1);
      }
    for (; done < stop; done = min(stop, done + 4)) {
      four(to + done * 32, v128.load(codes + done * 8), alpha, beta0, scale0);
      four(to + done * 32 + 16, v128.load(codes + done * 8, 16), alpha, beta1, scale1);
    }
  }
}

/** Four codes of each of four rows, a byte each: as floats, 32 bytes between the codes of a row; beta is of floats. */
function four(to: usize, v: v128, alpha: i32, beta: v128, scale: v128): void {
  const mask = i32x4.splat(255);
  let c0 = v128.and(v, mask);
  let c1 = v128.and(i32x4.shr_u(v, 8), mask);
  let c2 = v128.and(i32x4.shr_u(v, 16), mask);
  let c3 = i32x4.shr_u(v, 24);
  if (alpha !== 1) {
    const factor = i32x4.splat(alpha);
    c0 = i32x4.mul(c0, factor);
    c1 = i32x4.mul(c1, factor);
    c2 = i32x4.mul(c2, factor);
    c3 = i32x4.mul(c3, factor);
  }
  v128.store(to, f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(c0), beta), scale));
  v128.store(to, f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(c1), beta), scale), 32);
  v128.store(to, f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(c2), beta), scale), 64);
  v128.store(to, f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(c3), beta), scale), 96);
}
