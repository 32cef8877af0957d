import { OptionError } from "bitgrad";
import {
  bpe,
  byteTokenizer,
  charTokenizer,
  sentencePieceBpe,
  type Tokenizer,
  trainBpe,
  wordPiece,
} from "bitgrad/data";
import { Gpt } from "bitgrad/models";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16)}>`);
const pieces = ["<unk>", "<s>", "</s>", ...bytes, " ", "a", "b", " a", "ab", "é", "🦙"];
const trained = trainBpe("low lower é 😀 猫猫猫 🦙🦙", { vocabSize: 290, special: ["<|end|>", "🦙"] });
const tokenizers: [string, Tokenizer][] = [
  ["byteTokenizer", byteTokenizer()],
  ["charTokenizer", charTokenizer("low é 😀 猫🦙\uFEFF")],
  ["trainBpe", trained],
  ["bpe", bpe({ vocab: trained.vocab, merges: trained.merges, special: ["<|end|>", "🦙"] })],
  ["sentencePieceBpe", sentencePieceBpe({ pieces, scores: pieces.map((_, id) => id) })],
  ["wordPiece", wordPiece({ vocab: "[UNK]\n\nlow\n##er\n##\n猫\n,\n" })],
];

describe.each(tokenizers)("the decoder of %s", (name, tokenizer) => {
  it("gives in parts what decode gives for any ids, again and again", () => {
    const decoder = tokenizer.decoder();
    const ids = fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 12 });
    fc.assert(
      fc.property(ids, (given) => {
        const parts = given.map((id) => decoder.push(id));
        expect(parts.join("") + decoder.end()).toBe(tokenizer.decode(given));
      }),
      { numRuns: 500 },
    );
  });

  it("gives whole characters alone", () => {
    const sample = name === "wordPiece" ? "low 猫 , lower" : "low é 😀 猫 🦙";
    const decoder = tokenizer.decoder();
    const parts = Array.from(tokenizer.encode(sample), (id) => decoder.push(id));
    expect(parts.join("")).toBe(sample);
    for (const part of parts) {
      expect(part).not.toContain("\uFFFD");
      expect(part).not.toMatch(/\p{Surrogate}/u);
    }
    expect(decoder.end()).toBe("");
  });

  it("refuses ids that are none, and two do not mix", () => {
    const [one, two] = [tokenizer.decoder(), tokenizer.decoder()];
    for (const id of [-1, 0.5, tokenizer.vocabSize, "a" as never])
      expect(() => one.push(id)).toThrow(OptionError);
    const last = tokenizer.vocabSize - 1;
    one.push(last);
    expect(two.push(last) + two.end()).toBe(tokenizer.decode([last]));
  });
});

it("a character cut by the end is U+FFFD, as decode has it", () => {
  const decoder = byteTokenizer().decoder();
  expect([0x61, 0xf0, 0x9f, 0x98].map((id) => decoder.push(id))).toEqual(["a", "", "", ""]);
  expect(decoder.end()).toBe("\uFFFD");
  expect([0xf0, 0x9f, 0x61].map((id) => decoder.push(id))).toEqual(["", "", "\uFFFDa"]);
});

it("what onToken is told of becomes text token by token", () => {
  const tokenizer = byteTokenizer();
  const model = new Gpt({ vocabulary: 256, context: 16, dim: 8, heads: 1, layers: 1 });
  const decoder = tokenizer.decoder();
  let text = "";
  const ids = model.generate([1], {
    maxTokens: 40,
    onToken: (id) => {
      text += decoder.push(id);
    },
  });
  expect(text + decoder.end()).toBe(tokenizer.decode(ids));
});
