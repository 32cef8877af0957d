/** Blocks of 256 with scales of scales: Q2_K to Q6_K, with the searches of ggml's encoders. */

import { type BlockFormat, blockFormat, getHalf, type Importance, putHalf, signedMax } from "./block.ts";
import { getCodes, type Plane, putCodes } from "./codes.ts";
import {
  codeOf,
  fitAffine,
  fitPositive,
  fitSymmetric,
  importanceTrials,
  importanceWeights,
  negligible,
  refineSymmetric,
  signedCode,
  squares,
  sum,
  type Trials,
} from "./search.ts";

const fround = Math.fround;

/** The groups of `size` numbers, over the same memory. */
const groups = <A extends Float32Array | Uint8Array>(x: A, size: number): A[] =>
  Array.from({ length: x.length / size }, (_, j) => x.subarray(size * j, size * j + size) as A);

/** What errors of a block count by an importance, with the mean square of the block `times` over. */
const blockWeights = (x: Float32Array, { columns }: Importance, times: 1 | 2): Float32Array =>
  importanceWeights(x, columns, fround(fround(times * sum(squares(x))) / 256));

const sums = (w: Float32Array, size: number): Float32Array => Float32Array.from(groups(w, size), sum);

/** The codes from 0 to `most` nearest to (x + shift) / step + zero; those of groups whose step is 0 stay. */
function encodeAnew(
  x: Float32Array,
  codes: Uint8Array,
  most: number,
  zero: number,
  steps: Float32Array,
  shifts: Float32Array | null,
): void {
  const size = x.length / steps.length;
  steps.forEach((step, j) => {
    if (step === 0) return;
    const shift = shifts ? shifts[j] : 0;
    for (let i = size * j; i < size * j + size; i++)
      codes[i] = codeOf(fround(fround(x[i] + shift) / step) + zero, most);
  });
}

interface AffineBlocks {
  readonly name: string;
  readonly byteSize: number;
  /** Where d lies; dmin follows. */
  readonly at: number;
  readonly planes: readonly Plane[];
  /** Numbers of a group. */
  readonly size: number;
  readonly bits: number;
  /** The largest scale and minimum. */
  readonly mostScale: number;
  putScales(block: Uint8Array, scales: Uint8Array, mins: Uint8Array): void;
  getScales(block: Uint8Array): { scales: Uint8Array; mins: Uint8Array };
  /** What errors of a group count without an importance, and what is tried. */
  plainWeights(group: Float32Array): Float32Array;
  readonly plainTrials: Trials;
  /** Without an importance the absolute values of errors count, not their squares. */
  readonly absolute?: boolean;
  /** How often the mean of x² counts with an importance. */
  readonly times: 1 | 2;
}

/** Codes 0 to `most` of numbers x ≥ 0, the largest of which is `most`. */
function spread(x: Float32Array, codes: Uint8Array, most: number): number {
  const max = Math.max(0, ...x);
  for (let i = 0; i < x.length; i++) codes[i] = max > 0 ? codeOf(fround(fround(most / max) * x[i]), most) : 0;
  return fround(max / most);
}

/** Groups of codes: d · scale · code − dmin · min. */
function affineBlocks(of: AffineBlocks): BlockFormat {
  const { name, at, size, mostScale } = of;
  const most = 2 ** of.bits - 1;
  const count = 256 / size;
  const stepsOf = (d: number, scales: Uint8Array): Float32Array => Float32Array.from(scales, (s) => d * s);
  return blockFormat({
    name,
    blockSize: 256,
    byteSize: of.byteSize,
    encode(x, block, importance) {
      const codes = new Uint8Array(256);
      const [scales, mins] = [new Float32Array(count), new Float32Array(count)];
      const w = importance && blockWeights(x, importance, of.times);
      groups(x, size).forEach((group, j) => {
        const fit = fitAffine(
          group,
          w ? w.subarray(size * j, size * j + size) : of.plainWeights(group),
          codes.subarray(size * j, size * j + size),
          most,
          w ? importanceTrials : of.plainTrials,
          !w && of.absolute,
        );
        [scales[j], mins[j]] = [fit.scale, -fit.least];
      });
      const counts = w && sums(w, size);
      const [d, dmin] = [scales, mins].map((values, k) => {
        const stored = new Uint8Array(count);
        const unit = counts
          ? fitPositive(values, counts, stored, mostScale)
          : spread(values, stored, mostScale);
        return { stored, unit: putHalf(name, block, at + 2 * k, unit) };
      });
      of.putScales(block, d.stored, dmin.stored);
      encodeAnew(x, codes, most, 0, stepsOf(d.unit, d.stored), stepsOf(dmin.unit, dmin.stored));
      putCodes(block, of.planes, codes);
    },
    decode(block, out) {
      const { scales, mins } = of.getScales(block);
      const steps = stepsOf(getHalf(block, at), scales);
      const shifts = stepsOf(getHalf(block, at + 2), mins);
      const codes = getCodes(block, of.planes, 256);
      for (let j = 0; j < count; j++)
        for (let i = size * j; i < size * j + size; i++) out[i] = fround(steps[j] * codes[i]) - shifts[j];
    },
  });
}

