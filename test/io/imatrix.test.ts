/** Importance matrices in files: the bytes of llama.cpp, what is added, and what is refused. */

import { createHash } from "node:crypto";
import { BitgradError, FormatError, OptionError, Rng, randn, tensor } from "bitgrad";
import { type ColumnImportance, mergeImportance, readImatrix, writeImatrix } from "bitgrad/io";
import { Linear, Sequential, statistics } from "bitgrad/nn";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const importanceOf = (
  entries: Record<string, [rows: number, sums: number[]]>,
): Map<string, ColumnImportance> =>
  new Map(
    Object.entries(entries).map(([name, [rows, sums]]) => [
      name,
      { rows, sumOfSquares: tensor(sums, { dtype: "float64" }) },
    ]),
  );
const plain = (importance: ReadonlyMap<string, ColumnImportance>) =>
  Object.fromEntries(
    [...importance].map(([name, { rows, sumOfSquares }]) => [name, [rows, Array.from(sumOfSquares.data)]]),
  );
const one = importanceOf({ "blk.0.attn_q.weight": [2, [10, 0, 8, 2]] });
const golden = () => writeImatrix(one, { datasets: ["c"], chunkCount: 1, chunkSize: 2 });
const dat = () => writeImatrix(one, { format: "dat", datasets: ["c"], chunkCount: 1 });

/** Little-endian words and texts with their length, the parts of a .dat file. */
function datOf(...parts: (number | string | number[])[]): Uint8Array {
  const bytes: Buffer[] = [];
  const word = (value: number): void => {
    const buffer = Buffer.alloc(4);
    buffer.writeInt32LE(value);
    bytes.push(buffer);
  };
  for (const part of parts) {
    if (typeof part === "number") word(part);
    else if (typeof part === "string") {
      word(part.length);
      bytes.push(Buffer.from(part));
    } else {
      word(part.length);
      bytes.push(Buffer.from(new Float32Array(part).buffer));
    }
  }
  return new Uint8Array(Buffer.concat(bytes));
}

it("writes the bytes of llama.cpp", () => {
  expect(golden()).toHaveLength(384);
  expect(createHash("sha256").update(golden()).digest("hex")).toBe(
    "054c92b576e895b21cda6481b4555cc6b2a0dc48888d344926a351aaf88bb34e",
  );
});

it("writes the .dat files from before GGUF", () => {
  expect(dat()).toEqual(datOf(1, "blk.0.attn_q.weight", 2, [10, 0, 8, 2], 1, "c"));
});

it.each([["gguf", golden, 2] as const, ["dat", dat, 0] as const])(
  "reads what a %s file holds",
  (_, make, size) => {
    const { importance, datasets, chunkCount, chunkSize } = readImatrix(make());
    expect(plain(importance)).toEqual({ "blk.0.attn_q.weight": [2, [10, 0, 8, 2]] });
    expect([datasets, chunkCount, chunkSize]).toEqual([["c"], 1, size]);
  },
);

it("reads a .dat file that ends behind its entries", () => {
  const { importance, datasets } = readImatrix(datOf(1, "a", 4, [1, 2]));
  expect([plain(importance), datasets]).toEqual([{ a: [4, [1, 2]] }, []]);
});

it("reads bytes that do not begin at a multiple of 4", () => {
  const moved = new Uint8Array([0, ...golden()]).subarray(1);
  expect(plain(readImatrix(moved).importance)).toEqual(plain(one));
});

it.each(["gguf", "dat"] as const)(
  "gives back what statistics found, in float32, by a %s file",
  async (format) => {
    const model = new Sequential(new Linear(5, 7), new Linear(7, 3));
    const found = await statistics(model, [randn([9, 5], { rng: new Rng(1) })], { keep: ["sumOfSquares"] });
    const { importance } = readImatrix(writeImatrix(found, { format }));
    for (const [path, { rows, sumOfSquares }] of found) {
      const read = importance.get(path)!;
      expect(read.rows).toBe(rows);
      expect(read.sumOfSquares.dtype).toBe("float64");
      expect(read.sumOfSquares.toArray()).toEqual(Array.from(Float32Array.from(sumOfSquares.data)));
    }
  },
);

