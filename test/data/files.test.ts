import { gzipSync } from "node:zlib";
import { BitgradError, FormatError } from "bitgrad";
import { csv, idx, parseCsv, text } from "bitgrad/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/** An IDX file of the given type, sizes and bytes. */
const idxFile = (type: number, sizes: readonly number[], data: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(4 + 4 * sizes.length + data.length);
  bytes.set([0, 0, type, sizes.length]);
  sizes.forEach((size, i) => {
    new DataView(bytes.buffer).setUint32(4 + 4 * i, size);
  });
  bytes.set(data, 4 + 4 * sizes.length);
  return bytes;
};

describe("idx", () => {
  it.each([
    ["uint8", 8, [0, 255], [0, 255]],
    ["int8", 9, [1, 255], [1, -1]],
    ["int32", 11, [0xff, 0xfe, 1, 0], [-2, 256]],
    ["int32", 12, [0xff, 0xff, 0xff, 0xfd, 0, 0, 1, 0], [-3, 256]],
    ["float32", 13, [0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0], [1, -2]],
    ["float64", 14, [0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0], [1, -2]],
  ])("reads %s of type %i, big-endian", async (dtype, type, bytes, values) => {
    const read = await idx(idxFile(type, [2, 1], bytes));
    expect(read.dtype).toBe(dtype);
    expect(read.shape).toEqual([2, 1]);
    expect(Array.from(read.data)).toEqual(values);
  });

  it("unpacks gzip", async () => {
    const read = await idx(gzipSync(idxFile(8, [3], [1, 2, 3])));
    expect(Array.from(read.data)).toEqual([1, 2, 3]);
  });

  it("refuses what breaks the format", async () => {
    const good = idxFile(8, [2, 2], [1, 2, 3, 4]);
    const cases: [Uint8Array, string][] = [
      [new Uint8Array(0), "not an IDX header"],
      [Uint8Array.of(0, 0, 7, 1, 0, 0, 0, 0), "got bytes 0 0 7 1"],
      [Uint8Array.of(1, 0, 8, 1, 0, 0, 0, 0), "not an IDX header"],
      [Uint8Array.of(0, 0, 8, 255, 1), "the header is cut, got 5 bytes for 255 axes"],
      [good.subarray(0, 15), "header and length disagree, got shape (2, 2)"],
      [Uint8Array.of(...good, 0), "header and length disagree"],
      [idxFile(8, [0xffffffff, 0xffffffff, 0xffffffff], []), "header and length disagree"],
      [gzipSync(good).subarray(0, 20), "corrupt gzip"],
    ];
    for (const [bytes, message] of cases) {
      const failure = await idx(bytes).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(FormatError);
      expect((failure as Error).message).toContain(message);
    }
  });

  it("stops unpacking at the limit instead of filling the memory", async () => {
    const bomb = gzipSync(new Uint8Array(5_000_000));
    await expect(idx(bomb, { maxBytes: 1000 })).rejects.toThrow(
      "idx: there are too many bytes, got more than 1000",
    );
  });

  it("meets damaged files with typed errors alone", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async (bytes) => {
        const failure = await idx(bytes).then(
          () => null,
          (error: unknown) => error,
        );
        if (failure !== null) expect(failure).toBeInstanceOf(BitgradError);
      }),
    );
  });
});

describe("csv", () => {
  it("reads quoted fields with delimiters, line ends and doubled quotes", () => {
    expect(parseCsv('a,"b,1"\r\n"c ""d""","e\nf"\n')).toEqual([
      ["a", "b,1"],
      ['c "d"', "e\nf"],
    ]);
  });

  it("keeps empty fields and takes a last line without an end", () => {
    expect(parseCsv("")).toEqual([]);
    expect(parseCsv("a,,\n,")).toEqual([
      ["a", "", ""],
      ["", ""],
    ]);
    expect(parseCsv('""')).toEqual([[""]]);
  });

  it("reads back whatever is written with every field quoted", () => {
    const rows = fc.array(fc.array(fc.string(), { minLength: 1, maxLength: 4 }), { maxLength: 5 });
    fc.assert(
      fc.property(rows, (table) => {
        const written = table
          .map((row) => `${row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",")}\n`)
          .join("");
        expect(parseCsv(written)).toEqual(table);
      }),
    );
  });

  it("makes columns: tensors where a type is given, text elsewhere", () => {
    const table = csv("\uFEFFname,age,score\nAda,36,1.5\nAlan,41,-2e3\n", {
      types: { age: "int32", score: "float64" },
    });
    expect(table.name).toEqual(["Ada", "Alan"]);
    expect(table.age).toMatchObject({ dtype: "int32", shape: [2] });
    expect(Array.from((table.score as { data: Float64Array }).data)).toEqual([1.5, -2000]);
  });

  it("selects columns by a header and names them without one", () => {
    expect(csv("a,b\n1,2\n", { columns: ["b"] })).toEqual({ b: ["2"] });
    expect(csv("1;2\n", { header: false, delimiter: ";", columns: ["p", "q"] })).toEqual({
      p: ["1"],
      q: ["2"],
    });
    expect(csv("1,2\n", { header: false })).toEqual({ 0: ["1"], 1: ["2"] });
    expect(csv("it's\t\"so\n", { header: false, delimiter: "\t", quote: "" })).toEqual({
      0: ["it's"],
      1: ['"so'],
    });
  });

  it("says where a file is wrong", () => {
    expect(() => parseCsv('a\n"b')).toThrow("csv: a quote is never closed, got line 2");
    expect(() => parseCsv('a,b"c')).toThrow('a quote stands inside an unquoted field, got "b\\"c" on line 1');
    expect(() => parseCsv('"a\n"b,c')).toThrow('text follows a closing quote, got "b,c" on line 2');
    expect(() => csv("a,b\n1\n")).toThrow("got 1 fields for 2 columns in record 2");
    expect(() => csv("a,a\n")).toThrow("a column name stands twice");
    expect(() => csv("a\n1\n", { columns: ["b"] })).toThrow('no such column, got "b"; the columns are ("a")');
    expect(() => csv("a\n1\n\u0020\n", { types: { a: "float32" } })).toThrow(
      'not a number in column "a", got " " in data row 2',
    );
    expect(() => csv("a\n0x10\n", { types: { a: "float32" } })).toThrow('got "0x10"');
    expect(() => csv("a\n1.5\n", { types: { a: "int32" } })).toThrow("int32 cannot hold the value, got 1.5");
    expect(() => csv(Uint8Array.of(0xff))).toThrow("csv: the bytes are not UTF-8");
    expect(() => parseCsv("", { delimiter: ",," })).toThrow("the delimiter must be one character");
  });
});

describe("text", () => {
  it("decodes UTF-8 strictly and ISO 8859-1 byte by byte", async () => {
    expect(await text(new TextEncoder().encode("\uFEFFnaïve"))).toBe("naïve");
    expect(await text(Uint8Array.of(0x61, 0xe9, 0x85), { encoding: "latin1" })).toBe("a\u00e9\u0085");
    await expect(text(Uint8Array.of(0xc3))).rejects.toThrow("text: the bytes are not UTF-8");
  });

  it("reads a file by its path and names one that is not there", async () => {
    expect(await text("package.json")).toContain('"name": "bitgrad"');
    await expect(text("no-such-file.txt")).rejects.toThrow(
      'text: there is no such file, got "no-such-file.txt"',
    );
  });
});
