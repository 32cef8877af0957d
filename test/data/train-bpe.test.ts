import { Rng } from "bitgrad";
import { trainBpe } from "bitgrad/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/** The definition: count every pair of every word anew, merge the most frequent, of equals the one of lower ids. */
function mergesByDefinition(text: string, most: number): [number, number][] {
  let words = text.match(/ ?[a-z]+/g)?.map((word) => Array.from(new TextEncoder().encode(word))) ?? [];
  const merges: [number, number][] = [];
  while (merges.length < most) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        const key = `${word[i]} ${word[i + 1]}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    const pairs = Array.from(counts, ([key, count]) => ({ pair: key.split(" ").map(Number), count }));
    pairs.sort((a, b) => b.count - a.count || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1]);
    if (pairs.length === 0 || pairs[0].count < 2) break;
    const [left, right] = pairs[0].pair;
    words = words.map((word) => {
      const out: number[] = [];
      for (let i = 0; i < word.length; i++) {
        if (word[i] === left && word[i + 1] === right) {
          out.push(256 + merges.length);
          i++;
        } else out.push(word[i]);
      }
      return out;
    });
    merges.push([left, right]);
  }
  return merges;
}

describe("trainBpe", () => {
  it("learns what counting every pair anew for every merge learns", () => {
    const text = fc.array(fc.constantFrom("a", "b", "ab", "aa", "aaa", " a", " c"), { maxLength: 40 });
    fc.assert(
      fc.property(text, (parts) => {
        const { vocab, merges } = trainBpe(parts.join(""), { vocabSize: 280 });
        const ids = merges.map((line) => line.split(" ").map((token) => vocab[token]));
        expect(ids).toEqual(mergesByDefinition(parts.join(""), 24));
      }),
    );
  });

  // Scanning a whole word for each merge takes minutes on these.
  it("takes one word of very many letters", () => {
    const letters = new Rng("letters").permutation(40_000);
    const word = Array.from(letters, (n) => "abcdefghijklmnop"[n % 16]).join("");
    const trained = trainBpe(word, { vocabSize: 1500 });
    expect(trained.vocabSize).toBe(1500);
    expect(trained.decode(trained.encode(word))).toBe(word);
    expect(trainBpe("a".repeat(2 ** 16), { vocabSize: 300 }).merges).toHaveLength(15);
  });
});
