import type { Tensor } from "bitgrad";
import {
  bpe,
  csv,
  parseCsv,
  sentencePieceBpe,
  type Tokenizer,
  text,
  trainBpe,
  wordPiece,
} from "bitgrad/data";
import { describe, expect, it } from "vitest";
import { decodeText, linesOf } from "../../src/data/bytes.ts";

const ends = ["\n", "\r\n", "\r"];
const mark = "\uFEFF";

describe("line ends and byte order marks", () => {
  it.each(ends)("%j parts lines everywhere", (end) => {
    const join = (...lines: string[]) => lines.map((line) => line + end).join("");
    expect(linesOf(join("a", "", "b"))).toEqual(["a", "", "b"]);
    expect(wordPiece({ vocab: join("[UNK]", "a", "b") }).idOf("b")).toBe(2);
    const merges = join("#version: 0.2", "a b");
    expect(bpe({ vocab: { a: 0, b: 1, ab: 2 }, merges }).merges).toEqual(["a b"]);
    expect(parseCsv(join("a,b", '"x,\r\ny",2', "3,"))).toEqual([
      ["a", "b"],
      ["x,\r\ny", "2"],
      ["3", ""],
    ]);
    const table = csv(join("height,weight", "1,2", "3,4"), { types: { height: "float32", weight: "int32" } });
    expect(Object.values(table).map((column) => Array.from((column as Tensor).data))).toEqual([
      [1, 3],
      [2, 4],
    ]);
    expect(parseCsv(join("a;'b"), { delimiter: ";", quote: "" })).toEqual([["a", "'b"]]);
    expect(() => parseCsv(join('"a', 'b"', 'c"d'))).toThrow("line 3");
  });

  it("a mark at the start is dropped everywhere, and kept elsewhere", async () => {
    const bytes = new TextEncoder().encode(`${mark}a${mark}`);
    expect(await text(bytes)).toBe(`a${mark}`);
    expect(decodeText("names", bytes)).toBe(`a${mark}`);
    expect(linesOf(`${mark}a\n${mark}b`)).toEqual(["a", `${mark}b`]);
    expect(parseCsv(`${mark}"a",b\n`)).toEqual([["a", "b"]]);
    expect(wordPiece({ vocab: `${mark}[UNK]\na` }).idOf("[UNK]")).toBe(0);
    const loaded = bpe({ vocab: `${mark}{"a":0,"b":1,"ab":2}`, merges: `${mark}#version: 0.2\na b` });
    expect(Array.from(loaded.encode("ab"))).toEqual([2]);
    expect(bpe({ vocab: loaded.vocab, merges: `${mark}a b` }).merges).toEqual(["a b"]);
  });
});

describe("wordPiece", () => {
  const tokenizer = wordPiece({ vocab: "[UNK]\nred\nfox\na\n##a\n" });
  it.each(["\u2028", "\u2029", "\u00a0", "\u3000", "\t", "\r", " \u2028\n"])("parts words at %j", (space) => {
    expect(Array.from(tokenizer.encode(`red${space}fox`))).toEqual([1, 2]);
    const cased = wordPiece({ vocab: "[UNK]\nRed\nfox\n", lowerCase: false });
    expect(Array.from(cased.encode(`Red${space}fox`))).toEqual([1, 2]);
  });

  it("strips accents in any order and of any number", () => {
    for (const word of ["r\u0301\u0327ed", "r\u0327\u0301ed", "re\u0344d", "\u1e5b\u0307ed"])
      expect(Array.from(tokenizer.encode(word))).toEqual([1]);
  });

  it("reads more than 100 spacing marks as an unknown word, and fewer as their canonical order", () => {
    const [low, high] = ["\u{1d165}", "\u302e"]; // of combining classes 216 and 224
    const marked = wordPiece({ vocab: `[UNK]\na${low}${high}\n` });
    expect(Array.from(marked.encode(`a${high}${low} a${low}${high}`))).toEqual([1, 1]);
    expect(Array.from(marked.encode(`a${high.repeat(101)}`))).toEqual([0]);
  });
});

// Sizes at which work that grows as their square takes minutes.
describe("a text made to be slow", () => {
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16)}>`);
  const pieces = ["<unk>", "<s>", "</s>", ...bytes, " ", "a", "aa", "aaaa", "\u0301\u0327"];
  const tokenizers: [string, Tokenizer][] = [
    ["bpe", trainBpe("aa aaa aaaa \u0301\u0327", { vocabSize: 300, special: ["<|x|>", "<|"] })],
    ["sentencePieceBpe", sentencePieceBpe({ pieces, scores: pieces.map((_, id) => id) })],
    ["wordPiece", wordPiece({ vocab: "[UNK]\na\n##a\n" })],
    ["cased wordPiece", wordPiece({ vocab: "[UNK]\na\n##a\n", lowerCase: false })],
  ];
  const texts = [
    "a".repeat(100_000),
    `a${"\u0301\u0327".repeat(50_000)}`,
    `a${"\u302e\u{1d165}".repeat(50_000)}`,
    `${" \u00a0".repeat(50_000)}a`,
    "<|x".repeat(30_000),
    "Σ\u0301".repeat(50_000),
  ];
  it.each(tokenizers)("is no trouble to %s", (name, tokenizer) => {
    for (const sample of texts) {
      const ids = tokenizer.encode(sample);
      const back = tokenizer.decode(ids);
      if (!name.endsWith("wordPiece")) expect(back === sample).toBe(true);
      else expect(ids.length).toBeGreaterThan(0);
    }
  });

  it("is no trouble to csv", () => {
    const digits = "1".repeat(100_000);
    expect(() => csv(`a\n${digits}x`, { types: { a: "float32" } })).toThrow('not a number in column "a"');
    expect(csv(`a\n${digits}e-99999`, { types: { a: "float64" } }).a).toMatchObject({ shape: [1] });
    const names = Array.from({ length: 100_000 }, (_, i) => `c${i}`).join();
    expect(Object.keys(csv(`${names}\n`))).toHaveLength(100_000);
    expect(parseCsv("\n".repeat(100_000))).toHaveLength(100_000);
    expect(() => parseCsv('"'.repeat(100_001))).toThrow("a quote is never closed");
  });
});
