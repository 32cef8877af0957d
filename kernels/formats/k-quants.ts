/**
 * Blocks of 256 with scales of scales: Q4_K and Q6_K, with the searches of ggml's encoders.
 */

import { roundEven } from "../elementwise/special.ts";
import { blockFormat, getHalf, type Importance, putHalf, signedMax } from "./block.ts";
import {
  clamp,
  fitAffine,
  fitPositive,
  fitSymmetric,
  importanceTrials,
  importanceWeights,
  plainTrials,
  sum,
  sumOfSquares,
} from "./search.ts";

const fround = Math.fround;

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

/** What errors count in each group of 32: rms(x) + |x|, or by the importance, with twice the mean square of the block. */
function groupWeights(x: Float32Array, importance: Importance | null): Float32Array[] {
  const variance = importance ? fround(fround(2 * sumOfSquares(x)) / 256) : 0;
  return Array.from({ length: 8 }, (_, j) => {
    const group = x.subarray(32 * j, 32 * j + 32);
    if (importance)
      return importanceWeights(group, importance.columns.subarray(32 * j, 32 * j + 32), variance);
    const rms = fround(Math.sqrt(fround(sumOfSquares(group) / 32)));
    return group.map((v) => rms + Math.abs(v));
  });
}

/** Codes 0 to 63 of numbers x ≥ 0, the largest of which is 63. */
function sixBits(x: Float32Array): { scale: number; codes: number[] } {
  const max = Math.max(0, ...x);
  const codes = Array.from(x, (v) =>
    max > 0 ? Math.min(63, roundEven(fround(fround(63 / max) * v)) & 255) : 0,
  );
  return { scale: fround(max / 63), codes };
}

/** Eight groups of 32 codes of 4 bits: d · scale · code − dmin · min, scales and minima of 6 bits. 4.5 bits. */
export const Q4_K = /* @__PURE__ */ blockFormat({
  name: "Q4_K",
  blockSize: 256,
  byteSize: 144,
  encode(x, block, importance) {
    const weights = groupWeights(x, importance);
    const trials = importance ? importanceTrials : plainTrials;
    const fits = weights.map((w, j) => fitAffine(x.subarray(32 * j, 32 * j + 32), w, trials));
    const sums = importance && Float32Array.from(weights, (w) => sum(32, (i) => w[i]));
    const [forScales, forMins] = (["scale", "min"] as const).map((part) => {
      const values = Float32Array.from(fits, (fit) => fit[part]);
      return sums ? fitPositive(values, sums) : sixBits(values);
    });
    const scales = block.subarray(4, 16);
    putScalesAndMins(scales, forScales.codes, forMins.codes);
    const d = putHalf("Q4_K", block, 0, forScales.scale);
    const dmin = putHalf("Q4_K", block, 2, forMins.scale);
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

/** Sixteen groups of 16 codes of 6 bits: d · scale · (code − 32), scales int8. 6.5625 bits. */
export const Q6_K = /* @__PURE__ */ blockFormat({
  name: "Q6_K",
  blockSize: 256,
  byteSize: 210,
  encode(x, block, importance) {
    const w = importance ? importance.columns : x.map((v) => v * v);
    const fits = Array.from({ length: 16 }, (_, j) =>
      fitSymmetric(x.subarray(16 * j, 16 * j + 16), w.subarray(16 * j, 16 * j + 16), 32),
    );
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
