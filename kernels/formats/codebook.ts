/** Blocks whose codes are places in a table: NF4 and MXFP4. */

import { blockFormat, signedMax } from "./block.ts";
import { getCodes, type Plane, putCodes } from "./codes.ts";

const fround = Math.fround;

// The 16 quantiles of the normal distribution of QLoRA, Dettmers et al., 2023, arXiv:2305.14314, appendix E.
export const normalFloats = /* @__PURE__ */ Float32Array.of(
  -1.0,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1.0,
);

/** The nearest place in a sorted table, the lower of two at the same distance. */
function nearest(table: Float32Array, x: number): number {
  let i = 0;
  while (i + 1 < table.length && x > (table[i] + table[i + 1]) / 2) i++;
  return i;
}

/**
 * 64 codes of 4 bits: table[code] · a, a = max|x| as float32 in the first four bytes; the first of two codes has the high
 * half of its byte. Codes as bitsandbytes writes them, which keeps the maxima in an array of their own. 4.5 bits.
 */
export const NF4 = /* @__PURE__ */ blockFormat({
  name: "NF4",
  blockSize: 64,
  byteSize: 36,
  encode(x, block) {
    const a = Math.abs(signedMax(x));
    new DataView(block.buffer, block.byteOffset).setFloat32(0, a, true);
    const code = (i: number) => nearest(normalFloats, a === 0 ? 0 : fround(x[i] / a));
    for (let j = 0; j < 32; j++) block[4 + j] = (code(2 * j) << 4) | code(2 * j + 1);
  },
  decode(block, out) {
    const a = new DataView(block.buffer, block.byteOffset).getFloat32(0, true);
    for (let j = 0; j < 32; j++) {
      out[2 * j] = normalFloats[block[4 + j] >> 4] * a;
      out[2 * j + 1] = normalFloats[block[4 + j] & 15] * a;
    }
  },
});

const planes: readonly Plane[] = [{ at: 1, width: 16, bits: 4 }];

// Twice the magnitudes of E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6; the second half of the codes is negative.
const doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const;

/**
 * 32 codes of 4 bits, E2M1 floats times 2^(e − 127): one byte e, then x[j] low and x[j + 16] high. OCP Microscaling Formats
 * v1.0 (2023); ties go to the lower code, as in ggml. 4.25 bits.
 */
export const MXFP4 = /* @__PURE__ */ blockFormat({
  name: "MXFP4",
  blockSize: 32,
  byteSize: 17,
  encode(x, block) {
    const bits = new Uint32Array(Float32Array.of(signedMax(x)).buffer)[0];
    // The exponent field of the largest number, less the 2 of E2M1's own largest.
    const e = Math.max(0, ((bits >>> 23) & 255) - 2);
    const unit = 2 ** (e - 128);
    const code = (i: number) => {
      let best = 0;
      for (let k = 1; k < 16; k++)
        if (Math.abs(doubled[k] * unit - x[i]) < Math.abs(doubled[best] * unit - x[i])) best = k;
      return best;
    };
    block[0] = e;
    const codes = new Uint8Array(32);
    for (let i = 0; i < 32; i++) codes[i] = code(i);
    putCodes(block, planes, codes);
  },
  decode(block, out) {
    // 255 is the NaN of E8M0.
    const unit = block[0] === 255 ? Number.NaN : 2 ** (block[0] - 128);
    const codes = getCodes(block, planes, 32);
    for (let i = 0; i < 32; i++) out[i] = doubled[codes[i]] * unit;
  },
});
