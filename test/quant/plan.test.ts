import { BatchNorm2d, Embedding, GroupNorm, LayerNorm, Linear, RMSNorm, Sequential } from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import {
  binaryWeightOnly,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  minMax,
  type Plan,
  plan,
  type QuantConfig,
  type Quantizer,
  signInput,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

describe("a plan's default", () => {
  it("takes weights of layers, and leaves norms of any shape alone", () => {
    const model = new Sequential(
      new Linear(4, 8),
      new LayerNorm([2, 4]),
      new RMSNorm(8),
      new GroupNorm(2, 8),
      new BatchNorm2d(8),
      new Embedding(4, 4),
    );
    const taken = plan({ default: binaryWeightOnly() })
      .explain(model)
      .filter(({ config }) => config !== null);
    expect(taken.map(({ path }) => path)).toEqual(["0.weight", "5.weight"]);
  });

  it("may still be a rule's choice for a norm", () => {
    const model = new Sequential(new LayerNorm([2, 4]));
    const config = int8WeightOnly();
    expect(plan({ rules: [["0.weight", config]] }).explain(model)[0].config).toBe(config);
  });
});

describe("what a plan explains", () => {
  const model = () =>
    new Sequential(new Linear(64, 1000), new LayerNorm(8), new Linear(4, 2, { dtype: "float64" }));
  const mixed = plan({
    default: int8Dynamic(),
    rules: [
      ["2.bias", null],
      ["2.weight", { weight: () => ste({ bits: 3 }) }],
      ["1.weight", { weight: ste({ bits: 4 }), input: int8Dynamic().input }],
      ["0.bias", int4WeightOnly({ group: 8, scheme: "affine" })],
    ],
  });

  it("prints as a table of parameters, presets with their options, and bits", () => {
    const shapes = ["2.weight  (2, 4)", "1.weight  (8)"];
    expect(String(mixed.explain(model()))).toBe(
      [
        "path      shape       config                                    parameters  bits",
        "--------------------------------------------------------------------------------",
        "0.weight  (1000, 64)  int8Dynamic                                   64,000     8",
        "0.bias    (1000)      int4WeightOnly(group: 8, scheme: affine)       1,000     4",
        `${shapes[1]}         int4, quantized input                              8     4`,
        "1.bias    (8)         float32                                            8    32",
        `${shapes[0]}      a function                                         8`,
        "2.bias    (2)         float32                                            2    64",
      ].join("\n"),
    );
  });

  it("is a list as before", () => {
    const planned = mixed.explain(model());
    expect(Array.isArray(planned)).toBe(true);
    expect([...planned].map(({ path }) => path)).toEqual(planned.map(({ path }) => path));
    expect(Object.keys(planned)).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(String(planned.filter(() => false))).toBe("");
  });

  it("prints a head alone for a model without parameters", () => {
    expect(String(plan({}).explain({}))).toMatch(/^path +shape +config +parameters +bits\n-+$/);
  });
});

describe("a preset refuses what it does not know, by its own name:", () => {
  const presets = Object.entries(quant).filter(([name]) =>
    /(WeightOnly|Dynamic|Static|binarySigns|Input|^nf4|^ste|^bwn|^bitnet158)$/.test(name),
  );

  it("there are presets", () => expect(presets.length).toBeGreaterThan(15));

  it.each(presets)("%s", (name, preset) => {
    const make = preset as (options?: unknown) => unknown;
    for (const option of ["bitz", name === "nf4" ? "group" : "granule"]) {
      expect(() => make({ [option]: 4 })).toThrow(`${name}: unknown option, got "${option}"`);
    }
    for (const given of [null, 4, "int8", [4]]) {
      expect(() => make(given), String(given)).toThrow(`${name}: options must be a plain object`);
    }
  });

  it("int8 presets have 8 bits", () => {
    for (const [name, preset] of presets.filter(([name]) => /^int8(WeightOnly|Dynamic|Static)$/.test(name))) {
      const make = preset as (options: unknown) => unknown;
      expect(() => make({ bits: 4 }), name).toThrow(
        `${name}: unknown option, got "bits"; known options are group, granularity, scheme, scaleDtype`,
      );
    }
  });
});

describe("a plan as JSON", () => {
  const model = () => new Sequential(new Linear(64, 64), new Linear(64, 32), new Linear(32, 2));
  const shown = (given: Plan) =>
    given.explain(model()).map(({ path, config }) => {
      const { spec, name } = (config?.weight ?? {}) as Partial<Quantizer>;
      const input = config?.input?.();
      return { path, name, spec, input: input?.spec, observed: input && input.observer !== null };
    });
  const again = (given: Plan) => plan(JSON.parse(JSON.stringify(given)));

  it("comes back as the same plan", () => {
    for (const [name, preset] of Object.entries(quant).filter(([key]) =>
      /^(int8|int4|nf4|ternary|binary)(WeightOnly|Dynamic|Static|Signs)$/.test(key),
    )) {
      const make = preset as (options?: object) => QuantConfig;
      const options = /^(int4|nf4)/.test(name)
        ? { group: 16 }
        : name === "int8Static"
          ? { inputScheme: "symmetric" }
          : /^int8/.test(name)
            ? {}
            : { granularity: { group: 32 } };
      for (const config of [make(), make(options)]) {
        const given = plan({ default: config, rules: [["2.weight", null]] });
        expect(shown(again(given)), name).toEqual(shown(given));
        expect(shown(again(again(given))), name).toEqual(shown(given));
      }
    }
    const mixed = plan({
      default: int8WeightOnly(),
      rules: [
        ["{0,1}.weight", int4WeightOnly({ group: 8 })],
        ["2.**", null],
      ],
    });
    expect(JSON.parse(JSON.stringify(mixed))).toEqual({
      default: { preset: "int8WeightOnly" },
      rules: [
        ["{0,1}.weight", { preset: "int4WeightOnly", options: { group: 8 } }],
        ["2.**", null],
      ],
    });
    expect(shown(again(mixed))).toEqual(shown(mixed));
  });

  it("is refused for a preset that was changed since", () => {
    const swapped = [
      (c: QuantConfig) => Object.assign(c, { input: signInput() }),
      (c: QuantConfig) => Object.assign(c, { weight: ste({ bits: 3 }) }),
      (c: QuantConfig) => Object.assign(c.weight, { spec: ste({ bits: 3 }).spec }),
      (c: QuantConfig) => delete (c as { input?: unknown }).input,
    ];
    for (const change of swapped) {
      const config = int8Dynamic();
      change(config);
      expect(() => JSON.stringify(plan({ default: config }))).toThrow("plan: JSON holds presets, got Object");
    }
    const config = Object.assign(int8Dynamic(), { more: 1 });
    expect(() => plan({ default: config })).toThrow('unknown option, got "more"');
  });

  it("holds the options as they were given, whatever becomes of them", () => {
    const granularity = { group: 8 };
    const codebook = [-1, 0, 1];
    const config = int8WeightOnly({ granularity });
    const levels = spec({ bits: 2, scheme: "codebook", codebook });
    const want = { default: { preset: "int8WeightOnly", options: { granularity: { group: 8 } } }, rules: [] };
    granularity.group = 4;
    codebook[1] = 0.5;
    const json = plan({ default: config }).toJSON();
    expect(json).toEqual(want);
    (json.default!.options as { granularity: { group: number } }).granularity.group = 2;
    expect(plan({ default: config }).toJSON()).toEqual(want);
    const { granularity: held } = (config.weight as Quantizer).spec;
    expect(() => Object.assign(held as object, { group: 2 })).toThrow(TypeError);
    expect(levels.codebook).toEqual([-1, 0, 1]);
  });

  it("is refused for what JSON cannot hold", () => {
    const own = { weight: ste({ bits: 3 }) };
    expect(() => JSON.stringify(plan({ default: own }))).toThrow(
      "plan: JSON holds presets, got Object of the default; ",
    );
    expect(() => JSON.stringify(plan({ rules: [["**", own]] }))).toThrow("got Object of rule 0");
    expect(() => JSON.stringify(plan({ rules: [[/weight/, null]] }))).toThrow(
      "plan: JSON holds path patterns",
    );
    const observed = int8Static({ observer: minMax });
    expect(() => JSON.stringify(plan({ default: observed }))).toThrow("plan: JSON holds presets, got");
    expect(() => plan({ default: { preset: "int7" } as never })).toThrow(
      'plan: no such preset, got "int7"; presets are int8WeightOnly, ',
    );
    expect(() => plan({ default: { preset: "int4Dynamic", options: { size: 3 } } })).toThrow(
      "int4Dynamic: unknown option",
    );
  });
});
