/**
 * Blocks of one float16 scale: Q8_0, and Q4_0, Q5_0, Q4_1 and Q5_1 of 32 codes, Q1_0 of 128 and Q2_0 of 64, as ggml's
 * encoders write them.
 */

import {
  type BlockFormat,
  blockFormat,
  getHalf,
  type Importance,
  inverse,
  putHalf,
  signedMax,
} from "./block.ts";
import { getCodes, type Plane, putCodes } from "./codes.ts";
import { fitAffine, fitSymmetric, importanceTrials, importanceWeights } from "./search.ts";

const fround = Math.fround;

/** Half away from zero, as C's roundf. */
export const roundAway = (x: number): number => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

/** 32 int8 codes: code · d, d = max|x|/127. 8.5 bits a number. */
export const Q8_0 = /* @__PURE__ */ blockFormat({
  name: "Q8_0",
  blockSize: 32,
  byteSize: 34,
  encode(x, block) {
    const d = fround(Math.abs(signedMax(x)) / 127);
    const id = inverse(d);
    putHalf("Q8_0", block, 0, d);
    for (let i = 0; i < 32; i++) block[2 + i] = roundAway(fround(x[i] * id)) & 255;
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    for (let i = 0; i < 32; i++) out[i] = ((block[2 + i] << 24) >> 24) * d;
  },
});

/** The planes of 32 codes of 4 bits, x[j] low and x[j + 16] high; the fifth bits of codes of 5 lie before them. */
const planesOf = (bits: 4 | 5, at: number): Plane[] =>
  bits === 4
    ? [{ at, width: 16, bits: 4 }]
    : [
        { at: at + 4, width: 16, bits: 4 },
        { at, width: 1, bits: 1 },
      ];

const weightsOf = (x: Float32Array, { columns, meanSquare }: Importance): Float32Array =>
  importanceWeights(x, columns, meanSquare);

/** Codes (x − least) · id + zero, half up: the formats' own rounding. */
function halfUp(x: Float32Array, most: number, id: number, least: number, zero: number): Uint8Array {
  const codes = new Uint8Array(x.length);
  for (let i = 0; i < x.length; i++)
    codes[i] = Math.min(most, Math.trunc(fround(fround(fround(x[i] - least) * id) + (zero + 0.5))));
  return codes;
}

/** 32 codes: (code − levels) · d, where d may be negative: the number of largest magnitude is −levels · d exactly. */
function symmetric(name: string, bits: 4 | 5): BlockFormat {
  const levels = 2 ** (bits - 1);
  const planes = planesOf(bits, 2);
  return blockFormat({
    name,
    blockSize: 32,
    byteSize: 2 + 4 * bits,
    encode(x, block, importance) {
      if (importance) {
        const codes = new Uint8Array(32);
        putHalf(name, block, 0, fitSymmetric(x, weightsOf(x, importance), codes, levels));
        putCodes(block, planes, codes);
        return;
      }
      const d = fround(signedMax(x) / -levels);
      putHalf(name, block, 0, d);
      putCodes(block, planes, halfUp(x, 2 * levels - 1, inverse(d), 0, levels));
    },
    decode(block, out) {
      const d = getHalf(block, 0);
      const codes = getCodes(block, planes, 32);
      for (let i = 0; i < 32; i++) out[i] = (codes[i] - levels) * d + 0;
    },
  });
}

/** 32 codes: code · d + m, m = min x, or with an importance at most 0. */
function affine(name: string, bits: 4 | 5): BlockFormat {
  const most = 2 ** bits - 1;
  const planes = planesOf(bits, 4);
  return blockFormat({
    name,
    blockSize: 32,
    byteSize: 4 + 4 * bits,
    encode(x, block, importance) {
      if (importance) {
        const codes = new Uint8Array(32);
        const fit = fitAffine(x, weightsOf(x, importance), codes, most, importanceTrials);
        putHalf(name, block, 0, fit.scale);
        putHalf(name, block, 2, fit.least);
        putCodes(block, planes, codes);
        return;
      }
      let [min, max] = [x[0], x[0]];
      for (const v of x) {
        if (v < min) min = v;
        if (v > max) max = v;
      }
      const d = fround(fround(max - min) / most);
      putHalf(name, block, 0, d);
      putHalf(name, block, 2, min);
      putCodes(block, planes, halfUp(x, most, inverse(d), min, 0));
    },
    decode(block, out) {
      const [d, m] = [getHalf(block, 0), getHalf(block, 2)];
      const codes = getCodes(block, planes, 32);
      for (let i = 0; i < 32; i++) out[i] = fround(codes[i] * d) + m;
    },
  });
}

/** 32 codes of 4 bits: (code − 8) · d, where d may be negative: the number of largest magnitude is −8 d exactly. 4.5 bits. */
export const Q4_0 = /* @__PURE__ */ symmetric("Q4_0", 4);

/** As Q4_0 with codes of 5 bits: (code − 16) · d, the number of largest magnitude is −16 d. 5.5 bits. */
export const Q5_0 = /* @__PURE__ */ symmetric("Q5_0", 5);

/** 32 codes of 4 bits: code · d + m, m = min x, or with an importance at most 0. 5 bits. */
export const Q4_1 = /* @__PURE__ */ affine("Q4_1", 4);

/** 32 codes of 5 bits: code · d + m, m = min x, or with an importance at most 0. 6 bits. */
export const Q5_1 = /* @__PURE__ */ affine("Q5_1", 5);

const signPlanes: readonly Plane[] = [{ at: 2, width: 1, bits: 1 }];

/** 128 signs: d where the bit is 1, −d where it is 0, d = mean|x|; 0 counts as positive. 1.125 bits. */
export const Q1_0 = /* @__PURE__ */ blockFormat({
  name: "Q1_0",
  blockSize: 128,
  byteSize: 18,
  encode(x, block) {
    let sum = 0;
    for (const v of x) sum = fround(sum + Math.abs(v));
    putHalf("Q1_0", block, 0, fround(sum / 128));
    const codes = new Uint8Array(128);
    // The opposite of the convention of kernels/bits.ts, where 1 is negative.
    for (let i = 0; i < 128; i++) codes[i] = x[i] >= 0 ? 1 : 0;
    putCodes(block, signPlanes, codes);
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    const codes = getCodes(block, signPlanes, 128);
    for (let i = 0; i < 128; i++) out[i] = codes[i] ? d : -d;
  },
});

const fourthPlanes: readonly Plane[] = [{ at: 2, width: 1, bits: 2 }];

/** 64 codes of 2 bits: (code − 1) · d, d = max|x|, of which the encoder uses −1, 0 and 1 alone. 2.25 bits. */
export const Q2_0 = /* @__PURE__ */ blockFormat({
  name: "Q2_0",
  blockSize: 64,
  byteSize: 18,
  encode(x, block) {
    const d = Math.abs(signedMax(x));
    const id = inverse(d);
    putHalf("Q2_0", block, 0, d);
    const codes = new Uint8Array(64);
    for (let i = 0; i < 64; i++) codes[i] = roundAway(fround(x[i] * id)) + 1;
    putCodes(block, fourthPlanes, codes);
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    const codes = getCodes(block, fourthPlanes, 64);
    for (let i = 0; i < 64; i++) out[i] = (codes[i] - 1) * d;
  },
});
