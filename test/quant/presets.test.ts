/** The options of presets: what each takes, and that it means the same trained, frozen, packed and read back. */

import { eye, noGrad, Rng, scope, type Tensor } from "bitgrad";
import { Conv2d, clone, Linear } from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import { minMax, movingAverage, plan, prepare, type QuantConfig, type Quantizer } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, random, twins, values } from "../packed/twins.ts";

type Options = Record<string, unknown>;

const scales = { group: [32, 5], granularity: ["tensor", "channel", { group: 9 }] };
const scaleDtype = ["float16", "float32"];
const scheme = ["symmetric", "affine"];
const uniform = { ...scales, scheme, scaleDtype };
const means = { ...scales, scaleDtype };

/** What each preset takes, with values to try. */
const takes: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  int8WeightOnly: uniform,
  int4WeightOnly: uniform,
  nf4WeightOnly: { group: [32, 5], scaleDtype },
  ternaryWeightOnly: means,
  binaryWeightOnly: means,
  int8Dynamic: uniform,
  int8Static: { ...uniform, inputScheme: ["affine", "symmetric"], observer: [minMax, movingAverage] },
  int8Mixed: { ...uniform, threshold: [6, 1.5] },
  int4Dynamic: uniform,
  ternaryDynamic: means,
  binaryDynamic: means,
  binarySigns: { granularity: scales.granularity, scaleDtype },
};
const presetOf = (name: string) =>
  (quant as Readonly<Record<string, unknown>>)[name] as (options?: Options) => QuantConfig;
const shown = (given: Options) =>
  JSON.stringify(given, (_, value) => (typeof value === "function" ? value.name : value));

/** Each option alone, and all that go together. */
const calls = Object.entries(takes).flatMap(([name, options]) => {
  const alone = Object.entries(options).flatMap(([key, list]) => list.map((value) => ({ [key]: value })));
  const { granularity, ...rest } = options;
  const many = Object.entries(name === "binarySigns" ? options : rest);
  const together = Object.fromEntries(many.map(([key, list]) => [key, list.at(-1)]));
  return [...alone, together].map((given): [string, string, Options] => [name, shown(given), given]);
});

it("every preset is here", () => {
  const presets = Object.keys(quant).filter((name) => /(WeightOnly|Dynamic|Mixed|Static|Signs)$/.test(name));
  expect(Object.keys(takes).toSorted()).toEqual(presets.toSorted());
});

describe("a preset with options is one model: prepared, frozen, packed and read back,", () => {
  it.each(calls)("%s(%s)", async (name, _, given) => {
    const config = presetOf(name)(given);
    const layers: [layer: Linear | Conv2d, x: Tensor][] = [
      // A sum of one product alone has one order, also where codes meet floats.
      [new Linear(37, 6, { rng: new Rng(1) }), config.input ? random([4, 37]) : eye(37)],
      [new Conv2d(4, 6, 3, { rng: new Rng(2), groups: 2 }), random([2, 4, 5, 5])],
    ];
    for (const [layer, x] of layers) {
      const live = prepare(clone(layer), plan({ default: config })).weight.effective();
      const { model, packed, fresh } = await twins(layer, config, x);
      expect(bits(model.weight.effective())).toEqual(bits(live));
      const want = bits(noGrad(() => scope(() => model.forward(x))));
      expect(bits(fresh.forward(values(x)))).toEqual(want);
      expect(bits(packed.forward(values(x)))).toEqual(want);
    }
  });
});

