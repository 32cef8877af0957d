/**
 * Blocks of 256 with scales of scales: Q4_K and Q6_K, with the searches of ggml's reference encoders. Every step is rounded
 * to float32 as there, so that the bytes are the same.
 */

import { roundEven } from "../elementwise/special.ts";
import { blockFormat, getHalf, putHalf, signedMax } from "./block.ts";

const fround = Math.fround;

const clamp = (x: number, least: number, most: number): number => Math.max(least, Math.min(most, x));

/** A sum in float32, term by term. */
function sum(n: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < n; i++) total = fround(total + term(i));
  return total;
}

/**
 * Codes 0 to 15 and the scale and minimum of x ≈ scale · code − min, min ≥ 0, by weighted least squares over 21 trial
 * scales, which span from the best minimum so far; errors count as rms(x) + |x|.
 */
function fitAffine(x: Float32Array): { scale: number; min: number; codes: number[] } {
  const n = x.length;
  const rms = fround(Math.sqrt(fround(sum(n, (i) => fround(x[i] * x[i])) / n)));
  const w = x.map((v) => rms + Math.abs(v));
  const sumW = sum(n, (i) => w[i]);
  const sumX = sum(n, (i) => fround(w[i] * x[i]));
  let min = Math.min(0, ...x);
  const max = Math.max(...x);
  const range = fround(max - min);
  // Below this 15 / range would overflow.
  if (range < 2 ** -120) return { scale: 0, min: -min + 0, codes: Array(n).fill(0) };
  const codesAt = (inverseScale: number): number[] =>
    Array.from(x, (v) => clamp(roundEven(fround(inverseScale * fround(v - min))), 0, 15));
  const errorOf = (codes: number[], scale: number, least: number): number =>
    sum(n, (i) => {
      const diff = fround(fround(fround(scale * codes[i]) + least) - x[i]);
      return fround(w[i] * fround(diff * diff));
    });
  const first = fround(15 / range);
  let scale = fround(1 / first);
  let codes = codesAt(first);
  let best = errorOf(codes, scale, min);
  for (let step = 0; step <= 20; step++) {
    const levels = fround(fround(-1 + fround(fround(0.1) * step)) + 15);
    const trial = codesAt(fround(levels / fround(max - min)));
    const sumL = sum(n, (i) => fround(w[i] * trial[i]));
    const sumL2 = sum(n, (i) => fround(fround(w[i] * trial[i]) * trial[i]));
    const sumXL = sum(n, (i) => fround(fround(w[i] * trial[i]) * x[i]));
    const determinant = fround(fround(sumW * sumL2) - fround(sumL * sumL));
    if (!(determinant > 0)) continue;
    let s = fround(fround(fround(sumW * sumXL) - fround(sumX * sumL)) / determinant);
    let m = fround(fround(fround(sumL2 * sumX) - fround(sumL * sumXL)) / determinant);
    if (m > 0) {
      m = 0;
      s = fround(sumXL / sumL2);
    }
    const error = errorOf(trial, s, m);
    if (error < best) [best, scale, min, codes] = [error, s, m, trial];
  }
  return { scale, min: -min + 0, codes };
}

/** The 6-bit scale and minimum of group j from the 12 bytes that hold eight of each. */
export function scaleAndMin(scales: Uint8Array, j: number): [scale: number, min: number] {
  if (j < 4) return [scales[j] & 63, scales[j + 4] & 63];
  return [(scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4), (scales[j + 4] >> 4) | ((scales[j] >> 6) << 4)];
}

/** Writes eight 6-bit scales and minima into 12 zeroed bytes. */
export function putScalesAndMins(scales: Uint8Array, s: readonly number[], m: readonly number[]): void {
  for (let j = 0; j < 4; j++) {
    scales[j] = s[j] | ((s[j + 4] >> 4) << 6);
    scales[j + 4] = m[j] | ((m[j + 4] >> 4) << 6);
    scales[j + 8] = (s[j + 4] & 15) | ((m[j + 4] & 15) << 4);
  }
}

