import { BitgradError, OptionError } from "bitgrad";
import { bpe, trainBpe } from "bitgrad/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const odd = [
  "<end-of-turn>",
  "a-b",
  "[^]",
  "(?:x)",
  "\\d+",
  "$&",
  "{1,2}",
  "a|b",
  "/x/",
  "é̂",
  "🦙",
  "\u2028",
];

describe("special tokens", () => {
  it.each(odd)("may be %j, and a text is split at them in trainBpe and in bpe", (mark) => {
    const trained = trainBpe(`low low ${mark} lower`, { vocabSize: 270, special: [mark] });
    const loaded = bpe({ vocab: trained.vocab, merges: trained.merges, special: [mark] });
    const id = trained.idOf(mark)!;
    expect(id).toBe(trained.vocabSize - 1);
    for (const tokenizer of [trained, loaded]) {
      const ids = tokenizer.encode(`low${mark}${mark}er`);
      expect(ids.filter((other) => other === id)).toHaveLength(2);
      expect(tokenizer.decode(ids)).toBe(`low${mark}${mark}er`);
      expect(tokenizer.encode("lower")).not.toContain(id);
    }
  });

  it("are any text at all", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 2, maxLength: 6 }), (mark) => {
        const { idOf, encode } = trainBpe("", { vocabSize: 257, special: [mark] });
        expect(Array.from(encode(mark))).toEqual([idOf(mark)]);
      }),
    );
  });

  it("are taken the longest first where one holds another", () => {
    const special = ["<|a", "<|a|>", "|>", "<|a|><"];
    const tokenizer = trainBpe("", { vocabSize: 260, special });
    const split = (text: string) => Array.from(tokenizer.encode(text), (id) => tokenizer.decode([id]));
    expect(split("<|a|><|a|>")).toEqual(["<|a|><", "|", "a", "|>"]);
    expect(split("<|a<|a|>|>")).toEqual(["<|a", "<|a|>", "|>"]);
  });

  it("must be distinct texts that no other token has", () => {
    const train = (special: unknown, text = "") =>
      trainBpe(text, { vocabSize: 400, special: special as string[] });
    expect(() => train("<end>")).toThrow("trainBpe: special must be a list of distinct texts, got");
    expect(() => train([7])).toThrow(OptionError);
    expect(() => train([""])).toThrow(OptionError);
    expect(() => train(["<end>", "<end>"])).toThrow('got ("<end>", "<end>")');
    expect(() => train(["a"])).toThrow('trainBpe: a special token is an ordinary token too, got "a"');
    expect(() => train(["Ġlow"], "low low low")).toThrow('an ordinary token too, got "Ġlow"');
    expect(() => train(["a\ud800"])).toThrow(BitgradError);
    const { vocab, merges } = train(["<end>"]);
    expect(() => bpe({ vocab, merges, special: "<end>" as never })).toThrow("bpe: special must be a list");
    expect(() => bpe({ vocab, merges, special: ["<end>", "<end>"] })).toThrow(OptionError);
  });
});
