/** Block formats with an importance of each column: ggml's bytes, what the importance changes, and what is refused. */

import { describe, expect, it } from "vitest";
import { toFloat16 } from "../../kernels/formats/half.ts";
import { type BlockFormat, formats } from "../../kernels/formats/index.ts";
import { FormatError, OptionError, ShapeError } from "../../src/errors.ts";
import { Rng } from "../../src/random/rng.ts";
import { differing, methodCases } from "../golden/method-cases.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const encoders = methodCases<{ type: keyof typeof formats }>("ggml-encode");
const weighted = encoders.map((of) => formats[of.params.type] as BlockFormat);
const others = (Object.values(formats) as BlockFormat[]).filter((format) => !weighted.includes(format));
const normals = (n: number, seed: number): Float32Array => {
  const x = new Float32Array(n);
  new Rng(seed).fillNormal(x);
  return x;
};
/** Of columns that differ by powers of ten, as those of language models do. */
const importanceOf = (columns: number): Float32Array => normals(columns, 9).map((v) => Math.exp(2 * v));

function errorOf(
  format: BlockFormat,
  x: ArrayLike<number>,
  bytes: Uint8Array,
  importance: ArrayLike<number> | null,
): number {
  const got = format.decode(bytes);
  let error = 0;
  for (let i = 0; i < x.length; i++) {
    error += (importance ? importance[i % importance.length] : 1) * (x[i] - got[i]) ** 2;
  }
  return error;
}

it("reads a case of each format", () => expect(encoders).toHaveLength(11));

describe.each(encoders.map((of) => [of.params.type, of] as const))("%s", (type, { inputs, outputs }) => {
  const { x, importance } = inputs;

  it("gives the bytes of ggml's encoder with an importance", () => {
    const bytes = formats[type].encode(x.data, { importance: importance.data });
    expect(hex(bytes)).toBe(outputs.bytes_importance.data as unknown as string);
    const error = errorOf(formats[type], x.data, bytes, importance.data);
    expect(Math.abs(error / outputs.error_importance.data[0] - 1)).toBeLessThan(1e-6);
  });
});

it.each(encoders.map((of) => [of.params.type, of] as const))(
  "%s gives the bytes of ggml's encoder without one",
  (type, { inputs, outputs }) => {
    const bytes = formats[type].encode(inputs.x.data);
    expect(hex(bytes)).toBe(outputs.bytes.data as unknown as string);
  },
);

const nibbles = (block: Uint8Array): number[] => [
  ...Array.from(block.subarray(2), (byte) => byte & 15),
  ...Array.from(block.subarray(2), (byte) => byte >> 4),
];

it.each(methodCases("codebook-importance").map((of) => [of.name, of] as const))(
  "Q4_0 finds the scales and codes of the formula: %s",
  (_, of) => {
    const { x, importance } = of.inputs;
    // One row of two blocks, whose columns count alike.
    const bytes = formats.Q4_0.encode(x.data, { importance: [...importance.data, ...importance.data] });
    const blocks = [bytes.subarray(0, 18), bytes.subarray(18)];
    expect(differing(of, "codes", blocks.flatMap(nibbles))).toEqual([]);
    const scales = blocks.map((block) => block[0] | (block[1] << 8));
    expect(scales).toEqual(Array.from(toFloat16(of.outputs.scale.data)));
  },
);

it("Q4_0 loses less of a ramp than without the importance", () => {
  const x = Float32Array.from({ length: 32 }, (_, i) => (((37 * i) % 64) - 32) / 16);
  const importance = Array.from({ length: 32 }, (_, i) => (i % 4 === 0 ? 16 : 1));
  const bytes = formats.Q4_0.encode(x, { importance });
  expect(hex(bytes)).toBe("053440d973fc952eb851ea731ca63fc862fb");
  expect(errorOf(formats.Q4_0, x, bytes, importance)).toBeCloseTo(0.212563, 5);
  expect(errorOf(formats.Q4_0, x, formats.Q4_0.encode(x), importance)).toBeCloseTo(0.21875, 10);
});