/** Eight groups of 32 codes of 4 bits: d · scale · code − dmin · min, scales and minima of 6 bits. 4.5 bits. */
export const Q4_K = /* @__PURE__ */ blockFormat({
  name: "Q4_K",
  blockSize: 256,
  byteSize: 144,
  encode(x, block) {
    const fits = Array.from({ length: 8 }, (_, j) => fitAffine(x.subarray(32 * j, 32 * j + 32)));
    const maxScale = Math.max(0, ...fits.map((f) => f.scale));
    const maxMin = Math.max(0, ...fits.map((f) => f.min));
    const sixBits = (value: number, max: number): number =>
      max > 0 ? Math.min(63, roundEven(fround(fround(63 / max) * value)) & 255) : 0;
    const scales = block.subarray(4, 16);
    putScalesAndMins(
      scales,
      fits.map((f) => sixBits(f.scale, maxScale)),
      fits.map((f) => sixBits(f.min, maxMin)),
    );
    const d = putHalf("Q4_K", block, 0, fround(maxScale / 63));
    const dmin = putHalf("Q4_K", block, 2, fround(maxMin / 63));
    // Codes anew, for the scales as they are stored.
    const codes = fits.flatMap((fit, j) => {
      const [s, m] = scaleAndMin(scales, j);
      const step = fround(d * s);
      if (step === 0) return fit.codes;
      const shift = fround(dmin * m);
      return Array.from(x.subarray(32 * j, 32 * j + 32), (v) =>
        clamp(roundEven(fround(fround(v + shift) / step)), 0, 15),
      );
    });
    for (let i = 0; i < 128; i++) {
      const at = (i >> 5) * 64 + (i & 31);
      block[16 + i] = codes[at] | (codes[at + 32] << 4);
    }
  },
  decode(block, out) {
    const [d, dmin] = [getHalf(block, 0), getHalf(block, 2)];
    const scales = block.subarray(4, 16);
    for (let i = 0; i < 256; i++) {
      const [s, m] = scaleAndMin(scales, i >> 5);
      const byte = block[16 + (i >> 6) * 32 + (i & 31)];
      const code = i & 32 ? byte >> 4 : byte & 15;
      out[i] = fround(fround(d * s) * code) - fround(dmin * m);
    }
  },
});

/** Codes −32 to 31 and the scale of x ≈ scale · code that loses least, x² as weights; those of zeros are stored as 0. */
function fitSymmetric(x: Float32Array): { scale: number; codes: number[] } {
  const max = signedMax(x);
  if (Math.abs(max) < 1e-15) return { scale: 0, codes: Array(x.length).fill(-32) };
  const codesAt = (inverseScale: number): number[] =>
    Array.from(x, (v) => clamp(roundEven(fround(inverseScale * v)), -32, 31));
  const sums = (codes: number[]): [xl: number, l2: number] => {
    const weighted = (i: number) => fround(x[i] * x[i]);
    return [
      sum(x.length, (i) => fround(fround(weighted(i) * x[i]) * codes[i])),
      sum(x.length, (i) => fround(fround(weighted(i) * codes[i]) * codes[i])),
    ];
  };
  let codes = codesAt(fround(-32 / max));
  const [xl, l2] = sums(codes);
  let scale = l2 === 0 ? 0 : fround(xl / l2);
  let best = fround(scale * xl);
  for (let step = -9; step <= 9; step++) {
    if (step === 0) continue;
    const trial = codesAt(fround(-fround(32 + fround(fround(0.1) * step)) / max));
    const [trialXL, trialL2] = sums(trial);
    if (!(trialL2 > 0 && fround(trialXL * trialXL) > fround(best * trialL2))) continue;
    scale = fround(trialXL / trialL2);
    best = fround(scale * trialXL);
    codes = trial;
  }
  return { scale, codes };
}

/** Sixteen groups of 16 codes of 6 bits: d · scale · (code − 32), scales int8. 6.5625 bits. */
export const Q6_K = /* @__PURE__ */ blockFormat({
  name: "Q6_K",
  blockSize: 256,
  byteSize: 210,
  encode(x, block) {
    const fits = Array.from({ length: 16 }, (_, j) => fitSymmetric(x.subarray(16 * j, 16 * j + 16)));
    const scales = Float32Array.from(fits, (f) => f.scale);
    // Numbers so large that their products overflow.
    for (const scale of scales) if (!Number.isFinite(scale)) putHalf("Q6_K", block, 208, scale);
    const max = signedMax(scales);
    if (Math.abs(max) < 1e-15) return;
    const inverseScale = fround(-128 / max);
    const d = putHalf("Q6_K", block, 208, fround(1 / inverseScale));
    const codes = fits.flatMap((fit, j) => {
      const s = Math.min(127, roundEven(fround(inverseScale * fit.scale)));
      block[192 + j] = s & 255;
      const step = fround(d * s);
      if (step === 0) return fit.codes.map((code) => code + 32);
      return Array.from(
        x.subarray(16 * j, 16 * j + 16),
        (v) => clamp(roundEven(fround(v / step)), -32, 31) + 32,
      );
    });
    for (let half = 0; half < 2; half++)
      for (let l = 0; l < 32; l++) {
        const [a, b, c, e] = [0, 32, 64, 96].map((k) => codes[half * 128 + k + l]);
        block[half * 64 + l] = (a & 15) | ((c & 15) << 4);
        block[half * 64 + 32 + l] = (b & 15) | ((e & 15) << 4);
        block[128 + half * 32 + l] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((e >> 4) << 6);
      }
  },
  decode(block, out) {
    const d = getHalf(block, 208);
    for (let i = 0; i < 256; i++) {
      const [half, part, l] = [i >> 7, (i >> 5) & 3, i & 31];
      const low = (block[half * 64 + (part & 1) * 32 + l] >> (part & 2 ? 4 : 0)) & 15;
      const high = (block[128 + half * 32 + l] >> (2 * part)) & 3;
      const scale = (block[192 + (i >> 4)] << 24) >> 24;
      out[i] = fround(d * scale) * (low + high * 16 - 32) + 0;
    }
  },
});
