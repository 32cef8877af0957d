/** Procedural digits, so that tests and examples have a picture task that needs no download. */

import { OptionError, readOptions, show } from "../errors.ts";
import { Rng } from "../random/rng.ts";
import { checkShape } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";

/** Ten 5x7 bitmaps; a number is a row, its bit 4 the leftmost pixel. */
const bitmaps = [
  [14, 17, 19, 21, 25, 17, 14],
  [4, 12, 4, 4, 4, 4, 14],
  [14, 17, 1, 2, 4, 8, 31],
  [31, 2, 4, 2, 1, 17, 14],
  [2, 6, 10, 18, 31, 2, 2],
  [31, 16, 30, 1, 1, 17, 14],
  [6, 8, 16, 30, 17, 17, 14],
  [31, 1, 2, 4, 8, 8, 8],
  [14, 17, 17, 14, 17, 17, 14],
  [14, 17, 17, 15, 1, 2, 12],
];

const SIDE = 12;
const PIXELS = SIDE * SIDE;

/**
 * `count` pictures of random digits, x (count, 144) float32 and y (count) int32: a glyph with its corner at row 2±1, column
 * 3±1 of a 12x12 field of zeros, scaled by U(0.6, 1), and normal noise of deviation `noise` on every pixel. A list of
 * deviations is taken in turn: [0.08, 0.3] makes half the pictures easy and half hard. `seed` (0 unless given) or `rng` fixes
 * them all. Throws OptionError for both, a negative count or a negative noise.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { glyphs } from "bitgrad/data";
 *
 * const { x, y } = glyphs({ count: 10, rng: new Rng("digits") });
 * console.log(x.shape, y.dtype); // [10, 144] int32
 * ```
 */
export function glyphs(options: {
  count: number;
  seed?: string | number;
  rng?: Rng;
  noise?: number | readonly number[];
}): { x: Tensor<"float32">; y: Tensor<"int32"> } {
  const given = readOptions<Parameters<typeof glyphs>[0]>("glyphs", options, {
    count: undefined as unknown as number,
    seed: undefined,
    rng: undefined,
    noise: undefined,
  });
  const { count, seed, noise = 0.15 } = given;
  if (!Number.isInteger(count) || count < 0) {
    throw new OptionError(`glyphs: count must be an integer of at least 0, got ${show(count)}`);
  }
  if (seed !== undefined && given.rng !== undefined) {
    throw new OptionError(`glyphs: give a seed or a generator, got both`);
  }
  checkShape("glyphs", [count, PIXELS]);
  const deviations = typeof noise === "number" ? [noise] : Array.isArray(noise) ? [...noise] : [];
  if (
    deviations.length === 0 ||
    deviations.some((sigma) => !(typeof sigma === "number" && sigma >= 0 && sigma < Infinity))
  ) {
    throw new OptionError(`glyphs: noise must be finite and not negative, got ${show(noise)}`);
  }
  const rng = given.rng ?? new Rng(seed ?? 0);
  const x = new Float32Array(count * PIXELS);
  const y = new Int32Array(count);
  const rows = new Int32Array(count);
  const columns = new Int32Array(count);
  const brightness = new Float32Array(count);
  rng.fillInt(y, 0, bitmaps.length);
  rng.fillInt(rows, 1, 4);
  rng.fillInt(columns, 2, 5);
  rng.fillUniform(brightness, 0.6, 1);
  for (let i = 0; i < count; i++) {
    const picture = x.subarray(i * PIXELS, (i + 1) * PIXELS);
    rng.fillNormal(picture, 0, deviations[i % deviations.length]);
    for (let row = 0; row < 7; row++) {
      for (let column = 0; column < 5; column++) {
        if ((bitmaps[y[i]][row] >> (4 - column)) & 1) {
          picture[(rows[i] + row) * SIDE + columns[i] + column] += brightness[i];
        }
      }
    }
  }
  return { x: wrap(x, [count, PIXELS], "float32"), y: wrap(y, [count], "int32") };
}
