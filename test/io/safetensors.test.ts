import { BitgradError, type DType, DTypeError, FormatError, OptionError, type Tensor, tensor } from "bitgrad";
import { readSafetensors, writeSafetensors } from "bitgrad/io";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newArray } from "../../src/dtype.ts";
import { wrap } from "../../src/tensor.ts";

/** A file of this header text, whole or as JSON, and these data bytes. */
function fileOf(header: unknown, data: ArrayLike<number> = []): Uint8Array {
  const json =
    header instanceof Uint8Array
      ? header
      : new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setUint32(0, json.length, true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

const entry = (dtype: string, shape: unknown, from: unknown, to: unknown) => ({
  dtype,
  shape,
  data_offsets: [from, to],
});

const dtypes: DType[] = ["float32", "float64", "int32", "uint32", "int8", "uint8", "bool"];

/** A tensor of any dtype and shape, scalars and empty ones included, with any bits (bool: 0 or 1). */
const anyTensor = fc
  .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(4), { maxLength: 4 }) })
  .chain(({ dtype, shape }) => {
    const size = shape.reduce((product, n) => product * n, 1);
    const probe = newArray(dtype, size);
    return fc.uint8Array({ minLength: probe.byteLength, maxLength: probe.byteLength }).map((bits) => {
      const bytes = dtype === "bool" ? bits.map((bit) => bit & 1) : bits;
      new Uint8Array(probe.buffer).set(bytes);
      return wrap(probe, shape, dtype) as Tensor;
    });
  });

const names = fc
  .string({ unit: "grapheme" })
  .filter((name) => name !== "__proto__" && name !== "__metadata__");
const anyTensors = fc.dictionary(names, anyTensor, { maxKeys: 5 });
const anyMetadata = fc.dictionary(names, fc.string({ unit: "grapheme" }), { maxKeys: 3 });

const bitsOf = ({ shape, dtype, data }: Tensor) => ({
  shape: [...shape],
  dtype,
  bits: Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
});
const allBits = (tensors: Record<string, Tensor>) =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, bitsOf(value)]));

describe("writeSafetensors and readSafetensors", () => {
  it("give every tensor back bit by bit, and the metadata", () => {
    fc.assert(
      fc.property(anyTensors, anyMetadata, (tensors, metadata) => {
        const read = readSafetensors(writeSafetensors(tensors, { metadata }));
        expect(allBits(read.tensors)).toEqual(allBits(tensors));
        expect({ ...read.metadata }).toEqual({ ...metadata });
      }),
    );
  });

  it("read at any alignment, from an ArrayBuffer and from a Node Buffer", () => {
    fc.assert(
      fc.property(anyTensors, fc.nat(7), (tensors, shift) => {
        const bytes = writeSafetensors(tensors);
        const shifted = new Uint8Array(bytes.length + shift);
        shifted.set(bytes, shift);
        expect(allBits(readSafetensors(shifted.subarray(shift)).tensors)).toEqual(allBits(tensors));
        expect(allBits(readSafetensors(Buffer.from(shifted.buffer, shift)).tensors)).toEqual(
          allBits(tensors),
        );
        expect(allBits(readSafetensors(bytes.slice().buffer).tensors)).toEqual(allBits(tensors));
      }),
      { numRuns: 30 },
    );
  });

  it("write the same bytes whatever the order of the names", () => {
    const [a, b] = [tensor([1, 2]), tensor(Int8Array.of(3))];
    expect(writeSafetensors({ a, b })).toEqual(writeSafetensors({ b, a }));
  });

  it("store every tensor aligned, so that reading copies nothing", () => {
    const bytes = writeSafetensors({
      a: tensor(Int8Array.of(1)),
      b: tensor([1, 2, 3]),
      c: tensor([1], { dtype: "float64" }),
    });
    for (const { data } of Object.values(readSafetensors(bytes).tensors))
      expect(data.buffer).toBe(bytes.buffer);
  });

  it("store tensors of one memory once and give them back as one", () => {
    const shared = tensor(
      Float32Array.from({ length: 1000 }, (_, i) => i),
      { shape: [10, 100] },
    );
    const bytes = writeSafetensors(
      { head: shared, embedding: shared.detach(), other: tensor([1]) },
      { metadata: { by: "me" } },
    );
    expect(bytes.length).toBeLessThan(4500);
    const { tensors, metadata } = readSafetensors(bytes);
    expect(Object.keys(tensors).sort()).toEqual(["embedding", "head", "other"]);
    expect(tensors.head).toBe(tensors.embedding);
    expect({ ...metadata }).toEqual({ by: "me" });
  });

  it("write a known file byte for byte", () => {
    const bytes = writeSafetensors({ w: tensor([[1, -2]]) }, { metadata: { format: "pt" } });
    const json = '{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}';
    const header = json.padEnd(Math.ceil(json.length / 8) * 8);
    expect(bytes).toEqual(fileOf(header, [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]));
  });
});

