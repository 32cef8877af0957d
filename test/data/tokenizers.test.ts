import { readFileSync } from "node:fs";
import { BitgradError } from "bitgrad";
import {
  bpe,
  byteTokenizer,
  charTokenizer,
  llama2cTokenizer,
  sentencePieceBpe,
  type Tokenizer,
  trainBpe,
  wordPiece,
} from "bitgrad/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergePairs } from "../../src/data/tokenizers/merge.ts";

const unicode = fc.string({ unit: "binary", maxLength: 40 });
const prose = "low lower lowest, slow slower slowest! the lowest slow owl's show isn't new. ".repeat(3);

const tinyBpe = () => trainBpe(prose, { vocabSize: 300, special: ["<|end|>"] });

/** Bytes, marks and a few scored pieces, as llama2.c writes them. */
function tinyPieces(): { pieces: string[]; scores: number[] } {
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
  const own = [" ", "a", "b", "ab", " a", "aba"];
  const pieces = ["<unk>", "\n<s>\n", "\n</s>\n", ...bytes, ...own];
  return { pieces, scores: pieces.map((_, id) => [-1, -1, -1, 3, 2, 1][id - 259] ?? 0) };
}

function llama2cFile({ pieces, scores }: { pieces: string[]; scores: number[] }): Uint8Array {
  const encoded = pieces.map((piece) => new TextEncoder().encode(piece));
  const file = new Uint8Array(4 + encoded.reduce((size, { length }) => size + 8 + length, 0));
  const view = new DataView(file.buffer);
  view.setInt32(0, Math.max(...encoded.map(({ length }) => length)), true);
  let at = 4;
  encoded.forEach((piece, id) => {
    view.setFloat32(at, scores[id], true);
    view.setInt32(at + 4, piece.length, true);
    file.set(piece, at + 8);
    at += 8 + piece.length;
  });
  return file;
}

describe("tokenizers that lose nothing", () => {
  const lossless: [string, Tokenizer][] = [
    ["byteTokenizer", byteTokenizer()],
    ["a trained bpe", tinyBpe()],
    ["sentencePieceBpe", sentencePieceBpe(tinyPieces())],
  ];

  it.each(lossless)("%s decodes what it encodes, for any text", (_, tokenizer) => {
    fc.assert(
      fc.property(unicode, (sample) => {
        const ids = tokenizer.encode(sample);
        expect(ids.every((id) => id >= 0 && id < tokenizer.vocabSize)).toBe(true);
        expect(tokenizer.decode(ids)).toBe(sample);
      }),
    );
  });

  it.each(lossless)("%s refuses half a surrogate pair and ids that are none", (_, tokenizer) => {
    expect(() => tokenizer.encode("a\ud800b")).toThrow("half a surrogate pair, got U+D800 at index 1");
    expect(() => tokenizer.encode(7 as never)).toThrow("expected text, got 7");
    expect(() => tokenizer.decode([tokenizer.vocabSize])).toThrow(`in [0, ${tokenizer.vocabSize})`);
    expect(() => tokenizer.decode([0.5])).toThrow("got 0.5 at index 0");
  });
});

describe("byteTokenizer", () => {
  it("gives the bytes of UTF-8, and U+FFFD for ids that cut a character", () => {
    expect(Array.from(byteTokenizer().encode("é!"))).toEqual([0xc3, 0xa9, 0x21]);
    expect(byteTokenizer().decode([0xc3])).toBe("\uFFFD");
  });
});

describe("charTokenizer", () => {
  it("numbers the characters of a sample in code point order, and its alphabet gives the same ids", () => {
    const tokenizer = charTokenizer("banana 🦙");
    expect(tokenizer.alphabet).toBe(" abn🦙");
    expect(Array.from(tokenizer.encode("nab🦙"))).toEqual([3, 1, 2, 4]);
    expect(tokenizer.decode([2, 4, 1])).toBe("b🦙a");
    expect(charTokenizer(tokenizer.alphabet).encode("nab")).toEqual(tokenizer.encode("nab"));
  });

  it("refuses a character that it has not seen", () => {
    expect(() => charTokenizer("ab").encode("abc")).toThrow(
      'charTokenizer: the alphabet lacks a character, got "c"',
    );
  });
});

