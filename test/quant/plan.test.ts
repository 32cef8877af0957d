import { BatchNorm2d, Embedding, GroupNorm, LayerNorm, Linear, RMSNorm, Sequential } from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import { binaryWeightOnly, int8WeightOnly, plan } from "bitgrad/quant";
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
    for (const [name, preset] of presets.filter(([name]) => /^int8(WeightOnly|Dynamic)$/.test(name))) {
      const make = preset as (options: unknown) => unknown;
      expect(() => make({ bits: 4 }), name).toThrow(`${name}: unknown option, got "bits"; it takes none`);
    }
  });
});