describe("the options of a preset", () => {
  it.each(calls)("are those of its quantizers, %s(%s)", (name, _, given) => {
    const { weight, input } = presetOf(name)(given);
    const { spec } = weight as Quantizer;
    const { group, granularity, inputScheme, observer, threshold, ...same } = given;
    expect(spec).toMatchObject(same);
    if (group) expect(spec.granularity).toEqual({ group });
    if (granularity) expect(spec.granularity).toEqual(granularity);
    if (threshold) expect(input!()).toMatchObject({ threshold });
    if (inputScheme) expect(input!().spec.scheme).toBe(inputScheme);
    if (observer) expect(input!().observer!.spec).toBe(input!().spec);
  });

  it("left out are a scale a row, or a group that suits few bits", () => {
    const of = (name: string) => (presetOf(name)().weight as Quantizer).spec;
    for (const name of Object.keys(takes)) {
      const group = { int4WeightOnly: 32, int4Dynamic: 32, nf4WeightOnly: 64 }[name];
      expect(of(name).granularity, name).toEqual(group ? { group } : "channel");
      expect(of(name).scaleDtype, name).toBe("float16");
      expect(of(name).scheme, name).toBe(name === "nf4WeightOnly" ? "codebook" : "symmetric");
    }
  });

  it.each(calls)("come back from JSON, or are refused there, %s(%s)", (name, _, given) => {
    const config = presetOf(name)(given);
    const text = () => JSON.stringify(plan({ default: config, rules: [["2.*", config]] }));
    if ("observer" in given) {
      expect(text).toThrow("plan: JSON holds presets, got Object of the default; ");
      return;
    }
    expect(JSON.parse(text())).toEqual({
      default: { preset: name, options: given },
      rules: [["2.*", { preset: name, options: given }]],
    });
    const model = { fc: new Linear(64, 4) };
    const { default: again } = JSON.parse(text());
    const read = plan({ default: again }).explain(model)[0].config!;
    expect(read.weight).toMatchObject({ name: (config.weight as Quantizer).name });
    expect((read.weight as Quantizer).spec).toEqual((config.weight as Quantizer).spec);
    expect(read.input?.().spec).toEqual(config.input?.().spec);
  });

  it.each(Object.entries(takes))("%s does not know are refused, with those it knows", (name, options) => {
    const known = Object.keys(options);
    for (const key of [
      "group",
      "granularity",
      "scheme",
      "scaleDtype",
      "observer",
      "inputScheme",
      "threshold",
      "bits",
    ]) {
      if (known.includes(key)) continue;
      expect(() => presetOf(name)({ [key]: 8 }), key).toThrow(
        `${name}: unknown option, got "${key}"; known options are ${known.join(", ")}`,
      );
    }
  });

  it.each(Object.entries(takes))("%s that cannot be are refused by its name", (name, options) => {
    const wrong: Record<string, [value: unknown, text: string][]> = {
      group: [
        [0, "group must be an integer of at least 1, got 0"],
        [1.5, "group must be an integer of at least 1, got 1.5"],
        ["channel", 'group must be an integer of at least 1, got "channel"'],
      ],
      granularity: [
        ["row", 'granularity must be "tensor", "channel", "token", { group } or { block }, got "row"'],
        [{ group: 0 }, 'granularity must be "tensor", "channel", "token", { group } or { block }, got 0'],
      ],
      scheme: [["codebook", 'scheme must be one of symmetric, affine, got "codebook"']],
      inputScheme: [["codebook", 'inputScheme must be one of symmetric, affine, got "codebook"']],
      scaleDtype: [["float64", 'scaleDtype must be one of float32, float16, bfloat16, e8m0, got "float64"']],
      observer: [["minMax", 'observer must be a function such as minMax, got "minMax"']],
    };
    for (const [key, values] of Object.entries(wrong)) {
      if (!Object.hasOwn(options, key)) continue;
      for (const [value, text] of values) {
        expect(() => presetOf(name)({ [key]: value })).toThrow(`${name}: ${text}`);
      }
    }
    if (!options.group || !options.granularity) return;
    expect(() => presetOf(name)({ group: 32, granularity: "channel" })).toThrow(
      `${name}: group and granularity say the same, got 32 and "channel"; leave one out`,
    );
  });
});

it("a static input has integers with one zero point, or none", () => {
  for (const scheme of ["absmax-signed", "codebook", "int"]) {
    expect(() => quant.staticInput({ scheme } as never)).toThrow(
      `staticInput: scheme must be one of symmetric, affine, got "${scheme}"`,
    );
  }
});

it("a granularity of groups says nothing else", () => {
  const granularity = { group: 8, axis: 1 } as never;
  for (const [name, make] of Object.entries({
    spec: quant.spec,
    bwn: quant.bwn,
    int4WeightOnly: quant.int4WeightOnly,
  })) {
    expect(() => make({ granularity })).toThrow(
      `${name}: granularity must be "tensor", "channel", "token", { group } or { block }, got { group, axis }`,
    );
  }
});