describe("mergePairs", () => {
  it("does what repeated scanning for the best pair does", () => {
    const rules = new Map([
      ["0,0", 0],
      ["0,1", 1],
      ["3,0", 2],
      ["4,4", 3],
    ]);
    const merges = {
      find: (left: number, right: number) => rules.get(`${left},${right}`) ?? -1,
      rank: [2, 0, 1, 3],
      result: [3, 4, 5, 6],
    };
    const scan = (given: readonly number[]): number[] => {
      const ids = [...given];
      for (;;) {
        let best = -1;
        let at = -1;
        for (let i = 0; i + 1 < ids.length; i++) {
          const merge = merges.find(ids[i], ids[i + 1]);
          if (merge !== -1 && (best === -1 || merges.rank[merge] < merges.rank[best]))
            [best, at] = [merge, i];
        }
        if (best === -1) return ids;
        ids.splice(at, 2, merges.result[best]);
      }
    };
    fc.assert(
      fc.property(fc.array(fc.nat(2), { maxLength: 30 }), (symbols) => {
        expect(mergePairs(symbols, merges)).toEqual(scan(symbols));
      }),
    );
  });
});

describe("bpe", () => {
  const letters = { l: 0, o: 1, w: 2, Ġ: 3, lo: 4, low: 5, Ġlow: 6, "<|end|>": 7 };
  const merges = "#version: 0.2\nl o\nlo w\nĠ low\n";

  it("merges by the order of the file", () => {
    const tokenizer = bpe({ vocab: JSON.stringify(letters), merges });
    expect(tokenizer.vocabSize).toBe(8);
    expect(Array.from(tokenizer.encode("low low lo"))).toEqual([5, 6, 3, 4]);
    expect(tokenizer.decode([5, 6, 3, 4])).toBe("low low lo");
    expect(tokenizer.idOf("Ġlow")).toBe(6);
  });

  it("takes a special token whole only where it is named", () => {
    const named = bpe({ vocab: letters, merges, special: ["<|end|>"] });
    expect(Array.from(named.encode("low<|end|>lo"))).toEqual([5, 7, 4]);
    expect(named.decode([5, 7, 4])).toBe("low<|end|>lo");
    expect(() => bpe({ vocab: letters, merges }).encode("<|end|>")).toThrow(
      "bpe: the vocabulary has no token for a byte, got 60",
    );
  });

  it("refuses files that disagree", () => {
    expect(() => bpe({ vocab: "{", merges })).toThrow("bpe: the vocabulary is not JSON");
    expect(() => bpe({ vocab: "[]", merges })).toThrow("must be an object");
    expect(() => bpe({ vocab: { a: 0, b: 0 }, merges: [] })).toThrow('got 0 for token "b"');
    expect(() => bpe({ vocab: { a: 1e9 }, merges: [] })).toThrow("distinct integers");
    expect(() => bpe({ vocab: letters, merges: ["l w"] })).toThrow('got "l w" as merge 0');
    expect(() => bpe({ vocab: letters, merges: ["l o w"] })).toThrow("a merge must name two tokens");
    expect(() => bpe({ vocab: letters, merges: 3 as never })).toThrow("merges must be");
    expect(() => bpe({ vocab: letters, merges, special: ["<|pad|>"] })).toThrow('got "<|pad|>"');
    expect(() => bpe({ vocab: { "\u4e00": 0 }, merges: [] })).toThrow("outside the byte alphabet");
  });
});

describe("trainBpe", () => {
  it("begins with the 256 bytes and merges the most frequent pair first", () => {
    const tokenizer = trainBpe("aab aab ab", { vocabSize: 259 });
    expect(tokenizer.merges).toEqual(["a b", "a ab"]);
    expect(tokenizer.vocabSize).toBe(258);
    expect(tokenizer.decode(tokenizer.encode("aab"))).toBe("aab");
    expect(tokenizer.encode("aab")).toHaveLength(1);
  });

  it("is rebuilt from its vocabulary and merges", () => {
    const trained = tinyBpe();
    const rebuilt = bpe({ vocab: trained.vocab, merges: trained.merges, special: ["<|end|>"] });
    expect(rebuilt.encode(`${prose}<|end|>`)).toEqual(trained.encode(`${prose}<|end|>`));
    expect(trained.encode(prose).length).toBeLessThan(prose.length / 2);
  });

  it("refuses a vocabulary smaller than the bytes", () => {
    expect(() => trainBpe("a", { vocabSize: 255 })).toThrow("vocabSize must be an integer from 256");
  });
});

