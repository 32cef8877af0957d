import { Rng, randn, useBackend } from "bitgrad";
import { readSafetensors } from "bitgrad/io";
import { Embedding, evaluate, Linear } from "bitgrad/nn";
import { loadPacked, PackedLinear, PackedModel, PackedWeight } from "bitgrad/packed";
import {
  bwn,
  freeze,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type SpecOptions,
  ste,
} from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { description, edited, joined, taken } from "../fuzz/parts.ts";
import { storedFiles } from "../fuzz/stored.ts";

afterEach(() => useBackend("simd"));

describe("zero points", () => {
  const affine = (options: Partial<SpecOptions>) => ({
    weight: ste({ bits: 4, scheme: "affine", ...options }),
  });
  const quarters = { bits: 2, scheme: "codebook", codebook: [-0.75, -0.25, 0.25, 0.75] } as const;
  const bytesOf = (config: QuantConfig): Uint8Array =>
    pack(freeze(prepare(new Linear(17, 5, { rng: new Rng(2) }), plan({ default: config })))).toBytes();
  /** The file with its weight's description changed. */
  const told = (file: Uint8Array, changes: object) =>
    edited(file, (d: { model: { weight: object } }) => ({
      ...d,
      model: { ...d.model, weight: { ...d.model.weight, ...changes } },
    }));

  /** The file with another last zero point, which is the last of its bytes. */
  const withZero = (file: Uint8Array, byte: number) => {
    const parts = taken(file);
    parts.body[parts.body.length - 1] = byte;
    return joined(parts);
  };

  it.each<[string, QuantConfig, string, number, string]>([
    ["integer", affine({}), "codes", 5, "integer"],
    ["of signed codes", affine({ signed: true }), "codes", 5, "integer"],
    ["of groups", affine({ granularity: { group: 8 } }), "codes", 15, "integer"],
    ["of one scale", affine({ granularity: "tensor" }), "codes", 1, "integer"],
    ["between codes", { weight: ste(quarters) }, "codes", 5, "half"],
    ["float", affine({ zeroPoint: "float", granularity: { group: 8 } }), "float32", 15, "float"],
  ])("%s are stored behind the scales, and come back the same", (_, config, name, count, zero) => {
    const file = bytesOf(config);
    expect(description(file)).toMatchObject({ version: 4, model: { weight: { zero } } });
    const { tensors } = readSafetensors(file, { widen: true });
    const before = name === "codes" ? 5 * Math.ceil((17 * (zero === "half" ? 2 : 4)) / 8) : 5;
    expect(tensors[name].shape).toEqual([before + count]);
    const back = loadPacked(file);
    expect(back.toBytes()).toEqual(file);
    const header = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
    expect(file.length).toBe(header + back.byteLength);
  });

  it("are not mentioned where there are none", () => {
    const { metadata } = readSafetensors(bytesOf(int8WeightOnly()), { widen: true });
    expect(metadata["bitgrad.packed"]).not.toContain("zero");
  });

  it.each<[string, Uint8Array, RegExp]>([
    [
      "in version 2",
      edited(storedFiles(3)[0].bytes, (d: object) => ({ ...d, version: 2 })),
      /zero must be null before version 3, got "integer"/,
    ],
    ["of another kind", told(bytesOf(affine({})), { zero: "third" }), /zero must be one of .*, got "third"/],
    [
      "of an inherited kind",
      told(bytesOf(affine({})), { zero: "constructor" }),
      /zero must be one of null, integer, half, float, got "constructor"/,
    ],
    [
      "without bytes",
      told(bytesOf(int8WeightOnly()), { zero: "integer", signed: false }),
      /lacks numbers of U8/,
    ],
    ["of another dtype", told(bytesOf(affine({})), { zero: "float" }), /lacks numbers of F32, got 0 bytes/],
    [
      "that are no codes",
      withZero(bytesOf(affine({})), 200),
      /a zero point must be a code of 4 bits, got 200/,
    ],
    [
      "between codes that are none",
      withZero(bytesOf({ weight: ste(quarters) }), 4),
      /a zero point must be a code of 2 bits, got 4/,
    ],
    [
      "of another shape",
      told(bytesOf(affine({ granularity: { group: 8 } })), { group: 3 }),
      /the file lacks numbers of F16/,
    ],
    [
      "of a codebook",
      told(bytesOf(affine({})), { codebook: Array.from({ length: 16 }, (_, i) => i) }),
      /levels have no zero points, got 5/,
    ],
    ["of signs", told(bytesOf({ weight: bwn() }), { zero: "integer" }), /lacks numbers of U8/],
  ])("%s are refused", (_, bytes, message) => {
    expect(() => loadPacked(bytes)).toThrow(message);
    expect(() => loadPacked(bytes)).toThrow(expect.objectContaining({ code: "FORMAT" }));
  });

  it("made by hand are refused where they are none", () => {
    const coded = {
      rows: 2,
      columns: 3,
      bits: 4,
      signed: false,
      codes: new Uint8Array(4),
      scale: new Float32Array(2).fill(1),
      group: null,
      scaleType: "float32",
      codebook: null,
    } as const;
    const make = (given: object) => () => PackedWeight.ofCodes({ ...coded, ...given });
    const zeroPoint = Float32Array.of(1, 2);
    expect(make({ zeroPoint: Float32Array.of(1) })).toThrow(/needs 2 zero points, got 1/);
    expect(make({ zeroPoint: Float32Array.of(1, Infinity) })).toThrow(
      /zero points and scales must be finite, got NaN or infinity/,
    );
    expect(make({ zeroPoint, bits: 1, signed: true, codes: new Uint8Array(2) })).toThrow(
      /codes with a sign have no zero points, got 2/,
    );
    expect(make({ zeroPoint: Float32Array.of(0.3, 1), signed: true })).toThrow(
      /codes with a sign have no zero points, got 2/,
    );
    const input = { kind: "dynamic", bits: 8 } as const;
    const weight = make({ zeroPoint: Float32Array.of(0.3, 1) })();
    expect(() => new PackedLinear({ weight, bias: null, input })).toThrow(
      /needs weights of integers, got 4 bits/,
    );
    // Codes 0 of 4 bits are −1 and −1.5, in integers 2 times that.
    const half = make({ zeroPoint: Float32Array.of(1.5, 2.5) })();
    const layer = new PackedModel(new PackedLinear({ weight: half, bias: null, input }));
    expect(Array.from(layer.forward({ data: Float32Array.of(1, 1, 1), shape: [1, 3] }).data)).toEqual([
      -4.5, -7.5,
    ]);
  });

  it("float32 input is multiplied by the values, within the bound of a float sum", () => {
    for (const backend of ["simd", "reference"] as const) {
      useBackend(backend);
      for (const config of [
        affine({}),
        affine({ bits: 8, granularity: { group: 24 } }),
        affine({ zeroPoint: "float", granularity: { group: 32 } }),
        { weight: ste({ ...quarters, granularity: { group: 16 } }) },
      ])
        for (const m of [1, 3, 9]) {
          const k = 100;
          const model = evaluate(
            freeze(prepare(new Linear(k, 12, { rng: new Rng(3) }), plan({ default: config }))),
          );
          const x = randn([m, k], { rng: new Rng(4) });
          const values = { data: x.data.slice() as Float32Array, shape: x.shape };
          const got = loadPacked(pack(model).toBytes()).forward(values).data;
          const [w, bias] = [model.weight.effective(), model.bias!.value];
          // Copied: a memory that is not shared grows under views.
          const want = x.to("float64").linear(w.to("float64"), bias.to("float64")).data.slice();
          const bound = x.abs().linear(w.abs(), bias.abs()).data;
          want.forEach(
            (v, i) => void expect(Math.abs(got[i] - v)).toBeLessThanOrEqual((k + 2) * 2 ** -24 * bound[i]),
          );
        }
    }
  });

  it("a table gives the rows that training reads", () => {
    const config = affine({ zeroPoint: "float", granularity: { group: 8 } });
    const table = evaluate(
      freeze(prepare(new Embedding(6, 20, { rng: new Rng(1) }), plan({ default: config }))),
    );
    const rows = pack(table).forward({ data: [0, 1, 2, 3, 4, 5], shape: [6] });
    expect(Array.from(rows.data)).toEqual(Array.from(table.weight.effective().data));
  });
});
