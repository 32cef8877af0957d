/** Files of version 4: numbers by the order in which they are named, and fields that are left out. */

import {
  type Fields,
  loadPacked,
  PackedLinear,
  PackedModel,
  PackedWeight,
  type Values,
} from "bitgrad/packed";
import { describe, expect, it } from "vitest";
import { samples } from "../fuzz/models.ts";
import { composed, description, edited, exchanged, joined, taken } from "../fuzz/parts.ts";
import { bits } from "./twins.ts";

interface Numbers {
  readonly float32?: readonly number[];
  readonly float16?: readonly number[];
  readonly codes?: readonly number[];
}

/** A file of such a model; float16 numbers are given by their bits. */
function file(model: unknown, { float32 = [], float16 = [], codes = [] }: Numbers): Uint8Array {
  const halves = new Uint8Array(Uint16Array.from(float16).buffer);
  const parts = taken(
    composed(
      model,
      {
        float32: { data: Float32Array.from(float32), shape: [float32.length] },
        float16: { data: halves, shape: [halves.length] },
        codes: { data: Uint8Array.from(codes), shape: [codes.length] },
      },
      4,
    ),
  );
  parts.entries.float16 = { ...parts.entries.float16, dtype: "F16", shape: [float16.length] };
  for (const [name, { data_offsets: at }] of Object.entries(parts.entries))
    if (at[0] === at[1]) delete parts.entries[name];
  return joined(parts);
}

const refused = (bytes: Uint8Array, message: RegExp): void => {
  expect(() => loadPacked(bytes)).toThrow(message);
  expect(() => loadPacked(bytes)).toThrow(expect.objectContaining({ code: "FORMAT" }));
};

const one = 0x3c00;
const two = 0x4000;
const linear = (weight: object, fields: object = {}) => ({ kind: "linear", weight, ...fields });
const run = (bytes: Uint8Array, ...x: number[]): number[] =>
  Array.from(loadPacked(bytes).forward({ data: Float32Array.from(x), shape: [1, x.length] }).data);

/** A kind from outside that keeps one field. */
class Holds {
  static readonly kind = "holds";
  readonly kind = "holds";
  readonly field: unknown;
  constructor({ field = null }: Fields) {
    this.field = field;
  }
  forward(x: Values): Values {
    return x;
  }
}
const holding = (field: unknown): PackedModel =>
  new PackedModel({ kind: "holds", field } as never, { kinds: [Holds] });

describe("numbers stand in the order in which they are named", () => {
  it("codes, scales and zero points of each weight, and what stands between weights", () => {
    const model = {
      kind: "sequential",
      steps: [
        linear({ rows: 2, columns: 2, bits: 4 }, { bias: { floats: 2 }, input: null }),
        linear({ rows: 2, columns: 2 }, { input: null }),
        linear(
          { rows: 1, columns: 2, bits: 8, signed: false, zero: "half", scaleType: "float32" },
          { input: null },
        ),
      ],
    };
    const numbers = {
      // A bias, the second matrix, the scale of the third.
      float32: [0.5, -0.5, 1, 2, 3, 4, 0.25],
      float16: [one, two],
      // Rows (1, −1) and (2, 3), then (5, 6) and its zero point 3 and a half.
      codes: [0xf1, 0x32, 5, 6, 3],
    };
    const [a, b] = [1 * 4 - 1 * 1 + 0.5, 2 * (2 * 4 + 3 * 1) - 0.5];
    const [c, d] = [a + 2 * b, 3 * a + 4 * b];
    expect(run(file(model, numbers), 4, 1)).toEqual([0.25 * (1.5 * c + 2.5 * d)]);
  });

  it("with one scale for a matrix, a scale a row, and groups", () => {
    const steps = (weight: object) => linear({ rows: 2, columns: 2, bits: 8, ...weight }, { input: null });
    const codes = [1, 2, 3, 4];
    expect(run(file(steps({ scales: "one" }), { float16: [two], codes }), 1, 1)).toEqual([6, 14]);
    expect(run(file(steps({}), { float16: [one, two], codes }), 1, 1)).toEqual([3, 14]);
    const grouped = file(steps({ group: 1 }), { float16: [one, two, two, one], codes });
    expect(run(grouped, 1, 1)).toEqual([5, 10]);
    expect(loadPacked(grouped).toBytes()).toEqual(grouped);
  });

  it("and fields without a word are what the page on formats says", () => {
    const { root } = loadPacked(
      file(
        { kind: "conv2d", weight: { rows: 1, columns: 4, bits: 1 }, kernel: [2, 2] },
        { float16: [one], codes: [0] },
      ),
    );
    expect(root).toMatchObject({
      bias: null,
      input: { kind: "dynamic", bits: 8 },
      stride: [1, 1],
      padding: [
        [0, 0],
        [0, 0],
      ],
      dilation: [1, 1],
      groups: 1,
    });
  });

  it("are named again by their place, weights and others, and are the same then", () => {
    const model = {
      kind: "sequential",
      steps: [
        { kind: "batchNorm", mean: { floats: 2 }, factor: { same: 0 }, bias: { same: 0 } },
        linear({ rows: 2, columns: 2 }),
        linear({ same: 1 }, { bias: { same: 0 }, input: null }),
      ],
    };
    const changed = {
      ...model,
      steps: [model.steps[0], linear({ rows: 2, columns: 2 }, { input: null }), model.steps[2]],
    };
    const bytes = file(changed, { float32: [1, 2, 1, 0, 0, 1] });
    const { steps } = loadPacked(bytes).root as never as { steps: Record<string, unknown>[] };
    expect(steps[2].weight).toBe(steps[1].weight);
    expect([steps[0].factor, steps[0].bias, steps[2].bias]).toEqual(Array(3).fill(steps[0].mean));
    expect(steps[2].bias).toBe(steps[0].mean);
    const back = loadPacked(bytes);
    expect(back.toBytes()).toEqual(bytes);
    expect(back.byteLength).toBe(24);
  });
});

