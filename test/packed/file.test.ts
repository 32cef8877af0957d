import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng, relu, tensor } from "bitgrad";
import { readSafetensors, save, writeSafetensors } from "bitgrad/io";
import { Gpt } from "bitgrad/models";
import { BatchNorm2d, Conv2d, evaluate, LayerNorm, Linear, Sequential } from "bitgrad/nn";
import { loadPacked, PackedLinear, PackedModel, PackedWeight } from "bitgrad/packed";
import {
  binaryDynamic,
  binarySigns,
  freeze,
  int4Dynamic,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  nf4WeightOnly,
  pack,
  plan,
  prepare,
  ternaryDynamic,
} from "bitgrad/quant";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { description, edited } from "../fuzz/parts.ts";

const config = { vocabulary: 20, context: 8, dim: 16, layers: 1, heads: 2 };
const gpt = (): Gpt => evaluate(new Gpt({ ...config, rng: new Rng(1) }));
const packed = (): PackedModel =>
  pack(
    freeze(
      prepare(
        gpt(),
        plan({ default: int4Dynamic({ group: 8 }), rules: [["**.up.weight", ternaryDynamic()]] }),
      ),
    ),
  );
const file = packed().toBytes();

/** A network with every kind of layer that a sequence may hold but blocks. */
function net(): PackedModel {
  const model = new Sequential(
    new Conv2d(2, 4, 3, { padding: 1, rng: new Rng(1) }),
    new BatchNorm2d(4),
    relu,
    new LayerNorm(8),
    new Linear(8, 4, { rng: new Rng(2) }),
  );
  return pack(evaluate(freeze(prepare(model, plan({ default: binarySigns() })))));
}

/** Merges into the description of the weight of the table and the head. */
const headed = (change: object) =>
  edited(file, (d: { model: { token: { weight: object } } }) => {
    const { token } = d.model;
    return { ...d, model: { ...d.model, token: { ...token, weight: { ...token.weight, ...change } } } };
  });

describe("a packed file", () => {
  it("is a safetensors file of F32 numbers, F16 scales and U8 codes, exactly ceil(K · bits / 8) bytes a row", () => {
    const { tensors } = readSafetensors(file, { widen: true });
    const sizes = Object.entries(tensors).map(([name, { dtype, shape }]) => [name, dtype, shape]);
    // A matrix (64, 16) of ternary digits, the others (20, 16), (8, 16), (16, 16) and (16, 64) of 4 bits in groups of 8.
    const coded = [20 * 16, 8 * 16, ...Array(4).fill(16 * 16), 16 * 64];
    const codes = coded.reduce((sum, n) => sum + n / 2, 64 * 4);
    const scales = coded.reduce((sum, n) => sum + n / 8, 64);
    const floats = 4 * 16 + 64 + 16 + 3 * 2 * 16;
    expect(sizes).toEqual([
      ["float32", "float32", [floats]],
      ["float16", "float32", [scales]],
      ["codes", "uint8", [codes]],
    ]);
    // F16 is what the reader refuses without being told to widen it.
    expect(() => readSafetensors(file)).toThrow(/float16/);
  });

  it("is what save writes of a packed model, which takes no options", async () => {
    expect(await save(null, packed())).toEqual(file);
    const path = join(mkdtempSync(join(tmpdir(), "packed-")), "model.safetensors");
    await save(path, packed());
    expect(loadPacked(readFileSync(path)).toBytes()).toEqual(file);
    await expect(save(null, packed(), { dtype: "float16" })).rejects.toThrow(
      /takes no options, got \("dtype"\)/,
    );
  });

  it("stores tied weights once", () => {
    expect(description(file)).toMatchObject({
      model: {
        token: { weight: { rows: 20, columns: 16, bits: 4, group: 8 } },
        head: { weight: { same: 0 } },
      },
    });
    const { token, head } = loadPacked(file).root as never as Record<
      "token" | "head",
      { weight: PackedWeight }
    >;
    expect(head.weight).toBe(token.weight);
  });

  it("comes back the same, from a buffer at any offset, and is written the same again", () => {
    const back = loadPacked(file);
    expect(back.toBytes()).toEqual(file);
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    expect(loadPacked(shifted.subarray(3)).toBytes()).toEqual(file);
    expect(loadPacked(file.slice().buffer).toBytes()).toEqual(file);
    expect(back.generate([1, 2], { maxTokens: 5, temperature: 0 })).toEqual(
      packed().generate([1, 2], { maxTokens: 5, temperature: 0 }),
    );
  });

  it("holds no float weights when it is read: only what is not quantized", () => {
    const floats: number[] = [];
    const weights: PackedWeight[] = [];
    const visit = (value: unknown): void => {
      if (value instanceof PackedWeight) weights.push(value);
      if (value instanceof Float32Array) floats.push(value.length);
      else if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value))
        Object.values(value).forEach(visit);
    };
    visit(loadPacked(file).root);
    expect(weights.every(({ floats: none }) => none === null)).toBe(true);
    expect(Math.max(...floats)).toBeLessThanOrEqual(128);
  });

  it("takes the bytes it says, and its header", () => {
    const { byteLength } = packed();
    expect(file.length - byteLength).toBeGreaterThan(0);
    const header = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
    // Numbers of a described input or a codebook are in the header; nothing else is.
    expect(file.length).toBe(header + byteLength);
  });

  it.each([
    ["int8", int8Dynamic()],
    ["weight-only", int8WeightOnly()],
    ["1 bit", binaryDynamic()],
    ["NF4", nf4WeightOnly({ group: 8 })],
  ])("holds %s layers", (_, quantized) => {
    const model = pack(freeze(prepare(new Linear(17, 5, { rng: new Rng(2) }), plan({ default: quantized }))));
    expect(loadPacked(model.toBytes()).toBytes()).toEqual(model.toBytes());
  });
});

