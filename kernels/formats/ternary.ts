/**
 * Blocks of 256 trits with one float16 scale: TQ1_0 and TQ2_0, as ggml's reference encoders write them. The scale is max|x|,
 * so they are for numbers that are ternary already, {−s, 0, s}; others lose nearly everything.
 */

import { blockFormat, getHalf, inverse, putHalf, signedMax } from "./block.ts";
import { getCodes, type Plane, putCodes } from "./codes.ts";
import { roundAway } from "./legacy.ts";

const fround = Math.fround;

/** The scale of x and its trits, 0 to 2. */
function tritsOf(x: Float32Array): { d: number; trits: Uint8Array } {
  const d = Math.abs(signedMax(x));
  const id = inverse(d);
  const trits = new Uint8Array(x.length);
  for (let i = 0; i < x.length; i++) trits[i] = roundAway(fround(x[i] * id)) + 1;
  return { d, trits };
}

// Where TQ1_0 keeps its trits: byte m of a group holds those `step` apart from `from + m` on, the first most significant.
const groups = [
  { from: 0, bytes: 32, trits: 5, at: 0 },
  { from: 160, bytes: 16, trits: 5, at: 32 },
  { from: 240, bytes: 4, trits: 4, at: 48 },
] as const;

/** Five trits a byte in base 3, scaled to 256 so that one multiplication reads a trit. 1.6875 bits. */
export const TQ1_0 = /* @__PURE__ */ blockFormat({
  name: "TQ1_0",
  blockSize: 256,
  byteSize: 54,
  encode(x, block) {
    const { d, trits } = tritsOf(x);
    for (const { from, bytes, trits: count, at } of groups)
      for (let m = 0; m < bytes; m++) {
        let q = 0;
        for (let n = 0; n < 5; n++) q = q * 3 + (n < count ? trits[from + m + n * bytes] : 0);
        block[at + m] = Math.floor((q * 256 + 242) / 243);
      }
    putHalf("TQ1_0", block, 52, d);
  },
  decode(block, out) {
    const d = getHalf(block, 52);
    for (const { from, bytes, trits: count, at } of groups)
      for (let m = 0; m < bytes; m++)
        for (let n = 0, power = 1; n < count; n++, power *= 3) {
          const rest = (block[at + m] * power) & 255;
          out[from + m + n * bytes] = (((rest * 3) >> 8) - 1) * d;
        }
  },
});

const planes: readonly Plane[] = [{ at: 0, width: 32, bits: 2 }];

/** Four trits a byte, 2 bits each. 2.0625 bits. */
export const TQ2_0 = /* @__PURE__ */ blockFormat({
  name: "TQ2_0",
  blockSize: 256,
  byteSize: 66,
  encode(x, block) {
    const { d, trits } = tritsOf(x);
    putCodes(block, planes, trits);
    putHalf("TQ2_0", block, 64, d);
  },
  decode(block, out) {
    const d = getHalf(block, 64);
    const trits = getCodes(block, planes, 256);
    for (let i = 0; i < 256; i++) out[i] = (trits[i] - 1) * d;
  },
});