/** Sixteen groups of 16 codes of 2 bits: d · scale · code − dmin · min, scales and minima of 4 bits. 2.625 bits. */
export const Q2_K = /* @__PURE__ */ affineBlocks({
  name: "Q2_K",
  byteSize: 84,
  at: 80,
  planes: [{ at: 16, width: 32, bits: 2 }],
  size: 16,
  bits: 2,
  mostScale: 15,
  putScales: (block, scales, mins) => {
    for (let j = 0; j < 16; j++) block[j] = scales[j] | (mins[j] << 4);
  },
  getScales: (block) => ({
    scales: block.slice(0, 16).map((byte) => byte & 15),
    mins: block.slice(0, 16).map((byte) => byte >> 4),
  }),
  plainWeights: (group) => group.map(Math.abs),
  plainTrials: { first: -0.5, step: fround(0.1), steps: 15 },
  absolute: true,
  times: 1,
});

/** The eight scales and minima of 6 bits in 12 bytes. */
export function scalesAndMins(bytes: Uint8Array): { scales: Uint8Array; mins: Uint8Array } {
  const [scales, mins] = [new Uint8Array(8), new Uint8Array(8)];
  for (let j = 0; j < 4; j++) {
    scales[j] = bytes[j] & 63;
    mins[j] = bytes[j + 4] & 63;
    scales[j + 4] = (bytes[j + 8] & 15) | ((bytes[j] >> 6) << 4);
    mins[j + 4] = (bytes[j + 8] >> 4) | ((bytes[j + 4] >> 6) << 4);
  }
  return { scales, mins };
}

/** Writes eight scales and minima of 6 bits into 12 zeroed bytes. */
export function putScalesAndMins(bytes: Uint8Array, s: ArrayLike<number>, m: ArrayLike<number>): void {
  for (let j = 0; j < 4; j++) {
    bytes[j] = s[j] | ((s[j + 4] >> 4) << 6);
    bytes[j + 4] = m[j] | ((m[j + 4] >> 4) << 6);
    bytes[j + 8] = (s[j + 4] & 15) | ((m[j + 4] & 15) << 4);
  }
}

/** What Q4_K and Q5_K share: groups of 32, errors of which count rms(x) + |x|. */
const sixBitScales = {
  at: 0,
  size: 32,
  mostScale: 63,
  putScales: (block: Uint8Array, scales: Uint8Array, mins: Uint8Array) =>
    putScalesAndMins(block.subarray(4, 16), scales, mins),
  getScales: (block: Uint8Array) => scalesAndMins(block.subarray(4, 16)),
  plainWeights(group: Float32Array) {
    const rms = fround(Math.sqrt(fround(sum(squares(group)) / 32)));
    return group.map((v) => rms + Math.abs(v));
  },
  times: 2,
} as const;

/** Eight groups of 32 codes of 4 bits: d · scale · code − dmin · min, scales and minima of 6 bits. 4.5 bits. */
export const Q4_K = /* @__PURE__ */ affineBlocks({
  ...sixBitScales,
  name: "Q4_K",
  byteSize: 144,
  planes: [{ at: 16, width: 32, bits: 4 }],
  bits: 4,
  plainTrials: { first: -1, step: fround(0.1), steps: 20 },
});

/** Eight groups of 32 codes of 5 bits: d · scale · code − dmin · min, scales and minima of 6 bits. 5.5 bits. */
export const Q5_K = /* @__PURE__ */ affineBlocks({
  ...sixBitScales,
  name: "Q5_K",
  byteSize: 176,
  planes: [
    { at: 48, width: 32, bits: 4 },
    { at: 16, width: 32, bits: 1 },
  ],
  bits: 5,
  plainTrials: { first: -0.5, step: fround(0.1), steps: 15 },
});

/** Writes codes of x ≈ scale · (code − levels), and returns the scale. */
type SymmetricFit = (x: Float32Array, w: Float32Array, codes: Uint8Array, levels: number) => number;

