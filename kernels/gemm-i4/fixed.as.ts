/**
 * One row of activations times a panel of 8 rows of codes, by integers. In runs of 128 codes or less, activations are
 * rounded to 31-bit fixed point under the largest of the run, x = (32768 h + l) · 2^(e − 30) with h and l int16, and a run's
 * sums of h · code and l · code are exact. `toFixed` declines rows whose smallest activations would lose more than the bound
 * of the product allows.
 */

import { Pairs } from "../gemm-i8/vector.as";

export const runCodes: i32 = 128;

/** Quads that the runs of a row may take: one that two runs share is written for both. */
export function roomOf(quads: i32, runs: i32): i32 {
  return quads + 2 * runs;
}

/** Bytes of what `toFixed` writes for a row: 16 a quad, and behind them 16 a run: Σh, Σl, 2^(e − 15), 2^(e − 30). */
export function fixedBytes(quads: i32, runs: i32): i32 {
  return (roomOf(quads, runs) + runs) * 16;
}

function power(exponent: i32): f32 {
  return reinterpret<f32>((exponent + 127) << 23);
}

/** Runs of all groups: each group is cut anew. */
export function runsOf(k: i32, depth: i32, groups: i32): i32 {
  const each = (depth + runCodes - 1) / runCodes;
  const last = k - (groups - 1) * depth;
  return (groups - 1) * each + (last + runCodes - 1) / runCodes;
}

/**
 * Whether the row could be written, from the quad of its first code a run behind the other, with zeros in the place of other
 * runs' codes. `split`: a quad is h0 h2 h1 h3 l0 l2 l1 l3, else h0 … h3 l0 … l3.
 */
export function toFixed(to: usize, x: usize, k: i32, depth: i32, room: i32, split: bool): bool {
  let tail = to + room * 16;
  const least = 16777216 / k;
  memory.fill(to, 0, room * 16);
  for (let g0 = 0; g0 < k; g0 += depth)
    for (let k0 = g0; k0 < min(k, g0 + depth); k0 += runCodes, tail += 16) {
      const end = min(min(k, g0 + depth), k0 + runCodes);
      let top: u32 = 0;
      for (let i = k0; i < end; i++) top = max(top, load<u32>(x + i * 4) & 0x7fffffff);
      const e = ((top >> 23) as i32) - 126;
      let sumH: i32 = 0;
      let sumL: i32 = 0;
      if (top !== 0) {
        if (e < -90 || e > 127) return false;
        const factor = power(30 - e);
        for (let i = k0; i < end; i++) {
          const value = load<f32>(x + i * 4);
          const fixed = nearest(value * factor) as i32;
          if (value !== 0 && abs(fixed) < least) return false;
          const h = fixed >> 15;
          const l = fixed & 0x7fff;
          sumH += h;
          sumL += l;
          const place = split ? ((i & 1) << 1) | ((i & 2) >> 1) : i & 3;
          const at = to + ((i >> 2) - (k0 >> 2)) * 16 + place * 2;
          store<i16>(at, h as i16);
          store<i16>(at, l as i16, 8);
        }
      }
      to += quadsIn(k0, end) * 16;
      store<i32>(tail, sumH);
      store<i32>(tail, sumL, 4);
      store<f32>(tail, top === 0 ? 0 : power(e - 15), 8);
      store<f32>(tail, top === 0 ? 0 : power(e - 30), 12);
    }
  return true;
}

/** Quads that codes k0 … end − 1 lie in. */
function quadsIn(k0: i32, end: i32): i32 {
  return ((end + 3) >> 2) - (k0 >> 2);
}

/** What a run adds to four outputs, before their scale: h and l are sums of alpha · code, beta what is added to a code. */
function runValue(h: v128, l: v128, beta: v128, run: usize): v128 {
  const high = i32x4.add(h, i32x4.mul(beta, v128.load32_splat(run)));
  const low = i32x4.add(l, i32x4.mul(beta, v128.load32_splat(run, 4)));
  return f32x4.add(
    f32x4.mul(f32x4.convert_i32x4_s(high), v128.load32_splat(run, 8)),
    f32x4.mul(f32x4.convert_i32x4_s(low), v128.load32_splat(run, 12)),
  );
}

/**
 * to (8 floats) = the row · codes as 4 bits lie, which `alpha` multiplies. `beta`, `scale`: of the panel's rows in every
 * group, `betaStep` 0 where all have one beta.
 */