describe("a file of version 4 is refused", () => {
  const weight = { rows: 2, columns: 2, bits: 8 };
  const numbers = { float16: [one, one], codes: [1, 2, 3, 4] };
  const right = file(linear(weight), numbers);
  const told = (change: object, more: Numbers = {}) =>
    file(linear({ ...weight, ...change }), { ...numbers, ...more });

  it("not when it is right", () => {
    expect(loadPacked(right).toBytes()).toEqual(right);
  });

  it.each<[string, Uint8Array, RegExp]>([
    [
      "with numbers left",
      told({}, { codes: [1, 2, 3, 4, 5] }),
      /numbers belong to no layer, got 1 bytes of U8/,
    ],
    ["with fewer numbers", told({}, { codes: [1, 2, 3] }), /lacks numbers of U8, got 3 bytes for 4/],
    ["without a tensor", told({}, { float16: [] }), /lacks numbers of F16, got 0 bytes for 2/],
    ["with a field that no weight has", told({ grup: 2 }), /an unknown field, got "grup" beside rows/],
    [
      "with scales of another dtype",
      told({ scaleType: "bfloat16" }),
      /scaleType must be one of float16, float32, got "bfloat16"/,
    ],
    ["with one scale for groups", told({ scales: "one", group: 1 }), /scales must be one of null, got "one"/],
    ["with many scales for all", told({ scales: 2 }), /scales must be one of null, one, got 2/],
    ["with a sign that is none", told({ signed: 1 }), /signed must be one of true, false, got 1/],
    ["with no columns", told({ columns: 0 }), /sizes must be counts/],
    ["with half a number", file(linear(weight, { bias: { floats: 0.5 } }), numbers), /got 0 bytes for 0.5/],
    [
      "with less than no numbers",
      file(linear(weight, { bias: { floats: -1 } }), numbers),
      /got 0 bytes for -1/,
    ],
    [
      "with more than all numbers",
      file(linear(weight, { bias: { floats: 2 ** 40 } }), numbers),
      /got 0 bytes for 1099511627776/,
    ],
    ["with numbers of text", file(linear(weight, { bias: { floats: "2" } }), numbers), /got 0 bytes for "2"/],
    [
      "with numbers that are more",
      file(linear(weight, { bias: { floats: 0, a: 1 } }), numbers),
      /unknown field, got "a" beside floats/,
    ],
    ...[1, -1, 0.5, "0", "length", null].map((same): [string, Uint8Array, RegExp] => [
      `with the numbers ${same} again`,
      file(linear(weight, { bias: { same } }), numbers),
      /same must tell numbers before it, got .* of 1$/,
    ]),
    [
      "with a weight for numbers",
      file(linear(weight, { bias: { same: 0 } }), numbers),
      /bias must be 2 numbers/,
    ],
    [
      "with a tensor of another name",
      composed(linear(weight), { more: { data: Uint8Array.of(1), shape: [1] } }, 4),
      /an unknown tensor, got "more", U8 \(1\)/,
    ],
    [
      "with a tensor of another dtype",
      composed(linear(weight), { codes: { data: Float32Array.of(1), shape: [1] } }, 4),
      /got "codes", F32 \(1\)/,
    ],
    [
      "with a tensor of more axes",
      composed(linear(weight), { codes: { data: Uint8Array.of(1), shape: [1, 1] } }, 4),
      /got "codes", U8 \(1, 1\)/,
    ],
    [
      "with the name of what every object has",
      composed(linear(weight), { constructor: { data: Uint8Array.of(1), shape: [1] } }, 4),
      /got "constructor", U8/,
    ],
    [
      "with the quotation marks of older ones",
      joined({
        ...taken(right),
        notes: { "bitgrad.packed": JSON.stringify({ version: 4, model: linear(weight) }) },
      }),
      /reads versions 1 to 3, and 4 in exchanged quotes, got 4/,
    ],
    [
      "as an older one with its quotation marks",
      joined({
        ...taken(right),
        notes: { "bitgrad.packed": exchanged(JSON.stringify({ version: 2, model: linear(weight) })) },
      }),
      /reads versions 1 to 3, and 4 in exchanged quotes, got 2/,
    ],
    [
      "without a field that has no default",
      edited(right, (d: { model: object }) => ({
        ...d,
        model: { ...d.model, kind: "embedding", weight: null },
      })),
      /numbers belong to no layer/,
    ],
    ["without its weight", file({ kind: "linear" }, {}), /linear: weight must be a weight, got null/],
    ["without a kernel", file({ kind: "conv2d", weight }, numbers), /conv2d: kernel must be two integers/],
  ])("%s", (_, bytes, message) => refused(bytes, message));

  it("before memory is taken for what it lacks", () => {
    const most = 2 ** 31 - 1;
    for (const change of [
      { rows: most },
      { rows: most, columns: most },
      { columns: most, bits: 32 },
      { group: 1, rows: most },
    ]) {
      const before = process.memoryUsage().arrayBuffers;
      refused(told(change), /the file lacks numbers/);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
    }
  });
});

