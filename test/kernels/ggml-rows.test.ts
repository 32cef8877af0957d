/** The block formats of ggml for rows of every kind: its bytes, the nearest codes, and what is refused. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BlockFormat, formats } from "../../kernels/formats/index.ts";
import { FormatError } from "../../src/errors.ts";
import { crc32 } from "../../src/packed/file/crc.ts";
import { Rng } from "../../src/random/rng.ts";

type Name = Exclude<keyof typeof formats, "NF4">;

const names = (Object.keys(formats) as (keyof typeof formats)[]).filter((name) => name !== "NF4") as Name[];

const columns = 1024;
const normals = new Float32Array(32 * columns);
new Rng(1).fillNormal(normals);
/** Two rows of each kind of number that an encoder may meet. */
const kinds: readonly ((v: number, i: number) => number)[] = [
  (v) => v,
  (v) => v * v * v,
  (v, i) => ((i >> 4) % 3 === 0 ? 0 : v),
  (v, i) => ((i >> 5) % 3 === 0 ? 0 : v),
  (v) => Math.abs(v),
  (v) => -Math.abs(v),
  (v) => 0.01 * v + 1,
  (v) => 0.01 * v - 1,
  (v) => Math.trunc(4 * v) / 4,
  (v) => Math.sign(v),
  (_, i) => normals[i >> 4],
  (v, i) => (i % 256 === i >> 8 ? v : 0),
  () => 0,
  (v) => 1e-3 * v,
  (v) => 1e4 * v,
  (v, i) => (i % 100 === 0 ? 50 * v : v),
];
const rows = normals.map((v, i) => kinds[Math.floor(i / (2 * columns))](v, i));
const importance = normals.subarray(0, columns).map((v) => v * v * v * v + 0.01);

/**
 * Of what ggml's encoders wrote (llama.cpp v0.5.0, x64, no fused multiply-add): without an importance, and with.
 */
const sums: Record<Name, readonly [plain: string, weighted: string]> = {
  Q8_0: ["2ca61800", "2ca61800"],
  Q5_0: ["437dd172", "8c865386"],
  Q5_1: ["30b610bc", "81e93a48"],
  Q4_0: ["80aecd1a", "3dc3ca96"],
  Q4_1: ["636cd03a", "2765d196"],
  Q6_K: ["5a756c20", "e676dc87"],
  Q5_K: ["5b94985f", "53a8c29d"],
  Q4_K: ["490ab038", "2ea0c345"],
  Q3_K: ["6ee7a423", "367ff806"],
  Q2_K: ["e2485f57", "8dc8a09f"],
  IQ4_NL: ["46463d5", "94ef0fbb"],
  IQ4_XS: ["948060e7", "93df9183"],
  Q2_0: ["7194598", "7194598"],
  Q1_0: ["16d5cb1f", "16d5cb1f"],
  TQ1_0: ["44bab25e", "44bab25e"],
  TQ2_0: ["d9f915ad", "d9f915ad"],
  MXFP4: ["4ec5fea3", "4ec5fea3"],
};

it.each(names)("%s gives ggml's bytes for rows of every kind", (name) => {
  const got = [{}, { importance }].map((options) => crc32(formats[name].encode(rows, options)).toString(16));
  expect(got).toEqual(sums[name]);
});

/** Where codes lie, in bytes from and to, and how many bits of one a plane has, from the low ones up. */
const planes: Record<
  Exclude<Name, "TQ1_0">,
  readonly (readonly [from: number, to: number, bits: number])[]
> = {
  Q8_0: [[2, 34, 8]],
  Q5_0: [
    [6, 22, 4],
    [2, 6, 1],
  ],
  Q5_1: [
    [8, 24, 4],
    [4, 8, 1],
  ],
  Q4_0: [[2, 18, 4]],
  Q4_1: [[4, 20, 4]],
  Q6_K: [
    [0, 128, 4],
    [128, 192, 2],
  ],
  Q5_K: [
    [48, 176, 4],
    [16, 48, 1],
  ],
  Q4_K: [[16, 144, 4]],
  Q3_K: [
    [32, 96, 2],
    [0, 32, 1],
  ],
  Q2_K: [[16, 80, 2]],
  IQ4_NL: [[2, 18, 4]],
  IQ4_XS: [[8, 136, 4]],
  Q2_0: [[2, 18, 2]],
  Q1_0: [[2, 18, 1]],
  TQ2_0: [[0, 64, 2]],
  MXFP4: [[1, 17, 4]],
};

