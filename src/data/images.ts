/** Batches of images: mirrored, moved and scaled on their way from a loader to a model. */

import { type FloatArray, newArray, type TypedArray } from "../dtype.ts";
import {
  checkInteger,
  checkShare,
  DTypeError,
  GradError,
  OptionError,
  readOptions,
  ShapeError,
  show,
} from "../errors.ts";
import type { Rng } from "../random/rng.ts";
import { checkShape } from "../shape.ts";
import { isTensor, type Tensor, wrap } from "../tensor.ts";

const needed = undefined as never;

/** Throws what `x` lacks for images (B, C, H, W). */
function checkImages(op: string, x: Tensor): void {
  if (!isTensor(x) || x.rank !== 4) {
    throw new ShapeError(
      `${op}: images must be (B, C, H, W), got ${isTensor(x) ? show([...x.shape]) : show(x)}`,
    );
  }
  if (x.requiresGrad) {
    throw new GradError(
      `${op}: no gradient flows through images of data, got a tensor that requires one; detach() it`,
    );
  }
}

function checkRng(op: string, rng: Rng | undefined): void {
  if (!rng) throw new OptionError(`${op}: needs a generator, got no rng; pass new Rng(seed)`);
}

export interface RandomFlipOptions {
  /** How likely an image is mirrored; default 0.5. */
  p?: number;
  /** Where the draws come from; in a loader's `transform`, the generator that it gives. */
  rng: Rng;
}

/**
 * Images (B, C, H, W) of any dtype, each mirrored left to right with probability `p`, all of its channels. Torchvision's
 * RandomHorizontalFlip, drawn for each image of the batch. Throws ShapeError for other shapes.
 *
 * @example
 * ```ts
 * import { Rng, tensor } from "bitgrad";
 * import { randomFlip } from "bitgrad/data";
 *
 * const images = tensor([[[[1, 2, 3]]]]); // one, of one channel and one row
 * console.log(randomFlip(images, { p: 1, rng: new Rng(1) }).toArray()); // [[[[3, 2, 1]]]]
 * ```
 */
export function randomFlip<X extends Tensor>(x: X, options: RandomFlipOptions): X {
  const op = "randomFlip";
  const { p, rng } = readOptions(op, options, { p: 0.5, rng: needed as Rng });
  checkImages(op, x);
  checkRng(op, rng);
  checkShare(op, "p", p);
  const [count, , , width] = x.shape;
  const mirrored = new Uint8Array(count);
  rng.fillBernoulli(mirrored, p);
  const out = x.data.slice();
  const each = out.length / count;
  mirrored.forEach((mirror, i) => {
    if (mirror === 0) return;
    for (let at = i * each; at < (i + 1) * each; at += width) out.subarray(at, at + width).reverse();
  });
  return wrap(out, x.shape, x.dtype) as X;
}

export interface RandomCropOptions {
  /** Pixels of 0 that are put around the images first; default 0. */
  padding?: number;
  /** Of the windows, one for both or [height, width]; that of the images unless told otherwise. */
  size?: number | readonly [height: number, width: number];
  /** Where the draws come from; in a loader's `transform`, the generator that it gives. */
  rng: Rng;
}

/**
 * A window of every image (B, C, H, W), of any dtype: (B, C, height, width) at a place drawn for each image, every place
 * equally likely. With `padding` zeros stand around the images, which are then moved by up to so many pixels. Torchvision's
 * RandomCrop. Throws ShapeError for other shapes and OptionError for windows larger than the padded images.
 *
 * @example
 * ```ts
 * import { ones, Rng } from "bitgrad";
 * import { randomCrop } from "bitgrad/data";
 *
 * const rng = new Rng(1);
 * console.log(randomCrop(ones([8, 3, 32, 32]), { padding: 4, rng }).shape); // [8, 3, 32, 32]
 * console.log(randomCrop(ones([8, 3, 32, 32]), { size: 24, rng }).shape); // [8, 3, 24, 24]
 * ```
 */
