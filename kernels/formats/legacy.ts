/** Blocks of 32 and of 128 with one float16 scale: Q8_0, Q4_0, Q4_1 and Q1_0, as ggml's reference encoders write them. */

import { blockFormat, getHalf, inverse, putHalf, signedMax } from "./block.ts";
import { fitAffine, fitSymmetric, importanceTrials, importanceWeights } from "./search.ts";

const fround = Math.fround;

/** Half away from zero, as C's roundf. */
export const roundAway = (x: number): number => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

/** Two codes of 4 bits a byte: x[j] low, x[j + 16] high. */
function putNibbles(block: Uint8Array, at: number, code: (i: number) => number): void {
  for (let j = 0; j < 16; j++) block[at + j] = code(j) | (code(j + 16) << 4);
}

function getNibbles(block: Uint8Array, at: number, put: (i: number, code: number) => void): void {
  for (let j = 0; j < 16; j++) {
    put(j, block[at + j] & 15);
    put(j + 16, block[at + j] >> 4);
  }
}

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

/** 32 codes of 4 bits: (code − 8) · d, where d may be negative: the number of largest magnitude is −8 d exactly. 4.5 bits. */
export const Q4_0 = /* @__PURE__ */ blockFormat({
  name: "Q4_0",
  blockSize: 32,
  byteSize: 18,
  encode(x, block, importance) {
    if (importance) {
      const w = importanceWeights(x, importance.columns, importance.meanSquare);
      const { scale, codes } = fitSymmetric(x, w, 8);
      putHalf("Q4_0", block, 0, scale);
      return putNibbles(block, 2, (i) => codes[i] + 8);
    }
    const d = fround(signedMax(x) / -8);
    const id = inverse(d);
    putHalf("Q4_0", block, 0, d);
    // Half up: the format's own rounding.
    putNibbles(block, 2, (i) => Math.min(15, Math.trunc(fround(fround(x[i] * id) + 8.5))));
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    getNibbles(block, 2, (i, code) => {
      out[i] = (code - 8) * d + 0;
    });
  },
});

/** 32 codes of 4 bits: code · d + m, m = min x, or with an importance at most 0. 5 bits. */
export const Q4_1 = /* @__PURE__ */ blockFormat({
  name: "Q4_1",
  blockSize: 32,
  byteSize: 20,
  encode(x, block, importance) {
    if (importance) {
      const w = importanceWeights(x, importance.columns, importance.meanSquare);
      const fit = fitAffine(x, w, importanceTrials);
      putHalf("Q4_1", block, 0, fit.scale);
      putHalf("Q4_1", block, 2, -fit.min);
      return putNibbles(block, 4, (i) => fit.codes[i]);
    }
    let [min, max] = [x[0], x[0]];
    for (const v of x) {
      if (v < min) min = v;
      if (v > max) max = v;
    }
    const d = fround(fround(max - min) / 15);
    const id = inverse(d);
    putHalf("Q4_1", block, 0, d);
    putHalf("Q4_1", block, 2, min);
    putNibbles(block, 4, (i) => Math.min(15, Math.trunc(fround(fround(fround(x[i] - min) * id) + 0.5))));
  },
  decode(block, out) {
    const [d, m] = [getHalf(block, 0), getHalf(block, 2)];
    getNibbles(block, 4, (i, code) => {
      out[i] = fround(code * d) + m;
    });
  },
});

/** 128 signs: d where the bit is 1, −d where it is 0, d = mean|x|; 0 counts as positive. 1.125 bits. */
export const Q1_0 = /* @__PURE__ */ blockFormat({
  name: "Q1_0",
  blockSize: 128,
  byteSize: 18,
  encode(x, block) {
    let sum = 0;
    for (const v of x) sum = fround(sum + Math.abs(v));
    putHalf("Q1_0", block, 0, fround(sum / 128));
    // The opposite of the convention of kernels/bits.ts, where 1 is negative.
    for (let i = 0; i < 128; i++) if (x[i] >= 0) block[2 + (i >> 3)] |= 1 << (i & 7);
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    for (let i = 0; i < 128; i++) out[i] = (block[2 + (i >> 3)] >> (i & 7)) & 1 ? d : -d;
  },
});
