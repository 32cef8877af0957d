import { FormatError, OptionError, type Tensor, tensor, zeros } from "bitgrad";
import { load, readSafetensors, save, writeSafetensors } from "bitgrad/io";
import { describe, expect, it } from "vitest";
import { readJsonObject } from "../../src/safetensors/json.ts";

/** A file of this header and no numbers. */
function fileOf(header: string): Uint8Array {
  const file = new Uint8Array(8 + header.length);
  new DataView(file.buffer).setUint32(0, header.length, true);
  file.set(new TextEncoder().encode(header), 8);
  return file;
}
const empties = (count: number): string => {
  const entries = Array.from(
    { length: count },
    (_, i) => `"t${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`,
  );
  return `{${entries.join()}}`;
};
const tooMany = Array.from({ length: 2 ** 19 + 1 }, (_, i) => `"${i}":0`).join();

describe("a file of very many tensors", () => {
  it("is read up to a limit, and refused beyond it before anything is made of it", async () => {
    expect(Object.keys(readSafetensors(fileOf(empties(20_000))).tensors)).toHaveLength(20_000);
    expect(() => readSafetensors(fileOf(empties(200_000)))).toThrow(
      "readSafetensors: the JSON has too many keys, got more than 524288; use several files",
    );
    await expect(
      load(new TextEncoder().encode(`{"weight_map":{${tooMany}}}`), { shard: () => new Uint8Array() }),
    ).rejects.toThrow(FormatError);
    const tied = JSON.stringify(`{${tooMany}}`);
    expect(() => readSafetensors(fileOf(`{"__metadata__":{"bitgrad.tied":${tied}}}`))).toThrow(
      "too many keys",
    );
  });

  it("is not written where it would not be read", () => {
    const one = tensor([1]);
    const record = (count: number, name: (i: number) => string): Record<string, Tensor> =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [name(i), one]));
    expect(() => writeSafetensors(record(140_000, String))).toThrow(
      "writeSafetensors: too much for one file, got 140000 names; use saveSharded",
    );
    expect(() => writeSafetensors(record(1, () => "n".repeat(101e6)))).toThrow(OptionError);
    expect(() => writeSafetensors({ a: zeros(Array(65).fill(1)) })).toThrow(
      'writeSafetensors: a tensor of at most 64 axes is needed, got 65 for "a"',
    );
    expect(writeSafetensors({ a: zeros(Array(64).fill(1)) })).toBeInstanceOf(Uint8Array);
  });

  it("is written once however many shapes one memory has", async () => {
    const none = zeros([0]);
    const shapes = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i) => [`t${i}`, none.reshape([0, i + 1])]),
    );
    const { tensors } = await load(await save(null, shapes));
    expect(tensors.t9999.shape).toEqual([0, 10_000]);
  });
});

describe("an index", () => {
  it("is refused by its size before it is read", async () => {
    let asked = 0;
    const file = {
      stat: async () => ({ size: 2 ** 40 }),
      read: async (buffer: Uint8Array, offset: number, length: number) => {
        asked = Math.max(asked, length);
        buffer.fill(0x7b, offset, offset + length);
        return { bytesRead: length };
      },
    };
    await expect(load(file)).rejects.toThrow("load: the index is too long, got 1099511627776 bytes");
    expect(asked).toBe(8);
  });
});

describe("JSON of files", () => {
  const read = (text: string) => readJsonObject("test", new TextEncoder().encode(text));

  it("keeps keys apart by the object they are in", () => {
    expect(read('{"a":{"b":1,"c":{"b":2}},"b":[{"a":1},{"a":2}],"\\u0063":"}\\"{","d":{}}')).toEqual({
      a: { b: 1, c: { b: 2 } },
      b: [{ a: 1 }, { a: 2 }],
      c: '}"{',
      d: {},
    });
    for (const twice of ['{"a":1,"a":2}', '{"a":{},"\\u0061":1}', '{"x":[{"a":1,"a":1}]}', '{"":1,"":2}'])
      expect(() => read(twice)).toThrow("test: a key stands twice");
  });

  it.each(["{", '{"a', '{"a"', '{"a":}', '{} "a"', '{}{"a":1}', ",", "]}", '{"\\', '{"\\x":1}', ""])(
    "refuses %j",
    (text) => {
      expect(() => read(text)).toThrow("test: not valid JSON");
    },
  );
});