describe("element types that tensors do not have", () => {
  const read = (dtype: string, data: number[], count: number, options = {}) =>
    readSafetensors(fileOf({ x: entry(dtype, [count], 0, data.length) }, data), options).tensors.x;

  it("widen float16 and bfloat16 on request alone", () => {
    expect(read("F16", [0, 0x3c, 1, 0], 2, { widen: true }).toArray()).toEqual([1, 2 ** -24]);
    expect(read("BF16", [0x80, 0x3f, 0x80, 0xff], 2, { widen: true }).toArray()).toEqual([1, -Infinity]);
    expect(() => read("F16", [0, 0x3c], 1)).toThrow(DTypeError);
    expect(() => read("BF16", [0, 0x3c], 1)).toThrow(
      'bfloat16 is not a dtype, got it for "x"; pass { widen: true }',
    );
  });

  it("widen 16-bit integers", () => {
    expect(read("I16", [0xff, 0xff, 0, 1], 2)).toMatchObject({ dtype: "int32" });
    expect(read("I16", [0xff, 0xff, 0, 1], 2).toArray()).toEqual([-1, 256]);
    expect(read("U16", [0xff, 0xff], 1)).toMatchObject({ dtype: "uint32" });
    expect(read("U16", [0xff, 0xff], 1).toArray()).toEqual([65535]);
  });

  it("narrow 64-bit integers that fit, and make them float64 on request", () => {
    const minusTwo = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    const big = [0, 0, 0, 0, 1, 0, 0, 0];
    expect(read("I64", minusTwo, 1)).toMatchObject({ dtype: "int32" });
    expect(read("I64", minusTwo, 1).toArray()).toEqual([-2]);
    expect(read("U64", [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], 1).toArray()).toEqual([2 ** 32 - 1]);
    expect(() => read("I64", big, 1)).toThrow(
      'a 64-bit integer does not fit int32, got about 4294967296 in "x"; pass { int64: "float64" }',
    );
    expect(read("I64", big, 1, { int64: "float64" })).toMatchObject({ dtype: "float64" });
    expect(read("I64", [...minusTwo, ...big], 2, { int64: "float64" }).toArray()).toEqual([-2, 2 ** 32]);
    expect(() => read("U64", minusTwo, 1, { int64: "float64" })).toThrow(DTypeError);
  });

  it("write floats as float16 or bfloat16, rounded half to even, and leave integers", () => {
    const tensors = {
      f: tensor([1 + 2 ** -11, -0.1]),
      d: tensor([0.1], { dtype: "float64" }),
      i: tensor(Int32Array.of(70000)),
    };
    const half = readSafetensors(writeSafetensors(tensors, { dtype: "float16" }), { widen: true }).tensors;
    expect(half.f.toArray()).toEqual([1, -0.0999755859375]);
    expect(half.i.toArray()).toEqual([70000]);
    const brain = readSafetensors(writeSafetensors(tensors, { dtype: "bfloat16" }), { widen: true }).tensors;
    expect(brain.f.toArray()).toEqual([1, -0.10009765625]);
    expect(readSafetensors(writeSafetensors(tensors, { dtype: "float32" })).tensors.d.toArray()).toEqual([
      Math.fround(0.1),
    ]);
  });

  it("refuse to write a finite number as infinity", () => {
    expect(() => writeSafetensors({ x: tensor([1, 1e6]) }, { dtype: "float16" })).toThrow(
      'a value is beyond the range of F16, got 1000000 at index 1 of "x"',
    );
    expect(() => writeSafetensors({ x: tensor(-1e39, { dtype: "float64" }) }, { dtype: "float32" })).toThrow(
      DTypeError,
    );
    expect(
      readSafetensors(writeSafetensors({ x: tensor([-Infinity]) }, { dtype: "float16" }), {
        widen: true,
      }).tensors.x.toArray(),
    ).toEqual([-Infinity]);
  });
});