export function fixed4(
  to: usize,
  x: usize,
  codes: usize,
  k: i32,
  room: i32,
  depth: i32,
  alpha: i32,
  beta: usize,
  betaStep: i32,
  scale: usize,
): void {
  const mask = i16x8.splat(15);
  let run = x + room * 16;
  let out0 = f32x4.splat(0);
  let out1 = out0;
  for (let g0 = 0; g0 < k; g0 += depth) {
    let sum0 = f32x4.splat(0);
    let sum1 = sum0;
    const stop = min(k, g0 + depth);
    for (let k0 = g0; k0 < stop; k0 += runCodes, run += 16) {
      let h0 = i32x4.splat(0);
      let h1 = h0;
      let l0 = h0;
      let l1 = h0;
      let at = codes + (k0 >> 2) * 16;
      for (const end = at + quadsIn(k0, min(stop, k0 + runCodes)) * 16; at < end; at += 16, x += 16) {
        const v = v128.load(at);
        const n0 = v128.and(v, mask);
        const n1 = v128.and(i16x8.shr_u(v, 4), mask);
        const n2 = v128.and(i16x8.shr_u(v, 8), mask);
        const n3 = i16x8.shr_u(v, 12);
        const he = v128.load32_splat(x);
        const ho = v128.load32_splat(x, 4);
        const le = v128.load32_splat(x, 8);
        const lo = v128.load32_splat(x, 12);
        h0 = i32x4.add(h0, i32x4.dot_i16x8_s(n0, he));
        l0 = i32x4.add(l0, i32x4.dot_i16x8_s(n0, le));
        h1 = i32x4.add(h1, i32x4.dot_i16x8_s(n1, he));
        l1 = i32x4.add(l1, i32x4.dot_i16x8_s(n1, le));
        h0 = i32x4.add(h0, i32x4.dot_i16x8_s(n2, ho));
        l0 = i32x4.add(l0, i32x4.dot_i16x8_s(n2, lo));
        h1 = i32x4.add(h1, i32x4.dot_i16x8_s(n3, ho));
        l1 = i32x4.add(l1, i32x4.dot_i16x8_s(n3, lo));
      }
      if (alpha !== 1) {
        const factor = i32x4.splat(alpha);
        h0 = i32x4.mul(h0, factor);
        h1 = i32x4.mul(h1, factor);
        l0 = i32x4.mul(l0, factor);
        l1 = i32x4.mul(l1, factor);
      }
      sum0 = f32x4.add(sum0, runValue(h0, l0, v128.load(beta), run));
      sum1 = f32x4.add(sum1, runValue(h1, l1, v128.load(beta, 16), run));
    }
    out0 = f32x4.add(out0, f32x4.mul(sum0, v128.load(scale)));
    out1 = f32x4.add(out1, f32x4.mul(sum1, v128.load(scale, 16)));
    beta += betaStep;
    scale += 32;
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}

/** The same from spread codes of any width above 4, which need no `alpha`. */
export function fixedSpread(
  to: usize,
  x: usize,
  codes: usize,
  k: i32,
  room: i32,
  depth: i32,
  beta: usize,
  betaStep: i32,
  scale: usize,
): void {
  let run = x + room * 16;
  let out0 = f32x4.splat(0);
  let out1 = out0;
  for (let g0 = 0; g0 < k; g0 += depth) {
    let sum0 = f32x4.splat(0);
    let sum1 = sum0;
    const stop = min(k, g0 + depth);
    for (let k0 = g0; k0 < stop; k0 += runCodes, run += 16) {
      let h0 = i32x4.splat(0);
      let h1 = h0;
      let h2 = h0;
      let h3 = h0;
      let l0 = h0;
      let l1 = h0;
      let l2 = h0;
      let l3 = h0;
      let at = codes + (k0 >> 2) * 32;
      for (const end = at + quadsIn(k0, min(stop, k0 + runCodes)) * 32; at < end; at += 32, x += 16) {
        const v0 = v128.load(at);
        const v1 = v128.load(at, 16);
        const h = v128.load64_splat(x);
        const l = v128.load64_splat(x, 8);
        const a = i16x8.extend_low_i8x16_u(v0);
        h0 = i32x4.add(h0, i32x4.dot_i16x8_s(h, a));
        l0 = i32x4.add(l0, i32x4.dot_i16x8_s(l, a));
        const b = i16x8.extend_high_i8x16_u(v0);
        h1 = i32x4.add(h1, i32x4.dot_i16x8_s(h, b));
        l1 = i32x4.add(l1, i32x4.dot_i16x8_s(l, b));
        const c = i16x8.extend_low_i8x16_u(v1);
        h2 = i32x4.add(h2, i32x4.dot_i16x8_s(h, c));
        l2 = i32x4.add(l2, i32x4.dot_i16x8_s(l, c));
        const d = i16x8.extend_high_i8x16_u(v1);
        h3 = i32x4.add(h3, i32x4.dot_i16x8_s(h, d));
        l3 = i32x4.add(l3, i32x4.dot_i16x8_s(l, d));
      }
      const high0 = Pairs.fold(h0, h1);
      const high1 = Pairs.fold(h2, h3);
      const low0 = Pairs.fold(l0, l1);
      const low1 = Pairs.fold(l2, l3);
      sum0 = f32x4.add(sum0, runValue(high0, low0, v128.load(beta), run));
      sum1 = f32x4.add(sum1, runValue(high1, low1, v128.load(beta, 16), run));
    }
    out0 = f32x4.add(out0, f32x4.mul(sum0, v128.load(scale)));
    out1 = f32x4.add(out1, f32x4.mul(sum1, v128.load(scale, 16)));
    beta += betaStep;
    scale += 32;
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}

/**
 * Adds to `to` (8 sums) the sum of x of each group times the panel's rests and scales; `run`: what `toFixed` wrote behind the
 * numbers of the row.
 */
export function addRests(to: usize, run: usize, k: i32, depth: i32, rests: usize, scale: usize): void {
  let out0 = v128.load(to);
  let out1 = v128.load(to, 16);
  for (let g0 = 0; g0 < k; g0 += depth, rests += 32, scale += 32) {
    let sum: f32 = 0;
    for (let k0 = g0; k0 < min(k, g0 + depth); k0 += runCodes, run += 16) {
      const high = (load<i32>(run) as f32) * load<f32>(run, 8);
      sum += high + (load<i32>(run, 4) as f32) * load<f32>(run, 12);
    }
    const x = f32x4.splat(sum);
    out0 = f32x4.add(out0, f32x4.mul(f32x4.mul(x, v128.load(rests)), v128.load(scale)));
    out1 = f32x4.add(out1, f32x4.mul(f32x4.mul(x, v128.load(rests, 16)), v128.load(scale, 16)));
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}