describe("wordPiece", () => {
  const vocab = "[UNK]\nhello\nworld\n##s\n,\n!\nfu\n##hr\n##er\n我\na\n##a\n";
  const words = (sample: string) => {
    const tokenizer = wordPiece({ vocab });
    return Array.from(tokenizer.encode(sample), (id) => tokenizer.decode([id]));
  };

  it("lower-cases, strips accents, parts punctuation and Chinese characters, and takes the longest pieces", () => {
    const tokenizer = wordPiece({ vocab });
    expect(Array.from(tokenizer.encode("Hello, WORLDS!"))).toEqual([1, 4, 2, 3, 5]);
    expect(Array.from(tokenizer.encode("Führer"))).toEqual([6, 7, 8]);
    expect(Array.from(tokenizer.encode("hello我world"))).toEqual([1, 9, 2]);
    expect(Array.from(tokenizer.encode("hel\u200blo\u0000\tworld\u00a0hello"))).toEqual([1, 2, 1]);
    expect(tokenizer.decode([1, 4, 2, 3, 5])).toBe("hello , worlds !");
    expect(tokenizer.idOf("##er")).toBe(8);
  });

  it("gives the unknown token for a word without pieces and for one of more than 100 characters", () => {
    expect(words("zebra")).toEqual(["[UNK]"]);
    expect(wordPiece({ vocab }).encode("a".repeat(100))).toHaveLength(100);
    expect(words("a".repeat(101))).toEqual(["[UNK]"]);
  });

  it("keeps case and accents when told", () => {
    expect(Array.from(wordPiece({ vocab, lowerCase: false }).encode("Hello world"))).toEqual([0, 2]);
  });

  it("refuses a vocabulary without [UNK] or with a token twice", () => {
    expect(() => wordPiece({ vocab: "a\nb" })).toThrow("needs [UNK], got 2 tokens");
    expect(() => wordPiece({ vocab: "[UNK]\na\na" })).toThrow('got "a" on line 3');
  });
});

describe("llama2cTokenizer", () => {
  it("merges the best score first, and bytes stand in for characters without a piece", () => {
    const tokenizer = llama2cTokenizer(llama2cFile(tinyPieces()));
    const [space, , , ab, spaceA] = [259, 260, 261, 262, 263];
    expect(Array.from(tokenizer.encode("ab"))).toEqual([space, ab]);
    expect(Array.from(tokenizer.encode("aé"))).toEqual([spaceA, 0xc3 + 3, 0xa9 + 3]);
    expect(tokenizer.encode("")).toHaveLength(0);
    expect([tokenizer.bos, tokenizer.eos]).toEqual([1, 2]);
    expect(tokenizer.decode([1, spaceA, ab, 2])).toBe("aab");
  });

  it("refuses files that are cut or damaged, and nothing but typed errors come of them", () => {
    const file = llama2cFile(tinyPieces());
    expect(() => llama2cTokenizer(file.subarray(0, file.length - 1))).toThrow(
      "a piece does not fit its file",
    );
    expect(() => llama2cTokenizer(file.subarray(0, 30))).toThrow(BitgradError);
    expect(() => llama2cTokenizer(new Uint8Array(0))).toThrow("needs 259 pieces");
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = file.slice();
        damaged[at] ^= flip;
        try {
          llama2cTokenizer(damaged);
        } catch (error) {
          expect(error).toBeInstanceOf(BitgradError);
        }
      }),
    );
  });
});

const folder = process.env.BITGRAD_DATA;

describe.skipIf(!folder)("tokenizers on published cases (BITGRAD_DATA)", () => {
  const read = (path: string) => readFileSync(`${folder}/${path}`, "utf8");
  const cases = (name: string): [string, string][] => {
    const texts = read(`tokenizers/llama.cpp-cases/${name}.inp`).split("\n__ggml_vocab_test__\n");
    const outs = read(`tokenizers/llama.cpp-cases/${name}.out`).split("\n");
    expect(texts.length).toBeGreaterThan(40);
    return texts.map((sample, i) => [sample, outs[i].trim()]);
  };

  it("bpe gives GPT-2's ids for every case, and decodes them back", () => {
    const tokenizer = bpe({
      vocab: read("tokenizers/gpt2/encoder.json"),
      merges: read("tokenizers/gpt2/vocab.bpe"),
    });
    expect(tokenizer.vocabSize).toBe(50257);
    for (const [sample, ids] of cases("gpt-2")) {
      expect(tokenizer.encode(sample).join(" ")).toBe(ids);
      expect(tokenizer.decode(tokenizer.encode(sample))).toBe(sample);
    }
  });

  it("wordPiece gives BERT's ids for every case", () => {
    const tokenizer = wordPiece({ vocab: read("tokenizers/bert-base-uncased/vocab.txt") });
    expect(tokenizer.vocabSize).toBe(30522);
    for (const [sample, ids] of cases("bert-bge")) expect(tokenizer.encode(sample).join(" ")).toBe(ids);
  });

  it("llama2cTokenizer gives the expected ids and texts", () => {
    const tokenizer = llama2cTokenizer(readFileSync(`${folder}/weights/stories260k/tok512.bin`));
    const expected = JSON.parse(read("weights/stories260k/expected.json"));
    expect(expected.encode_examples.length).toBeGreaterThan(0);
    for (const { text: sample, tokens } of expected.encode_examples) {
      expect(Array.from(tokenizer.encode(sample))).toEqual(tokens);
      expect(tokenizer.decode(tokens)).toBe(sample);
    }
    expect(tokenizer.decode(expected.greedy.tokens)).toBe(expected.greedy.text);
  });
});