describe("every kind of layer goes through a file", () => {
  it.each(samples().map((sample) => [sample.name, sample] as const))("%s", (_, { model, input, told }) => {
    const bytes = model.toBytes();
    const back = loadPacked(bytes);
    expect(bits(back.forward(input, told))).toEqual(bits(model.forward(input, told)));
    expect(back.toBytes()).toEqual(bytes);
    // No codes of the input, and no norm behind the blocks of a language, are said: there nothing means others.
    expect(JSON.stringify(description(bytes)).replaceAll(/"(norm|input)":null/g, "")).not.toMatch(
      /null|"dilation":\[1,1\]/,
    );
  });

  it.each<[string, object, string]>([
    ["sizes that are none", { group: 2 ** 31 }, "a weight's sizes must be counts, got (1, 2, 2147483648)"],
    ["levels that are no list", { codebook: Float32Array.of(1, 2) }, "a weight's sizes must be counts"],
    ["a sign that is none", { signed: undefined }, "signed must be one of true, false, got undefined"],
    [
      "scales of no type",
      { scaleType: "bfloat16" },
      'scaleType must be one of float16, float32, got "bfloat16"',
    ],
  ])("but for weights that no reader takes: %s", (_, odd, message) => {
    const sizes = { rows: 1, columns: 2, bits: 1, signed: false, codes: Uint8Array.of(1) };
    const scales = { scale: Float32Array.of(1), group: null, scaleType: "float32", codebook: null };
    const weight = PackedWeight.ofCodes({ ...sizes, ...scales, ...odd } as never);
    expect(() => holding(weight).toBytes()).toThrow(`toBytes: ${message}`);
    const nothing = PackedWeight.ofFloats(new Float32Array(0), 0, 2);
    expect(() => holding(nothing).toBytes()).toThrow(
      "toBytes: a weight's sizes must be counts, got (0, 2, null)",
    );
  });

  it("with what is none and what is usual, in a kind from outside", () => {
    const field = {
      bias: null,
      stride: [1, 1],
      groups: 1,
      deep: [{ kind: "holds", gate: null, field: null }],
    };
    const bytes = holding(field).toBytes();
    expect(description(bytes)).toEqual({
      version: 4,
      model: { kind: "holds", field: { ...field, deep: [{ kind: "holds", field: null }] } },
    });
  });

  it("as deep as fields may lie", () => {
    const deep = (levels: number): PackedModel => {
      let field: unknown = Float32Array.of(1);
      for (let i = 0; i < levels; i++) field = [field];
      return holding(field);
    };
    expect(() => deep(61).toBytes()).toThrow(/fields must lie at most 61 deep/);
    const bytes = deep(60).toBytes();
    expect(loadPacked(bytes, { kinds: [Holds] }).toBytes()).toEqual(bytes);
  });

  it("a weight with levels as deep", () => {
    const coded = file(
      linear({ rows: 1, columns: 1, bits: 1, signed: false, codebook: [1, 2] }, { input: null }),
      { float16: [one], codes: [1] },
    );
    const { weight } = loadPacked(coded).root as never as { weight: PackedWeight };
    let field: unknown = weight;
    for (let i = 0; i < 60; i++) field = [field];
    const bytes = holding(field).toBytes();
    expect(loadPacked(bytes, { kinds: [Holds] }).toBytes()).toEqual(bytes);
    expect(
      new PackedLinear({ weight, bias: null, input: null }).forward({
        data: Float32Array.of(3),
        shape: [1, 1],
      }).data[0],
    ).toBe(6);
  });
});
