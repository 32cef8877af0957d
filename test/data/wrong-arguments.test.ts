import { OptionError, tensor } from "bitgrad";
import { byteTokenizer, charTokenizer, csv, sentencePieceBpe, text, trainBpe, wordPiece } from "bitgrad/data";
import { load } from "bitgrad/io";
import { describe, expect, it } from "vitest";

const pieces = Array.from({ length: 260 }, (_, i) => `p${i}`);

describe("wrong arguments of readers and tokenizers", () => {
  it.each([null, undefined, 5, true, {}, tensor([1])])(
    "decode refuses %s, which is no list of ids",
    (ids) => {
      const scores = pieces.map(() => 0);
      for (const tokenizer of [
        byteTokenizer(),
        charTokenizer("ab"),
        trainBpe("", { vocabSize: 256 }),
        wordPiece({ vocab: "[UNK]\na" }),
        sentencePieceBpe({ pieces, scores }),
      ]) {
        expect(() => tokenizer.decode(ids as never)).toThrow(OptionError);
        expect(() => tokenizer.decode(ids as never)).toThrow("ids must be a list of numbers, got");
        expect(tokenizer.decode([])).toBe("");
        expect(() => tokenizer.encode(ids as never)).toThrow("expected text, got");
      }
    },
  );

  it("columns, scores, sources and shards of a wrong kind are typed errors", async () => {
    for (const columns of ["a", 5, [1]])
      expect(() => csv("a\n1", { columns: columns as never })).toThrow(
        "csv: columns must be a list of names, got",
      );
    expect(() => csv("a\n1", { types: "float32" as never })).toThrow(
      "csv: types must give dtypes by column, got",
    );
    for (const scores of [null, 5]) {
      expect(() => sentencePieceBpe({ pieces, scores: scores as never })).toThrow(OptionError);
    }
    expect(() => sentencePieceBpe({ pieces: null as never, scores: [] })).toThrow(OptionError);
    await expect(text(null as never)).rejects.toThrow("text: expected a path or a Uint8Array, got null");
    const index = new TextEncoder().encode('{"weight_map":{"a":"p.safetensors"}}');
    await expect(load(index, { shard: 5 as never })).rejects.toThrow("load: shard must be a function, got 5");
  });
});