describe("a file that is not right is refused", () => {
  it("cut anywhere", () => {
    for (let length = 0; length < file.length; length += 37) {
      expect(() => loadPacked(file.subarray(0, length))).toThrow(expect.objectContaining({ code: "FORMAT" }));
    }
  });

  it.each<[string, () => Uint8Array]>([
    ["a GPT", () => file],
    ["a network of convolutions", () => net().toBytes()],
  ])("with any byte of its header changed, or it reads as a model all the same: %s", (_, make) => {
    const bytes = make();
    const header = 8 + new DataView(bytes.buffer).getUint32(0, true);
    fc.assert(
      fc.property(fc.nat(header - 1), fc.nat(255), (at, byte) => {
        const changed = bytes.slice();
        changed[at] = byte;
        let model: PackedModel;
        try {
          model = loadPacked(changed);
        } catch (error) {
          expect((error as { code?: string }).code, `byte ${byte} at ${at}: ${error}`).toBe("FORMAT");
          return;
        }
        expect(model).toBeInstanceOf(PackedModel);
      }),
      { numRuns: 800 },
    );
  });

  it("with a field of any layer left out or of another type", () => {
    const bytes = net().toBytes();
    const steps = (d: object) => (d as { model: { steps: Record<string, unknown>[] } }).model.steps;
    const layers = steps(description(bytes) as object);
    for (const [i, layer] of layers.entries()) {
      for (const field of Object.keys(layer)) {
        for (const value of [undefined, 7, "x", [], {}, [[1]], -1]) {
          const changed = edited(bytes, (d: object) => {
            steps(d)[i][field] = value;
            return d;
          });
          try {
            loadPacked(changed);
          } catch (error) {
            expect(
              (error as { code?: string }).code,
              `${layer.kind}.${field} = ${JSON.stringify(value)}: ${error}`,
            ).toBe("FORMAT");
          }
        }
      }
    }
  });

  it.each<[string, Uint8Array, RegExp]>([
    [
      "of another version",
      edited(file, (d: object) => ({ ...d, version: 5 })),
      /reads versions 1 to 3, and 4 in exchanged quotes, got 5/,
    ],
    [
      "without a version",
      edited(file, ({ model }: { model: object }) => ({ model })),
      /reads versions 1 to 3, and 4 in exchanged quotes, got undefined/,
    ],
    [
      "of an unknown kind",
      edited(file, (d: { model: object }) => ({ ...d, model: { ...d.model, kind: "spline" } })),
      /known kind/,
    ],
    [
      "with a kind that every object has",
      edited(file, (d: { model: object }) => ({ ...d, model: { ...d.model, kind: "constructor" } })),
      /known kind/,
    ],
    ["without a layer", edited(file, (d: object) => ({ ...d, model: null })), /numbers belong to no layer/],
    [
      "with a context of 0",
      edited(file, (d: { model: object }) => ({ ...d, model: { ...d.model, context: 0 } })),
      /context must be an integer of at least 1, got 0/,
    ],
    [
      "with blocks that are none",
      edited(file, (d: { model: { blocks: object[] } }) => ({
        ...d,
        model: { ...d.model, blocks: [...d.model.blocks, 3] },
      })),
      /blocks must be a list of block layers/,
    ],
    [
      "with more rows than codes",
      headed({ rows: 2 ** 31 - 1 }),
      /the file lacks numbers of U8, got 1504 bytes/,
    ],
    ["with fewer rows", headed({ rows: 18 }), /numbers belong to no layer, got 8 bytes of F16/],
    ["with huge sizes", headed({ rows: 2 ** 40, columns: 2 ** 40 }), /sizes must be counts/],
    ["with nine bits", headed({ bits: 9 }), /bits must be one of 1, 2, 3, 4, 5, 6, 7, 8, 32, got 9/],
    ["with a group of 0", headed({ group: 0 }), /sizes must be counts/],
    ["with too few scales", headed({ group: 1 }), /the file lacks numbers of F16, got 16 bytes for 32/],
    [
      "with a reserved key",
      edited(
        file,
        (d: object) =>
          JSON.parse(`{"version":1,"model":{"kind":"linear","a":${"[".repeat(80)}${"]".repeat(80)}}}`) ?? d,
      ),
      /nested too deeply/,
    ],
    ["of plain tensors", writeSafetensors({ x: tensor([1]) }), /not a packed model/],
  ])("%s", (_, bytes, message) => {
    expect(() => loadPacked(bytes)).toThrow(message);
    expect(() => loadPacked(bytes)).toThrow(expect.objectContaining({ code: "FORMAT" }));
  });

  it("whose input is none", () => {
    const linear = pack(freeze(prepare(new Linear(8, 4), plan({ default: int8Dynamic() })))).toBytes();
    const thresholds = [0, -1, "6", null, true, [6]];
    for (const input of [
      ...[{ kind: "dynamic", bits: 1 }, { kind: "static", scale: 0 }, { kind: "x" }, 7],
      ...[
        { kind: "mixed", threshold: 6 },
        { kind: "mixed", bits: 8 },
        { kind: "mixed", bits: 9, threshold: 6 },
      ],
      ...thresholds.map((threshold) => ({ kind: "mixed", bits: 8, threshold })),
    ]) {
      const bytes = edited(linear, (d: { model: object }) => ({ ...d, model: { ...d.model, input } }));
      expect(() => loadPacked(bytes)).toThrow(/an input must be dynamic, static, signs or mixed/);
    }
  });
});