describe.each(weighted.map((format) => [format.name, format] as const))(
  "an importance in %s",
  (_, format) => {
    const columns = 512;
    const x = normals(4 * columns, 1);
    const importance = importanceOf(columns);
    const bytes = format.encode(x, { importance });

    it("loses less of what it counts, and more of the rest", () => {
      const plain = format.encode(x);
      expect(errorOf(format, x, bytes, importance)).toBeLessThan(
        0.97 * errorOf(format, x, plain, importance),
      );
      expect(errorOf(format, x, bytes, null)).toBeGreaterThan(errorOf(format, x, plain, null));
    });

    it("belongs to the columns of every row", () => {
      const rows = [0, 1, 2, 3].map((r) => x.subarray(r * columns, (r + 1) * columns));
      expect(hex(bytes)).toBe(rows.map((row) => hex(format.encode(row, { importance }))).join(""));
    });

    it.each([2 ** 40, 2 ** -1000])("counts by its ratios alone: times %d", (factor) => {
      const scaled = Float64Array.from(importance, (v) => v * factor);
      expect(hex(format.encode(x, { importance: scaled }))).toBe(hex(bytes));
    });

    it("of 0 everywhere, and of the least double, counts all columns alike", () => {
      const alike = hex(format.encode(x, { importance: Array(columns).fill(1) }));
      for (const value of [0, 2 ** -1074]) {
        expect(hex(format.encode(x, { importance: Array(columns).fill(value) }))).toBe(alike);
      }
    });

    it("of 0 in whole blocks keeps scales of their own there", () => {
      const dead = importance.map((v, c) => (c < 256 ? 0 : v));
      const alike = importance.map((_, c) => (c < 256 ? 1 : 0));
      const error = (row: Float32Array, of: Float32Array) =>
        errorOf(format, row, format.encode(row, { importance: of }), alike);
      const row = x.subarray(0, columns);
      expect(error(row, dead)).toBeLessThan(1.5 * error(row, alike));
    });

    it("leaves zeros zeros", () => {
      expect(format.decode(format.encode(new Float32Array(columns), { importance }))).toEqual(
        new Float32Array(columns),
      );
    });
  },
);

it.each(others.map((format) => [format.name, format] as const))("%s has no search to weigh", (_, format) => {
  const x = normals(256, 2).map((v) => Math.sign(v));
  expect(hex(format.encode(x, { importance: importanceOf(256) }))).toBe(hex(format.encode(x)));
});

describe("what is refused", () => {
  const x = normals(64, 3);
  const ones = Array(64).fill(1);
  it.each([
    ["a negative importance", [...ones.slice(1), -1], "finite and not negative, got -1 of column 63"],
    ["NaN", [Number.NaN, ...ones.slice(1)], "finite and not negative, got NaN of column 0"],
    ["infinity", [Infinity, ...ones.slice(1)], "finite and not negative, got Infinity of column 0"],
    ["a hole", Array(64), "finite and not negative, got undefined of column 0"],
    ["a number", 3 as never, "importance must be a list of numbers, got 3"],
  ])("%s", (_, importance, message) => {
    const encode = () => formats.Q4_0.encode(x, { importance });
    expect(encode).toThrow(OptionError);
    expect(encode).toThrow(message);
  });

  it.each([0, 16, 48, 96, 128])("an importance of %i columns for 64 numbers in blocks of 32", (columns) => {
    const encode = () => formats.Q4_0.encode(x, { importance: Array(columns).fill(1) });
    expect(encode).toThrow(ShapeError);
    expect(encode).toThrow(`got ${columns} for 64 numbers`);
  });

  it("options of other names", () => {
    expect(() => formats.Q4_0.encode(x, { weights: ones } as never)).toThrow(OptionError);
  });

  it("numbers whose scales overflow", () => {
    const large = new Float32Array(64).fill(1e25);
    expect(() => formats.Q4_1.encode(large, { importance: ones })).toThrow(FormatError);
  });
});
