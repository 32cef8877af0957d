/** Codes that are places in a table of int8, denser around 0: IQ4_NL and IQ4_XS, with the searches of ggml's encoders. */

import { blockFormat, getHalf, type Importance, putHalf, signedMax } from "./block.ts";
import { getCodes, type Plane, putCodes } from "./codes.ts";
import { importanceWeights, negligible, signedCode, squares, sum } from "./search.ts";

const fround = Math.fround;

const table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/** The place of the nearest number of the table, the higher of two at the same distance. */
function nearest(x: number): number {
  let place = 0;
  for (let step = 8; step > 0; step >>= 1)
    if (2 * x >= table[place + step - 1] + table[place + step]) place += step;
  return place;
}

/** What errors of a block count: x², or by the importance, with twice the mean square of the block. */
function weightsOf(x: Float32Array, importance: Importance | null): Float32Array {
  const squared = squares(x);
  if (!importance) return squared;
  return importanceWeights(x, importance.columns, fround(sum(squared) * (2 / x.length)));
}

/**
 * The scale of x ≈ scale · table[code] that loses least of errors weighted by w, of those that have the largest number
 * around either end of the table.
 */
function fitTable(x: Float32Array, w: Float32Array): number {
  const max = signedMax(x);
  if (Math.abs(max) < negligible) return 0;
  // The largest number at the end that it has no place at, then at the other and around.
  const trials = [fround(1 / fround(-max / table[0]))];
  for (let step = -7; step <= 7; step++) trials.push(fround((step + table[0]) / max));
  let [scale, best] = [0, -1];
  for (const trial of trials) {
    let [xq, q2] = [0, 0];
    for (let i = 0; i < x.length; i++) {
      const q = table[nearest(fround(trial * x[i]))];
      const wq = fround(w[i] * q);
      xq = fround(xq + fround(wq * x[i]));
      q2 = fround(q2 + fround(wq * q));
    }
    if (q2 === 0 || fround(xq * xq) <= fround(best * q2)) continue;
    scale = fround(xq / q2);
    best = fround(scale * xq);
  }
  return scale;
}

/** Codes of x for a scale. */
function putNearest(x: Float32Array, codes: Uint8Array, scale: number): void {
  const inverse = scale === 0 ? 0 : fround(1 / scale);
  for (let i = 0; i < x.length; i++) codes[i] = nearest(fround(inverse * x[i]));
}

const planes: readonly Plane[] = [{ at: 2, width: 16, bits: 4 }];

/** 32 codes of 4 bits: d · table[code], d of either sign. 4.5 bits. */
export const IQ4_NL = /* @__PURE__ */ blockFormat({
  name: "IQ4_NL",
  blockSize: 32,
  byteSize: 18,
  encode(x, block, importance) {
    const scale = fitTable(x, weightsOf(x, importance));
    putHalf("IQ4_NL", block, 0, scale);
    const codes = new Uint8Array(32);
    putNearest(x, codes, scale);
    putCodes(block, planes, codes);
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    const codes = getCodes(block, planes, 32);
    for (let i = 0; i < 32; i++) out[i] = d * table[codes[i]] + 0;
  },
});

const widePlanes: readonly Plane[] = [{ at: 8, width: 16, bits: 4 }];
/** The low four bits of the eight scales, and the two above. */
const scalePlanes: readonly Plane[] = [
  { at: 4, width: 1, bits: 4 },
  { at: 2, width: 1, bits: 2 },
];

/** Eight groups of 32 codes of 4 bits: d · scale · table[code], scales of 6 bits. 4.25 bits. */
export const IQ4_XS = /* @__PURE__ */ blockFormat({
  name: "IQ4_XS",
  blockSize: 256,
  byteSize: 136,
  encode(x, block, importance) {
    const w = weightsOf(x, importance);
    const fits = new Float32Array(8);
    for (let j = 0; j < 8; j++) {
      fits[j] = fitTable(x.subarray(32 * j, 32 * j + 32), w.subarray(32 * j, 32 * j + 32));
      // Numbers so large that their products overflow.
      if (!Number.isFinite(fits[j])) putHalf("IQ4_XS", block, 0, fits[j]);
    }
    // The codes are those of the scale before it is rounded to float16.
    const d = fround(-signedMax(fits) / 32);
    putHalf("IQ4_XS", block, 0, d);
    const id = d === 0 ? 0 : fround(1 / d);
    const [scales, codes] = [new Uint8Array(8), new Uint8Array(256)];
    for (let j = 0; j < 8; j++) {
      const scale = signedCode(fround(id * fits[j]), 32);
      scales[j] = scale + 32;
      putNearest(x.subarray(32 * j, 32 * j + 32), codes.subarray(32 * j, 32 * j + 32), fround(d * scale));
    }
    putCodes(block, scalePlanes, scales);
    putCodes(block, widePlanes, codes);
  },
  decode(block, out) {
    const d = getHalf(block, 0);
    const scales = getCodes(block, scalePlanes, 8);
    const codes = getCodes(block, widePlanes, 256);
    for (let i = 0; i < 256; i++) out[i] = fround(d * (scales[i >> 5] - 32)) * table[codes[i]] + 0;
  },
});