describe("mistakes", () => {
  const linear = () =>
    pack(freeze(prepare(new Linear(8, 4, { rng: new Rng(1) }), plan({ default: int8Dynamic() }))));
  const x = (...numbers: number[]) => ({
    data: Float32Array.from({ length: 8 }, (_, i) => numbers[i] ?? 1),
    shape: [1, 8],
  });

  it("NaN and infinity in an input are errors, signs among them", () => {
    const static8 = prepare(new Linear(8, 4), plan({ default: int8Static() }));
    expect(() => linear().forward(x(Number.NaN))).toThrow(
      /^forward: every input must be finite, got NaN at index 0$/,
    );
    const floats = pack(freeze(prepare(new Linear(8, 4), plan({ default: int8WeightOnly() }))));
    expect(() => floats.forward(x(1, 2, Number.NaN))).toThrow(/must be finite, got NaN at index 2/);
    expect(() => floats.forward(x(Infinity))).toThrow(expect.objectContaining({ code: "NUMERICS" }));
    const layer = new Linear(8, 8);
    layer.weight.assign(layer.weight.value.mul(0).add(1));
    const deep = pack(
      freeze(
        prepare(new Sequential(layer, new Linear(8, 4)), plan({ rules: [["1.weight", int8Dynamic()]] })),
      ),
    );
    expect(() => deep.forward(x(3e38, 3e38))).toThrow(/^linear: every input must be finite, got Infinity/);
    expect(() => linear().forward(x(1, -Infinity))).toThrow(/got -Infinity at index 1/);
    expect(() => linear().forward(x(1, -Infinity))).toThrow(expect.objectContaining({ code: "NUMERICS" }));
    expect(() => pack(static8)).toThrow(/call freeze first/);
  });

  it("shapes that do not fit are errors", () => {
    expect(() => linear().forward({ data: new Float32Array(7), shape: [1, 7] })).toThrow(
      /must end in 8 features, got \(1, 7\)/,
    );
    expect(() => linear().forward({ data: new Float32Array(7), shape: [1, 8] })).toThrow(
      /needs { data, shape } of float32/,
    );
    expect(() => linear().forward(null as never)).toThrow(/needs { data, shape } of float32, got null$/);
    expect(() => linear().forward([1, 2] as never)).toThrow(/of float32, got \(1, 2\)$/);
    expect(() => linear().generate([1], { maxTokens: 1 })).toThrow(/needs a language model, got "linear"/);
    const model = packed();
    expect(() => model.forward({ data: [20], shape: [1, 1] })).toThrow(/ids lie in 0 … 19, got 20/);
    expect(() => model.forward({ data: Array(9).fill(1), shape: [1, 9] })).toThrow(
      /the context holds 8 positions, got 9/,
    );
    expect(() => model.forward({ data: [1, 2], shape: [2] })).toThrow(/ids must be \(B, T\)/);
    const conv = pack(freeze(prepare(new Conv2d(2, 4, 3), plan({ default: int8Dynamic() }))));
    expect(() => conv.forward({ data: new Float32Array(18), shape: [1, 2, 3, 3, 1] })).toThrow(
      /needs \(N, 2, H, W\)/,
    );
    expect(() => conv.forward({ data: new Float32Array(8), shape: [1, 2, 2, 2] })).toThrow(
      /the kernel must fit/,
    );
  });

  it("sums that could leave int32 are an error", () => {
    const weight = (columns: number) =>
      PackedWeight.ofCodes({
        rows: 1,
        columns,
        bits: 8,
        signed: true,
        codes: new Uint8Array(columns),
        scale: Float32Array.of(1),
        group: null,
        scaleType: "float32",
        codebook: null,
      });
    const input = { kind: "static", scale: 1, zeroPoint: 0, least: 0, most: 255 } as const;
    expect(() => new PackedLinear({ weight: weight(65_793), bias: null, input })).not.toThrow();
    expect(() => new PackedLinear({ weight: weight(65_794), bias: null, input })).toThrow(
      /sums of products must fit int32, got 65794/,
    );
  });

  it("a model gives back its heap and runs again", () => {
    const model = linear();
    const first = model.forward(x(3));
    model.dispose();
    model.dispose();
    expect(model.forward(x(3))).toEqual(first);
  });

  it("a quantized weight-only layer is within rounding of its float twin", () => {
    for (const quantized of [int8WeightOnly(), nf4WeightOnly({ group: 8 })]) {
      const layer = freeze(prepare(new Linear(64, 9, { rng: new Rng(4) }), plan({ default: quantized })));
      const data = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i));
      const want = layer.forward(tensor(data, { shape: [3, 64] })).data.slice();
      const got = pack(layer).forward({ data, shape: [3, 64] }).data;
      const size = layer.weight.effective().abs().max().item();
      got.forEach((v, i) => {
        expect(Math.abs(v - want[i])).toBeLessThanOrEqual(66 * 2 ** -24 * 64 * (size + 1));
      });
    }
  });
});