it("sorts names, whatever the order of the map", () => {
  const [a, b] = [importanceOf({ a: [1, [1]], b: [2, [2]] }), importanceOf({ b: [2, [2]], a: [1, [1]] })];
  expect(writeImatrix(b)).toEqual(writeImatrix(a));
});

it("adds sums and rows of the same name, and keeps the others", () => {
  const merged = mergeImportance([
    importanceOf({ a: [1, [1, 2]], b: [5, [1]] }),
    importanceOf({ a: [2, [10, 0]] }),
    importanceOf({ c: [1, [3]] }),
  ]);
  expect(plain(merged)).toEqual({ a: [3, [11, 2]], b: [5, [1]], c: [1, [3]] });
});

it("adds what two halves of the batches gave to what all gave", async () => {
  const layer = new Linear(3, 2);
  const batches = [4, 5].map((n) => randn([n, 3], { rng: new Rng(n) }));
  const each = await Promise.all(batches.map((x) => statistics(layer, [x], { keep: ["sumOfSquares"] })));
  const all = await statistics(layer, batches, { keep: ["sumOfSquares"] });
  expect(mergeImportance(each).get("")!.rows).toBe(9);
  const sums = mergeImportance(each).get("")!.sumOfSquares.data;
  for (const [i, v] of all.get("")!.sumOfSquares.data.entries()) expect(sums[i]).toBeCloseTo(v, 12);
});

describe("what is not written", () => {
  it.each([
    ["no entry", new Map(), {}, "at least one entry"],
    ["no map", {}, {}, "needs a Map"],
    ["an entry without sums", new Map([["a", { rows: 1 }]]), {}, "must be a float64 tensor"],
    ["float32", new Map([["a", { rows: 1, sumOfSquares: tensor([1]) }]]), {}, "must be a float64 tensor"],
    ["no columns", importanceOf({ a: [1, []] }), {}, "must be a float64 tensor"],
    ["a negative sum", importanceOf({ a: [1, [-1]] }), {}, 'got -1 of "a"'],
    ["NaN", importanceOf({ a: [1, [Number.NaN]] }), {}, 'got NaN of "a"'],
    ["negative rows", importanceOf({ a: [-2, [1]] }), {}, 'got -2 of "a"'],
    ["sums beyond float32", importanceOf({ a: [1, [1e39]] }), {}, "fit float32"],
    ["a long name", importanceOf({ ["é".repeat(28)]: [1, [1]] }), {}, "got 56 of"],
    ["another format", one, { format: "csv" }, "format must be one of gguf, dat"],
    ["datasets that are no texts", one, { datasets: [1] }, "list of names"],
    ["a negative count", one, { chunkCount: -1 }, "chunkCount must be an integer of at least 0"],
    ["a count of 2^31", one, { chunkSize: 2 ** 31 }, "below 2^31"],
    ["two datasets in a .dat file", one, { format: "dat", datasets: ["a", "b"] }, "one dataset"],
    ["a chunk size in a .dat file", one, { format: "dat", chunkSize: 1 }, "no chunkSize"],
    ["half a row in a .dat file", importanceOf({ a: [0.5, [1]] }), { format: "dat" }, 'got 0.5 of "a"'],
    ["unknown options", one, { name: "a" }, "unknown option"],
  ])("%s", (_, importance, options, message) => {
    const write = () => writeImatrix(importance as never, options as never);
    expect(write).toThrow(OptionError);
    expect(write).toThrow(message);
  });

  it("sums of other columns do not merge", () => {
    const merge = () => mergeImportance([importanceOf({ a: [1, [1]] }), importanceOf({ a: [1, [1, 2]] })]);
    expect(merge).toThrow(OptionError);
    expect(merge).toThrow('got 1 and 2 of "a"');
  });
});

/** The golden file with bytes written over it. */
function damaged(at: number | string, ...bytes: number[]): Uint8Array {
  const file = golden();
  file.set(bytes, typeof at === "number" ? at : Buffer.from(file).indexOf(at));
  return file;
}
const behind = (text: string): number => Buffer.from(golden()).indexOf(text) + text.length;