/** The numbers of all codes, as rows of a table, for the scales of an encoded block. */
function numbersOf(format: BlockFormat, block: Uint8Array): Float32Array[] {
  const at = planes[format.name as keyof typeof planes];
  const bits = at.reduce((total, [, , b]) => total + b, 0);
  return Array.from({ length: 2 ** bits }, (_, code) => {
    const alike = block.slice();
    let rest = code;
    for (const [from, to, b] of at) {
      const low = rest % 2 ** b;
      rest >>= b;
      // The same code in all places of a byte.
      alike.fill(low * (255 / (2 ** b - 1)), from, to);
    }
    return format.decode(alike);
  });
}

const anyNumber = fc.oneof(
  { weight: 5, arbitrary: fc.double({ min: -10, max: 10, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -0, 1, -1, 10, -10, 1e-3, 1e-42) },
);
const anyBlock = fc.array(anyNumber, { minLength: 256, maxLength: 256 });

describe.each(Object.keys(planes) as (keyof typeof planes)[])("%s", (name) => {
  const format: BlockFormat = formats[name];
  const ternary = name === "Q2_0" || name === "TQ2_0";
  // K-quants find their codes for the scales as they are stored, in float32. The others find them before scales are rounded
  // to float16, by 2^-11 of d · code and of m, which come to three times the largest number; both codes are off by that.
  const rounded = name.endsWith("_K") ? 2 ** -20 : 3 * 2 ** -10;
  // The same where float16 is subnormal, for codes up to 128.
  const subnormal = 2 * 128 * 2 ** -25;

  // With an importance Q4_0 to Q5_1 keep the codes of the trial whose scale they then fit.
  const fitted = /^Q[45]_[01]$/.test(name);
  const importances = [null, Array.from({ length: 256 }, (_, i) => 1 + (i % 7))];

  it.each(fitted ? [null] : importances)(
    "takes the nearest code for the scales that it stores, importance %#",
    (counts) => {
      fc.assert(
        fc.property(anyBlock, (list) => {
          const x = Float32Array.from(list);
          const bytes = format.encode(x, { importance: counts });
          const got = format.decode(bytes);
          let most = -Infinity;
          for (let at = 0, block = 0; at < 256; at += format.blockSize, block++) {
            const of = bytes.slice(block * format.byteSize, (block + 1) * format.byteSize);
            const numbers = numbersOf(format, of).slice(0, ternary ? 3 : undefined);
            let largest = 0;
            for (const row of numbers) for (const v of row) largest = Math.max(largest, Math.abs(v));
            for (let i = 0; i < format.blockSize; i++) {
              let least = Infinity;
              for (const row of numbers) least = Math.min(least, Math.abs(row[i] - x[at + i]));
              most = Math.max(most, Math.abs(got[at + i] - x[at + i]) - least - rounded * largest);
            }
          }
          expect(most).toBeLessThanOrEqual(subnormal);
        }),
        { numRuns: 10 },
      );
    },
  );
});

describe.each(names)("%s", (name) => {
  const format: BlockFormat = formats[name];
  const { blockSize } = format;

  it.each([
    ["one number among zeros", (i: number, v: number) => (i === 3 ? v : 0)],
    ["numbers of both signs", (i: number, v: number) => (i % 2 ? -v : v)],
    ["numbers of one size", (_: number, v: number) => v],
  ])("refuses what float16 scales do not reach: %s", (_, of) => {
    if (name === "MXFP4") return;
    for (const large of [1e10, 1e15, 1e20, 1e30, 3.4e38])
      for (const counts of [null, Array(blockSize).fill(1)]) {
        const encode = () =>
          format.encode(
            Float32Array.from({ length: blockSize }, (_, i) => of(i, large)),
            { importance: counts },
          );
        expect(encode, String(large)).toThrow(FormatError);
        expect(encode, String(large)).toThrow(`${name}.encode: a scale must fit float16`);
      }
  });
});