export function randomCrop<X extends Tensor>(x: X, options: RandomCropOptions): X {
  const op = "randomCrop";
  const { padding, size, rng } = readOptions<Required<RandomCropOptions>>(op, options, {
    padding: 0,
    size: needed,
    rng: needed,
  });
  checkImages(op, x);
  checkRng(op, rng);
  checkInteger(op, "padding", padding, 0);
  if (padding >= 2 ** 30) throw new OptionError(`${op}: padding must be below 2^30, got ${padding}`);
  const [count, channels, height, width] = x.shape;
  const [rows, columns] = sizesOf(op, size ?? [height, width]);
  const [most, widest] = [height + 2 * padding, width + 2 * padding];
  if (rows > most || columns > widest) {
    throw new OptionError(
      `${op}: size must be at most that of the padded images, (${most}, ${widest}), got (${rows}, ${columns})`,
    );
  }
  const [tops, lefts] = [new Int32Array(count), new Int32Array(count)];
  rng.fillInt(tops, -padding, most - rows - padding + 1);
  rng.fillInt(lefts, -padding, widest - columns - padding + 1);
  const shape = checkShape(op, [count, channels, rows, columns]);
  const out = newArray(x.dtype, count * channels * rows * columns);
  const { data } = x;
  let to = 0;
  for (let i = 0; i < count; i++) {
    const [top, left] = [tops[i], lefts[i]];
    // The part of a row that lies within the image.
    const skipped = Math.max(-left, 0);
    const kept = Math.min(columns, width - left) - skipped;
    for (let channel = 0; channel < channels; channel++) {
      const plane = (i * channels + channel) * height * width;
      for (let row = top; row < top + rows; row++, to += columns) {
        if (row < 0 || row >= height || kept <= 0) continue;
        const from = plane + row * width + left + skipped;
        out.set(data.subarray(from, from + kept), to + skipped);
      }
    }
  }
  return wrap(out, shape, x.dtype) as X;
}

function sizesOf(op: string, size: unknown): readonly [height: number, width: number] {
  const sizes = Array.isArray(size) ? size : [size, size];
  if (sizes.length !== 2)
    throw new OptionError(`${op}: size must be one size or [height, width], got ${show(size)}`);
  for (const one of sizes) checkInteger(op, "size", one, 1);
  return sizes as unknown as readonly [number, number];
}

export interface NormalizeImagesOptions {
  /** Of each channel, or one number for all; of bytes, in parts of 255. */
  mean: number | readonly number[];
  /** Likewise, above 0. */
  std: number | readonly number[];
}

/**
 * (x − mean) / std by channel, of images (B, C, H, W): float32, or float64 of such. Bytes are divided by 255 first, so that
 * torchvision's ToTensor and Normalize are one step, rounded once. Throws DTypeError for other integers and bool.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { normalizeImages } from "bitgrad/data";
 *
 * const pixels = tensor(Uint8Array.of(0, 255), { shape: [1, 1, 1, 2] });
 * console.log(normalizeImages(pixels, { mean: 0.5, std: 0.25 }).toArray()); // [[[[-2, 2]]]]
 * ```
 */
export function normalizeImages(x: Tensor, options: NormalizeImagesOptions): Tensor {
  const op = "normalizeImages";
  const given = readOptions<NormalizeImagesOptions>(op, options, { mean: needed, std: needed });
  checkImages(op, x);
  const { dtype, shape, data } = x;
  if (dtype !== "uint8" && dtype !== "float32" && dtype !== "float64")
    throw new DTypeError(`${op}: images must be uint8 or floats, got ${dtype}`);
  const [count, channels, height, width] = shape;
  const mean = perChannel(op, "mean", given.mean, channels);
  const std = perChannel(op, "std", given.std, channels);
  const low = std.find((value) => value <= 0);
  if (low !== undefined) throw new OptionError(`${op}: std must be above 0, got ${low}`);
  const to = dtype === "float64" ? "float64" : "float32";
  const out = newArray(to, data.length) as FloatArray;
  const bytes = dtype === "uint8";
  for (let plane = 0; plane < count * channels; plane++) {
    const [m, s] = [mean[plane % channels], std[plane % channels]];
    const from = plane * height * width;
    if (bytes) scale(out, data, from, height * width, 255, m, s);
    else scale(out, data, from, height * width, 1, m, s);
  }
  return wrap(out, shape, to);
}

function scale(
  out: FloatArray,
  data: TypedArray,
  from: number,
  length: number,
  whole: number,
  mean: number,
  std: number,
): void {
  for (let i = from; i < from + length; i++) out[i] = (data[i] / whole - mean) / std;
}

function perChannel(op: string, name: string, given: unknown, channels: number): readonly number[] {
  const list = Array.isArray(given) ? given : Array<unknown>(channels).fill(given);
  if (list.length !== channels || list.some((value) => typeof value !== "number")) {
    throw new OptionError(
      `${op}: ${name} must be a number, or one for each of ${channels} channels, got ${show(given)}`,
    );
  }
  const wild = list.find((value) => !Number.isFinite(value));
  if (wild !== undefined) throw new OptionError(`${op}: ${name} must be finite, got ${wild}`);
  return list;
}
