import { Rng } from "bitgrad";
import { load, readSafetensors } from "bitgrad/io";
import { Linear, Sequential } from "bitgrad/nn";
import { loadPacked, PackedModel } from "bitgrad/packed";
import { binaryDynamic, freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { isExact } from "../fuzz/check.ts";
import { composed, description, digitsAt, edited, joined, joinedText, taken } from "../fuzz/parts.ts";
import { storedFiles } from "../fuzz/stored.ts";
import { bits } from "./twins.ts";

describe.each([1, 2, 3, 4])("a file of version %i still loads and runs to the same numbers", (version) => {
  it.each(storedFiles(version))("$name", ({ bytes, input, told, output }) => {
    expect((description(bytes) as { version: unknown }).version).toBe(version);
    const model = loadPacked(bytes);
    const { data, shape } = model.forward(input, told);
    expect(shape).toEqual(output.shape);
    // Products of codes are exact; those of floats are summed in the order of the kernel that runs.
    if (isExact(model.root)) expect(bits({ data })).toEqual(bits(output));
    else data.forEach((v, i) => void expect(Math.abs(v - output.data[i])).toBeLessThan(1e-5));
    const written = model.toBytes();
    expect((description(written) as { version: unknown }).version).toBe(4);
    expect(bits(loadPacked(written).forward(input, told))).toEqual(bits({ data }));
    expect(loadPacked(written).toBytes()).toEqual(written);
    if (version === 4) expect(written).toEqual(bytes);
    else expect(written.length).toBeLessThan(bytes.length);
  });
});

const refused = (bytes: Uint8Array, message: RegExp): void => {
  expect(() => loadPacked(bytes)).toThrow(message);
  expect(() => loadPacked(bytes)).toThrow(expect.objectContaining({ code: "FORMAT" }));
};

const frozen = (model: object, config = binaryDynamic()): Uint8Array =>
  pack(freeze(prepare(model, plan({ default: config })))).toBytes();

describe("the checksum of a file", () => {
  const bytes = frozen(new Linear(9, 5, { rng: new Rng(1) }));

  it("is the CRC-32 of all its bytes, its own eight digits taken as 0", () => {
    const covered = Buffer.from(bytes);
    covered.write("00000000", digitsAt);
    let crc = ~0;
    for (const byte of covered) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    const digits = (~crc >>> 0).toString(16).padStart(8, "0");
    expect(Buffer.from(bytes).toString("latin1", digitsAt, digitsAt + 8)).toBe(digits);
    expect(readSafetensors(bytes, { widen: true }).metadata["bitgrad.crc32"]).toBe(digits);
  });

  it("finds every bit that is not what was written", () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = bytes.slice();
      changed[bit >> 3] ^= 1 << (bit & 7);
      expect(() => loadPacked(changed), `bit ${bit}`).toThrow(expect.objectContaining({ code: "FORMAT" }));
    }
  });

  it("finds two sizes exchanged", () => {
    const pair = frozen(new Sequential(new Linear(4, 8), new Linear(8, 4)), int8Dynamic());
    const text = Buffer.from(pair).toString("latin1");
    const swapped = Buffer.from(
      text.replace("'columns':4", "'columns':x").replace("'columns':8", "'columns':4").replace("x", "8"),
      "latin1",
    );
    refused(swapped, /the file is damaged: its CRC-32 is [0-9a-f]{8}, got "[0-9a-f]{8}"/);
  });

  it("may not be missing, or elsewhere than where readers look for it", () => {
    const renamed = Buffer.from(bytes);
    renamed.write("bitgrad.crc33", renamed.indexOf("bitgrad.crc32"));
    refused(renamed, /the file is damaged: its CRC-32 is missing at its place, got undefined in its header/);
    const { notes, entries, body } = taken(bytes);
    const { "bitgrad.packed": description, "bitgrad.crc32": sum } = notes;
    const moved = { "bitgrad.packed": description, "bitgrad.crc32": sum };
    refused(
      joinedText(JSON.stringify({ __metadata__: moved, ...entries }), body),
      /its CRC-32 is missing at its place, got "[0-9a-f]{8}"/,
    );
  });

  it("may be missing in version 1: other programs wrote none", () => {
    const { notes, entries, body } = taken(storedFiles(1)[0].bytes);
    const { "bitgrad.crc32": sum, ...rest } = notes;
    refused(
      joinedText(
        JSON.stringify({ __metadata__: { ...rest, "bitgrad.crc32": "00000000" }, ...entries }),
        body,
      ),
      new RegExp(`its CRC-32 is ${sum}, got "00000000"`),
    );
    const bare = joinedText(JSON.stringify({ __metadata__: rest, ...entries }), body);
    expect(loadPacked(bare)).toBeInstanceOf(PackedModel);
  });

  it("and the description tell load of a packed model", async () => {
    await expect(load(bytes)).rejects.toThrow(
      /load: needs tensors, got a packed model; read it by loadPacked of bitgrad\/packed, or its tensors with { widen: true }/,
    );
    await expect(load(bytes)).rejects.toThrow(expect.objectContaining({ code: "FORMAT" }));
    expect(Object.keys((await load(bytes, { widen: true })).tensors)).toEqual([
      "float32",
      "float16",
      "codes",
    ]);
  });
});