describe("files that are refused", () => {
  it.each([
    ["version 1", damaged(4, 1), "must be 2 or 3, got 1"],
    ["big-endian files", damaged(4, 0, 0, 0, 3), "big-endian"],
    ["2^52 tensors", damaged(14, 16), "at most 65535 tensors"],
    ["2^53 keys", damaged(22, 32), "below 2^53"],
    ["another type of file", damaged("imatrix", 0x49), 'must be "imatrix"'],
    ["an unknown type of value", damaged(behind("general.type"), 13), "got 13 for"],
    ["a list of lists", damaged(behind("imatrix.datasets") + 4, 9), "got 9 for"],
    ["a list longer than the file", damaged(behind("imatrix.datasets") + 10, 1), "cut off"],
    ["text that is not UTF-8", damaged("imatrix.datasets", 0xff), "not UTF-8"],
    ["5 dimensions", damaged(behind("in_sum2"), 5), "1 to 4 dimensions, got 5"],
    ["dimensions beyond the file", damaged(behind("in_sum2") + 10, 1), "larger than the file"],
    ["another element type", damaged(behind("in_sum2") + 20, 1), "must be float32, type 0, got type 1"],
    ["offsets that overlap", damaged(behind(".counts") + 24, 0), "offset 0 for"],
    ["sums without counts", damaged(behind(".count"), 0x58), "belong together"],
    ["counts without sums", damaged(behind("in_sum"), 0x33), "belong together"],
    ["a count of each expert", damaged(behind(".counts") + 4, 2), "experts"],
    ["a negative sum", damaged(384 - 64 + 3, 0xc1), "got -10 of"],
    ["NaN", damaged(384 - 64 + 2, 0xff, 0x7f), "got NaN of"],
  ])("%s", (_, file, message) => {
    expect(() => readImatrix(file)).toThrow(FormatError);
    expect(() => readImatrix(file)).toThrow(message);
  });

  it.each([
    ["no entry", datOf(0, 1, "c"), "at least one entry"],
    ["a negative number of entries", datOf(-1), "must not be negative, got -1"],
    ["2^31 − 1 entries", datOf(2 ** 31 - 1), "cut off"],
    ["2^31 − 1 columns", datOf(1, "a", 1, 2 ** 31 - 1), "cut off"],
    ["no columns", datOf(1, "a", 1, []), 'got none of "a"'],
    ["a name twice", datOf(2, "a", 1, [1], "a", 1, [1]), 'got "a" twice'],
    ["negative calls", datOf(1, "a", -1, [1]), "got -1"],
    ["infinity", datOf(1, "a", 1, [Infinity]), 'got Infinity of "a"'],
    ["bytes behind the end", datOf(1, "a", 1, [1], 1, "c", 0), "bytes behind the end, got 4"],
  ])(".dat: %s", (_, file, message) => {
    expect(() => readImatrix(file)).toThrow(FormatError);
    expect(() => readImatrix(file)).toThrow(message);
  });

  it("what are no bytes", () => {
    for (const given of [null, "GGUF", [1, 2]])
      expect(() => readImatrix(given as never)).toThrow(OptionError);
  });

  it.each([["gguf", golden()] as const, ["dat", dat()] as const])(
    "%s files cut off anywhere",
    (kind, whole) => {
      // A .dat file may end behind its entries, and the padding of the last tensor may lack.
      const least = kind === "dat" ? whole.length - 9 : whole.length - 28;
      for (let length = 0; length < least; length++) {
        expect(() => readImatrix(whole.subarray(0, length))).toThrow(FormatError);
      }
    },
  );

  it.each([["gguf", golden()] as const, ["dat", dat()] as const])(
    "%s files with any damage are read or refused",
    (_, whole) => {
      const change = fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255) });
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
          const file = Uint8Array.from(whole);
          for (const { at, value } of changes) file[at] = value;
          try {
            const { importance } = readImatrix(file);
            for (const { rows, sumOfSquares } of importance.values()) {
              expect([rows, ...sumOfSquares.data].every((v) => v >= 0 && v < Infinity)).toBe(true);
            }
          } catch (error) {
            if (!(error instanceof BitgradError)) throw error;
            expect(error).toBeInstanceOf(FormatError);
          }
        }),
        { numRuns: 2000 },
      );
    },
  );
});
