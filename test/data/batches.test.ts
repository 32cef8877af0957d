import { Rng, tensor } from "bitgrad";
import { byteTokenizer, encodeBatch, lengthBatches } from "bitgrad/data";
import { describe, expect, it } from "vitest";

const bytes = byteTokenizer();

describe("encodeBatch", () => {
  it("pads texts to the longest, and says by mask and lengths what is padding", () => {
    const { ids, mask, lengths } = encodeBatch(bytes, ["ab", "a", ""], { padId: 7 });
    expect(ids.toArray()).toEqual([
      [97, 98],
      [97, 7],
      [7, 7],
    ]);
    expect(mask.toArray()).toEqual([
      [true, true],
      [true, false],
      [false, false],
    ]);
    expect(lengths.toArray()).toEqual([2, 1, 0]);
    expect([ids.dtype, mask.dtype, lengths.dtype]).toEqual(["int32", "bool", "int32"]);
  });

  it("takes more texts than a call has room for arguments", () => {
    expect(encodeBatch(bytes, Array<string>(200_000).fill("a")).ids.shape).toEqual([200_000, 1]);
  });

  it("keeps the marks of a text that it cuts, at either end", () => {
    const marks = { bosId: 1, eosId: 2, maxLength: 4 };
    expect(encodeBatch(bytes, ["abcd", "a"], marks).ids.toArray()).toEqual([
      [1, 97, 98, 2],
      [1, 97, 2, 0],
    ]);
    expect(encodeBatch(bytes, ["abcd"], { ...marks, truncationSide: "left" }).ids.toArray()).toEqual([
      [1, 99, 100, 2],
    ]);
    expect(encodeBatch(bytes, ["abcd"], { ...marks, maxLength: 2 }).ids.toArray()).toEqual([[1, 2]]);
  });

  it("pads on the left, and to the most", () => {
    const left = encodeBatch(bytes, ["a", "abc"], { maxLength: 4, padding: "max", paddingSide: "left" });
    expect(left.ids.toArray()).toEqual([
      [0, 0, 0, 97],
      [0, 97, 98, 99],
    ]);
    expect(left.mask.sum({ axis: 1 }).toArray()).toEqual(left.lengths.toArray());
    expect(encodeBatch(bytes, []).ids.shape).toEqual([0, 0]);
  });

  it.each([
    [
      () => encodeBatch(bytes, ["a"], { padding: "max" }),
      "encodeBatch: padding to the most needs maxLength, got null",
    ],
    [
      () => encodeBatch(bytes, ["a"], { maxLength: 1, bosId: 1, eosId: 2 }),
      "encodeBatch: maxLength must be an integer of at least 2, got 1",
    ],
    [
      () => encodeBatch(bytes, ["a"], { padId: -1 }),
      "encodeBatch: padId must be an integer of at least 0, got -1",
    ],
    [() => encodeBatch(bytes, "a" as never), 'encodeBatch: needs a list of texts, got "a"'],
    [() => encodeBatch({} as never, ["a"]), "encodeBatch: needs a tokenizer, got Object"],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});

describe("lengthBatches", () => {
  const lengths = Array.from({ length: 101 }, (_, i) => (i * 37) % 50);
  const shown = (batches: Int32Array[]) => batches.map((batch) => Array.from(batch));

  it("has every index once, the shortest first", () => {
    expect(shown(lengthBatches([5, 1, 4, 2], { batch: 2 }))).toEqual([
      [1, 3],
      [2, 0],
    ]);
    expect(shown(lengthBatches([], { batch: 2 }))).toEqual([]);
    const all = shown(lengthBatches(lengths, { batch: 8, rng: new Rng(1) })).flat();
    expect(all.sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
  });

  it("holds as many tokens as it is told, with padding", () => {
    const batches = lengthBatches(Int32Array.from(lengths), { tokens: 200, batch: 16 });
    for (const [i, batch] of batches.entries()) {
      const longest = Math.max(...Array.from(batch, (at) => lengths[at]));
      expect(batch.length * longest).toBeLessThanOrEqual(200);
      expect(batch.length).toBeLessThanOrEqual(16);
      // No batch ends before it is full.
      const next = batches[i + 1];
      if (next && batch.length < 16) expect((batch.length + 1) * lengths[next[0]]).toBeGreaterThan(200);
    }
  });

  it("draws another order from another generator, and the same from the same", () => {
    const draw = (seed: number) => shown(lengthBatches(lengths, { batch: 8, rng: new Rng(seed) }));
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    for (const batch of draw(1)) {
      const own = batch.map((at) => lengths[at]);
      expect(Math.max(...own) - Math.min(...own)).toBeLessThanOrEqual(5);
    }
  });

  it.each([
    [() => lengthBatches([1], {}), "lengthBatches: needs batch or tokens, got null and null"],
    [
      () => lengthBatches([1, 9], { tokens: 8 }),
      "lengthBatches: an example is longer than a batch of 8 tokens, got 9 at index 1",
    ],
    [
      () => lengthBatches([-1], { batch: 1 }),
      "lengthBatches: a length must be an integer of at least 0, got -1",
    ],
    [
      () => lengthBatches(tensor([1]) as never, { batch: 1 }),
      "lengthBatches: needs a list of lengths, got (1)",
    ],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});