describe("two descriptions of one tensor are refused in files that name their tensors", () => {
  const weight = { rows: 4, columns: 4, bits: 8, signed: true, group: null, codebook: null };
  const layer = (path: string) => ({
    kind: "linear",
    weight: { weight: `${path}.weight`, ...weight },
    bias: { tensor: `${path}.bias` },
    input: { kind: "dynamic", bits: 8 },
  });
  const steps = ["steps.0", "steps.1"];
  const shared = composed(
    { kind: "sequential", steps: steps.map(layer) },
    Object.fromEntries(
      steps.flatMap((path) => [
        [`${path}.bias`, { data: new Float32Array(4), shape: [4] }],
        [`${path}.weight.scale`, { data: new Float32Array(4), shape: [4] }],
        [`${path}.weight.codes`, { data: new Uint8Array(16), shape: [4, 4] }],
      ]),
    ),
  );
  /** The second layer is told to take the weight of the first, and to say this of it besides. */
  const told = (change: object): Uint8Array =>
    edited(shared, (d: { model: { steps: { weight: object; bias: object }[] } }) => {
      const [first, second] = d.model.steps;
      return {
        ...d,
        model: { ...d.model, steps: [first, { ...second, weight: { ...first.weight, ...change } }] },
      };
    });

  it("not where both say the same", () => {
    const { root } = loadPacked(told({})) as unknown as { root: { steps: { weight: unknown }[] } };
    expect(root.steps[1].weight).toBe(root.steps[0].weight);
  });

  it.each([
    ["another shape", { rows: 2, columns: 8 }],
    ["another width", { bits: 4, columns: 8 }],
    ["a codebook", { signed: false, codebook: Array.from({ length: 256 }, (_, i) => i) }],
    ["no sign", { signed: false }],
    ["a group", { group: 4 }],
  ])("%s", (_, change) =>
    refused(told(change), /two descriptions of one tensor, got .* for "steps.0.weight.codes"/),
  );

  it("one of them in the table of tensors", () => {
    const parts = taken(shared);
    const { "steps.0.weight.codes": codes, "steps.0.bias": bias } = parts.entries;
    codes.shape = [2, 8];
    refused(
      joined(parts),
      /two descriptions of one tensor, got \(2, 8\) and \(4, 4\) for "steps.0.weight.codes"/,
    );
    codes.shape = [4, 4];
    bias.shape = [4, 1];
    refused(joined(parts), /two descriptions of one tensor, got \(4, 1\) and \(4\) for "steps.0.bias"/);
  });
});