describe("hostile files", () => {
  const four = [0, 0, 0, 0];
  const huge = new Uint8Array(16);
  new DataView(huge.buffer).setBigUint64(0, 2n ** 60n, true);
  const deep = "[".repeat(200_000) + "]".repeat(200_000);

  it.each<[string, Uint8Array, string]>([
    ["no bytes", new Uint8Array(0), "too short for a header, got 0 bytes"],
    ["seven bytes", new Uint8Array(7), "too short"],
    ["a header longer than the file", huge, "the header does not fit, got a length of 11529215046068"],
    ["a header one byte too long", fileOf("{}").subarray(0, 9), "the header does not fit"],
    ["an empty header", new Uint8Array(8), "not valid JSON"],
    ["a header that is not UTF-8", fileOf(Uint8Array.of(0x7b, 0xff, 0x7d)), "not UTF-8"],
    ["a header that is not JSON", fileOf("{'a': 1}"), "not valid JSON"],
    ["a header that is a list", fileOf("[]"), "must be an object"],
    ["a header nested deeply", fileOf(`{"a": ${deep}}`), "nested too deeply"],
    ["a list nested deeply", fileOf(deep), "nested too deeply"],
    [
      "a name twice",
      fileOf(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      'a key stands twice in the JSON, got "a"',
    ],
    [
      "a name twice, once escaped",
      fileOf(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      "a key stands twice",
    ],
    [
      "a field twice",
      fileOf('{"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}'),
      'got "shape"',
    ],
    [
      "the name __proto__",
      fileOf('{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
      "a reserved key",
    ],
    ["metadata of a wrong type", fileOf({ __metadata__: ["a"] }), "__metadata__ must be an object"],
    ["metadata that is no text", fileOf({ __metadata__: { a: 1 } }), 'metadata must be text, got 1 for "a"'],
    ["metadata with __proto__", fileOf('{"__metadata__":{"__proto__":"a"}}'), "a reserved key"],
    ["an entry that is null", fileOf({ a: null }), 'entry must be an object, got null for "a"'],
    ["an entry without fields", fileOf({ a: {} }), "unknown dtype, got undefined"],
    ["an unknown field", fileOf({ a: { ...entry("U8", [0], 0, 0), more: 1 } }), 'unknown field, got "more"'],
    ["an unknown dtype", fileOf({ a: entry("F8_E8M0", [0], 0, 0) }), 'unknown dtype, got "F8_E8M0"'],
    ["a dtype named like a method", fileOf({ a: entry("constructor", [0], 0, 0) }), "unknown dtype"],
    [
      "a shape that is no list",
      fileOf({ a: entry("U8", 4, 0, 4) }, four),
      "a shape must be at most 64 integers",
    ],
    ["a negative size", fileOf({ a: entry("U8", [-4], 0, 4) }, four), "got (-4)"],
    ["sizes whose signs cancel", fileOf({ a: entry("U8", [-2, -2], 0, 4) }, four), "got (-2, -2)"],
    ["a fractional size", fileOf({ a: entry("U8", [0.5, 8], 0, 4) }, four), "got (0.5, 8)"],
    ["a size of 2^60", fileOf({ a: entry("F32", [2 ** 60], 0, 4) }, four), "integers of at least 0"],
    [
      "sizes whose product is 2^60",
      fileOf({ a: entry("U8", [2 ** 30, 2 ** 30], 0, 4) }, four),
      "too many elements",
    ],
    [
      "a product that a zero would hide",
      fileOf({ a: entry("U8", [2 ** 30, 2 ** 30, 0], 0, 0) }),
      "too many elements",
    ],
    ["more than 64 axes", fileOf({ a: entry("U8", new Array(65).fill(1), 0, 1) }, [0]), "at most 64"],
    ["a size that is NaN", fileOf('{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,0]}}'), "got (null)"],
    [
      "offsets that are not two",
      fileOf('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}}'),
      "two integers in order",
    ],
    ["offsets that are fractions", fileOf({ a: entry("U8", [4], 0.5, 4.5) }, four), "got (0.5, 4.5)"],
    ["offsets that are text", fileOf({ a: entry("U8", [4], "0", "4") }, four), 'got ("0", "4")'],
    ["negative offsets", fileOf({ a: entry("U8", [4], -4, 0) }, four), "got (-4, 0)"],
    ["offsets in reverse", fileOf({ a: entry("U8", [4], 4, 0) }, four), "got (4, 0)"],
    [
      "a length that is not the shape's",
      fileOf({ a: entry("F32", [2], 0, 4) }, four),
      "F32 (2) takes 8 bytes, got 4",
    ],
    ["tensors beyond the file", fileOf({ a: entry("U8", [8], 0, 8) }, four), "got 8 bytes of tensors in 4"],
    ["bytes at the end", fileOf({ a: entry("U8", [2], 0, 2) }, four), "got 2 bytes of tensors in 4"],
    [
      "overlapping tensors",
      fileOf({ a: entry("U8", [3], 0, 3), b: entry("U8", [2], 2, 4) }, four),
      'tensors overlap, got offset 2 for "b" where 3',
    ],
    [
      "a gap",
      fileOf({ a: entry("U8", [1], 0, 1), b: entry("U8", [2], 2, 4) }, four),
      "bytes belong to no tensor",
    ],
    [
      "a bool of 2",
      fileOf({ a: entry("BOOL", [4], 0, 4) }, [0, 1, 2, 0]),
      'a bool must be 0 or 1, got 2 at index 2 of "a"',
    ],
    [
      "a tie to nothing",
      fileOf({ __metadata__: { "bitgrad.tied": '{"a":"b"}' } }),
      'a tied name must stand for a tensor of the file, got "b"',
    ],
    [
      "a tie that hides a tensor",
      fileOf({ __metadata__: { "bitgrad.tied": '{"a":"a"}' }, a: entry("U8", [4], 0, 4) }, four),
      "a tied name",
    ],
    ["ties that are not JSON", fileOf({ __metadata__: { "bitgrad.tied": "[" } }), "not valid JSON"],
  ])("with %s are a FormatError", (_, bytes, message) => {
    expect(() => readSafetensors(bytes)).toThrow(FormatError);
    expect(() => readSafetensors(bytes)).toThrow(message);
  });

  const valid = writeSafetensors(
    {
      weight: tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      mask: tensor([true, false, true]),
      "a.b.c": tensor(Int32Array.of(1, 2)),
      scalar: tensor(3, { dtype: "float64" }),
      none: tensor(new Uint8Array(0)),
    },
    { metadata: { note: "text" } },
  );

  it("with bytes changed anywhere are read or are a typed error, and never make more than they hold", () => {
    const change = fc.tuple(fc.nat(valid.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const damaged = valid.slice();
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          let bytes = 0;
          const options = { widen: true, int64: "float64" } as const;
          for (const value of Object.values(readSafetensors(damaged, options).tensors))
            bytes += value.data.byteLength;
          expect(bytes).toBeLessThanOrEqual(2 * valid.length);
        } catch (error) {
          expect(error).toBeInstanceOf(BitgradError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("cut anywhere are a FormatError", () => {
    for (let length = 0; length < valid.length; length++) {
      expect(() => readSafetensors(valid.subarray(0, length))).toThrow(FormatError);
    }
  });

  it("with a header of arbitrary JSON are read or are a typed error", () => {
    const field = fc.oneof(fc.jsonValue(), fc.constantFrom("F32", "U8", "I64"), fc.array(fc.integer()));
    const header = fc.dictionary(
      fc.string(),
      fc.record({ dtype: field, shape: field, data_offsets: field }, { requiredKeys: [] }),
    );
    fc.assert(
      fc.property(fc.oneof(header, fc.jsonValue()), fc.uint8Array({ maxLength: 8 }), (json, bytes) => {
        try {
          readSafetensors(fileOf(JSON.stringify(json), bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(BitgradError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("arguments", () => {
  it("that are wrong are named", () => {
    expect(() => readSafetensors("model.safetensors" as never)).toThrow(
      "expected a Uint8Array or an ArrayBuffer",
    );
    expect(() => readSafetensors(fileOf("{}"), { int64: "bigint" as never })).toThrow(
      'int64 must be int32 or float64, got "bigint"',
    );
    expect(() => readSafetensors(fileOf("{}"), { wide: true } as never)).toThrow(
      'unknown option, got "wide"',
    );
    expect(() => writeSafetensors({ x: 1 as never })).toThrow('expected a tensor for "x", got 1');
    expect(() => writeSafetensors([] as never)).toThrow("expected tensors by name");
    expect(() => writeSafetensors({ __metadata__: tensor(1) })).toThrow("not a name that a file can hold");
    expect(() => writeSafetensors({ "a\ud800": tensor(1) })).toThrow(OptionError);
    expect(() => writeSafetensors({ x: tensor(1) }, { dtype: "int8" as never })).toThrow('got "int8"');
    expect(() => writeSafetensors({ x: tensor(1) }, { metadata: { a: 1 } as never })).toThrow(
      "metadata must be text by name",
    );
    expect(() => writeSafetensors({ x: tensor(1) }, { metadata: { "bitgrad.tied": "{}" } })).toThrow(
      "a reserved name",
    );
  });
});