/** The scale that has the number of the largest magnitude as −levels. */
const toTheEnd: SymmetricFit = (x, _w, codes, levels) => {
  const max = signedMax(x);
  if (Math.abs(max) < negligible) return 0;
  const inverse = fround(-levels / max);
  for (let i = 0; i < x.length; i++) codes[i] = signedCode(fround(inverse * x[i]), levels) + levels;
  return fround(1 / inverse);
};

interface SymmetricBlocks {
  readonly name: string;
  readonly byteSize: number;
  /** Where d lies. */
  readonly at: number;
  readonly planes: readonly Plane[];
  readonly bits: number;
  /** Scales are −scaleLevels to scaleLevels − 1, and stored with scaleLevels added. */
  readonly scaleLevels: number;
  putScales(block: Uint8Array, scales: Uint8Array): void;
  getScales(block: Uint8Array): Uint8Array;
  /** How groups are fitted without an importance, where errors count x². */
  readonly plainFit: SymmetricFit;
  /** What errors count by an importance, and how the scales are fitted by it. */
  weights(x: Float32Array, importance: Importance): Float32Array;
  readonly fitScales: SymmetricFit;
}

/** Sixteen groups of 16 codes: d · scale · (code − levels). */
function symmetricBlocks(of: SymmetricBlocks): BlockFormat {
  const { name, at, scaleLevels } = of;
  const levels = 2 ** (of.bits - 1);
  const stepsOf = (d: number, scales: Uint8Array): Float32Array =>
    Float32Array.from(scales, (s) => d * (s - scaleLevels));
  return blockFormat({
    name,
    blockSize: 256,
    byteSize: of.byteSize,
    encode(x, block, importance) {
      const w = importance ? of.weights(x, importance) : squares(x);
      const [fitGroup, fitScales] = importance ? [fitSymmetric, of.fitScales] : [of.plainFit, toTheEnd];
      const codes = new Uint8Array(256);
      const scales = Float32Array.from(groups(x, 16), (group, j) =>
        fitGroup(group, w.subarray(16 * j, 16 * j + 16), codes.subarray(16 * j, 16 * j + 16), levels),
      );
      // Numbers so large that their products overflow.
      for (const scale of scales) if (!Number.isFinite(scale)) putHalf(name, block, at, scale);
      const stored = new Uint8Array(16);
      const unit = fitScales(scales, sums(w, 16), stored, scaleLevels);
      if (unit === 0) return;
      const d = putHalf(name, block, at, unit);
      of.putScales(block, stored);
      encodeAnew(x, codes, 2 * levels - 1, levels, stepsOf(d, stored), null);
      putCodes(block, of.planes, codes);
    },
    decode(block, out) {
      const steps = stepsOf(getHalf(block, at), of.getScales(block));
      const codes = getCodes(block, of.planes, 256);
      for (let i = 0; i < 256; i++) out[i] = steps[i >> 4] * (codes[i] - levels) + 0;
    },
  });
}

/** The low four bits of Q3_K's scales and the two above. */
const scalePlanes: readonly Plane[] = [
  { at: 96, width: 8, bits: 4 },
  { at: 104, width: 4, bits: 2 },
];

/** Sixteen groups of 16 codes of 3 bits: d · scale · (code − 4), scales of 6 bits. 3.4375 bits. */
export const Q3_K = /* @__PURE__ */ symmetricBlocks({
  name: "Q3_K",
  byteSize: 110,
  at: 108,
  planes: [
    { at: 32, width: 32, bits: 2 },
    { at: 0, width: 32, bits: 1 },
  ],
  bits: 3,
  scaleLevels: 32,
  putScales: (block, scales) => putCodes(block, scalePlanes, scales),
  getScales: (block) => getCodes(block, scalePlanes, 16),
  plainFit: refineSymmetric,
  weights: (x, importance) => blockWeights(x, importance, 2),
  fitScales: fitSymmetric,
});

/** Sixteen groups of 16 codes of 6 bits: d · scale · (code − 32), scales int8. 6.5625 bits. */
export const Q6_K = /* @__PURE__ */ symmetricBlocks({
  name: "Q6_K",
  byteSize: 210,
  at: 208,
  planes: [
    { at: 0, width: 64, bits: 4 },
    { at: 128, width: 32, bits: 2 },
  ],
  bits: 6,
  scaleLevels: 128,
  putScales: (block, scales) => {
    for (let j = 0; j < 16; j++) block[192 + j] = scales[j] ^ 128;
  },
  getScales: (block) => block.slice(192, 208).map((byte) => byte ^ 128),
  plainFit: fitSymmetric,
  weights: (_x, { columns }) => columns,
  fitScales: toTheEnd,
});
