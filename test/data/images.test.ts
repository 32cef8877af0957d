import {
  DTypeError,
  GradError,
  OptionError,
  ones,
  Rng,
  randint,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { normalizeImages, randomCrop, randomFlip } from "bitgrad/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/** Images whose numbers tell where they stand: image, channel, row and column, a digit each. */
const numbered = (
  [b, c, h, w]: readonly number[],
  dtype: "float32" | "uint8" | "int32" = "int32",
): Tensor => {
  const numbers: number[] = [];
  for (let i = 0; i < b; i++)
    for (let j = 0; j < c; j++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++) numbers.push(1000 * (i + 1) + 100 * j + 10 * y + x);
  const t = tensor(Int32Array.from(numbers), { shape: [b, c, h, w] });
  return dtype === "int32" ? t : t.remainder(256).to(dtype);
};

describe("randomFlip", () => {
  it("mirrors all channels of an image or leaves it, about p of them, from the generator alone", () => {
    const x = numbered([400, 2, 3, 5]);
    const flipped = randomFlip(x, { rng: new Rng(1) });
    const mirror = x.flip(3);
    let count = 0;
    for (let i = 0; i < 400; i++) {
      const got = String(flipped.slice([[i, i + 1]]).data);
      const isMirror = got === String(mirror.slice([[i, i + 1]]).data);
      if (!isMirror) expect(got).toBe(String(x.slice([[i, i + 1]]).data));
      count += Number(isMirror);
    }
    expect(Math.abs(count - 200)).toBeLessThan(50);
    expect(randomFlip(x, { rng: new Rng(1) }).data).toEqual(flipped.data);
    expect(randomFlip(x, { rng: new Rng(2) }).data).not.toEqual(flipped.data);
  });

  it("mirrors all images or none where p says so, and keeps shape, dtype and what it was given", () => {
    for (const dtype of ["float32", "uint8", "int32"] as const) {
      const x = numbered([3, 1, 2, 4], dtype);
      const before = x.data.slice();
      const all = randomFlip(x, { p: 1, rng: new Rng(1) });
      expect([all.shape, all.dtype]).toEqual([x.shape, dtype]);
      expect(all.data).toEqual(x.flip(3).data);
      expect(randomFlip(x, { p: 0, rng: new Rng(1) }).data).toEqual(before);
      expect(x.data).toEqual(before);
    }
  });
});

describe("randomCrop", () => {
  it("gives a window of the padded image, the same in all channels", () => {
    const size = fc.integer({ min: 1, max: 6 });
    fc.assert(
      fc.property(size, size, fc.nat(3), size, size, fc.nat(), (h, w, padding, a, b, seed) => {
        const to = [Math.min(a, h + 2 * padding), Math.min(b, w + 2 * padding)] as [number, number];
        const x = numbered([3, 2, h, w]);
        const padded = x.pad([
          [0, 0],
          [0, 0],
          [padding, padding],
          [padding, padding],
        ]);
        const crops = randomCrop(x, { padding, size: to, rng: new Rng(seed) });
        expect(crops.shape).toEqual([3, 2, ...to]);
        for (let i = 0; i < 3; i++) {
          const windows: string[] = [];
          for (let y = 0; y + to[0] <= h + 2 * padding; y++) {
            for (let z = 0; z + to[1] <= w + 2 * padding; z++) {
              windows.push(
                String(
                  padded.slice([
                    [i, i + 1],
                    [0, 2],
                    [y, y + to[0]],
                    [z, z + to[1]],
                  ]).data,
                ),
              );
            }
          }
          expect(windows).toContain(String(crops.slice([[i, i + 1]]).data));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("takes every window equally often, and its size is that of the images unless told otherwise", () => {
    const x = numbered([4500, 1, 1, 1]).mul(0).add(1);
    const crops = randomCrop(x, { padding: 1, rng: new Rng(5) });
    expect(crops.shape).toEqual([4500, 1, 1, 1]);
    // One place of nine holds the pixel.
    expect(Math.abs(crops.sum().item() - 500)).toBeLessThan(100);
    const wide = randomCrop(ones([9000, 1, 1, 1]), { padding: 1, size: 3, rng: new Rng(6) });
    expect(wide.shape).toEqual([9000, 1, 3, 3]);
    expect(wide.sum().item()).toBe(9000);
    const rows = randomCrop(numbered([9000, 1, 3, 3]), { size: 1, rng: new Rng(7) }).data;
    const counts = new Map<number, number>();
    for (const value of rows) counts.set(value % 100, (counts.get(value % 100) ?? 0) + 1);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, 10, 11, 12, 20, 21, 22]);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe("normalizeImages", () => {
  it("takes the mean of each channel and divides by its deviation, bytes as parts of 255", () => {
    const bytes = tensor(Uint8Array.of(0, 255, 51, 102), { shape: [1, 2, 1, 2] });
    const out = normalizeImages(bytes, { mean: [0.5, 0.2], std: [0.25, 0.1] });
    expect(out.dtype).toBe("float32");
    expect(out.toArray()).toEqual([[[[-2, 2]], [[0, Math.fround((102 / 255 - 0.2) / 0.1)]]]]);
    const floats = normalizeImages(bytes.to("float32").div(255), { mean: [0.5, 0.2], std: [0.25, 0.1] });
    for (const [i, value] of out.data.entries()) expect(floats.data[i]).toBeCloseTo(value, 6);
  });

  it("takes one number for all channels, and keeps float64", () => {
    const x = tensor(Float64Array.of(1, 2, 3, 4), { shape: [2, 2, 1, 1] });
    const out = normalizeImages(x, { mean: 1, std: 2 });
    expect(out.dtype).toBe("float64");
    expect(Array.from(out.data)).toEqual([0, 0.5, 1, 1.5]);
    const random = randint(0, 256, [4, 3, 5, 5], { rng: new Rng(1) }).to("uint8");
    expect(normalizeImages(random, { mean: 0, std: 1 }).data).toEqual(
      random.to("float64").div(255).to("float32").data,
    );
  });
});

describe("what is wrong is said", () => {
  const x = ones([2, 3, 4, 4]);
  const rng = new Rng(1);
  it.each<[string, () => unknown, new (...args: never[]) => Error, string]>([
    [
      "images",
      () => randomFlip(ones([3, 4, 4]), { rng }),
      ShapeError,
      "randomFlip: images must be (B, C, H, W), got",
    ],
    [
      "no tensor",
      () => randomCrop([[1]] as never, { rng }),
      ShapeError,
      "randomCrop: images must be (B, C, H, W), got",
    ],
    [
      "no generator",
      () => randomFlip(x, {} as never),
      OptionError,
      "randomFlip: needs a generator, got no rng; pass new Rng(seed)",
    ],
    [
      "p",
      () => randomFlip(x, { p: 1.5, rng }),
      OptionError,
      "randomFlip: p must lie between 0 and 1, got 1.5",
    ],
    [
      "padding",
      () => randomCrop(x, { padding: -1, rng }),
      OptionError,
      "randomCrop: padding must be an integer of at least 0, got -1",
    ],
    [
      "sizes",
      () => randomCrop(x, { size: [2] as never, rng }),
      OptionError,
      "randomCrop: size must be one size or [height, width], got (2)",
    ],
    [
      "size 0",
      () => randomCrop(x, { size: 0, rng }),
      OptionError,
      "randomCrop: size must be an integer of at least 1, got 0",
    ],
    [
      "a large size",
      () => randomCrop(x, { size: [4, 7], padding: 1, rng }),
      OptionError,
      "randomCrop: size must be at most that of the padded images, (6, 6), got (4, 7)",
    ],
    [
      "images of no size",
      () => randomCrop(zeros([2, 1, 0, 4]), { rng }),
      OptionError,
      "randomCrop: size must be an integer of at least 1, got 0",
    ],
    [
      "gradients",
      () => randomFlip(ones([1, 1, 1, 1], { requiresGrad: true }), { rng }),
      GradError,
      "randomFlip: no gradient flows through images of data, got a tensor that requires one; detach() it",
    ],
    [
      "channels",
      () => normalizeImages(x, { mean: [1, 2], std: 1 }),
      OptionError,
      "normalizeImages: mean must be a number, or one for each of 3 channels, got (1, 2)",
    ],
    [
      "std 0",
      () => normalizeImages(x, { mean: 0, std: [1, 0, 1] }),
      OptionError,
      "normalizeImages: std must be above 0, got 0",
    ],
    [
      "NaN",
      () => normalizeImages(x, { mean: [0, Number.NaN, 0], std: 1 }),
      OptionError,
      "normalizeImages: mean must be finite, got NaN",
    ],
    [
      "integers",
      () => normalizeImages(x.to("int32"), { mean: 0, std: 1 }),
      DTypeError,
      "normalizeImages: images must be uint8 or floats, got int32",
    ],
  ])("%s", (_, wrong, kind, message) => {
    expect(wrong).toThrow(kind);
    expect(wrong).toThrow(message);
  });
});
