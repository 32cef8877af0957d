/** Learns the vocabulary and merges of a byte-level BPE from a text. */

import { OptionError, readOptions, show } from "../../errors.ts";
import { encodeUtf8 } from "../bytes.ts";
import { type BpeTokenizer, bpe, byteAlphabet, ID_LIMIT, pairKey, splitter, words } from "./bpe.ts";
import { Heap } from "./merge.ts";

export interface TrainBpeOptions {
  /** The most tokens to have, the 256 bytes and the special ones included. */
  vocabSize: number;
  /** Tokens that are recognised whole and never merged; they get the last ids. No ordinary token may read like one. */
  special?: readonly string[];
}

/**
 * Learns a byte-level BPE of `vocabSize` tokens from a text: the 256 bytes, then again and again the most frequent pair of
 * neighbours within words, the pair of lower ids among equals. Stops early when no pair occurs twice, so the vocabulary can
 * end smaller. Sennrich et al., 2016, arXiv:1508.07909, algorithm 1.
 *
 * @example
 * ```ts
 * import { trainBpe } from "bitgrad/data";
 *
 * const tokenizer = trainBpe("low lower lowest low low", { vocabSize: 260 });
 * console.log(tokenizer.encode("lower").length < 5, tokenizer.decode(tokenizer.encode("lower"))); // true lower
 * ```
 */
export function trainBpe(text: string, options: TrainBpeOptions): BpeTokenizer {
  const { vocabSize, special: marks = [] } = readOptions<TrainBpeOptions>("trainBpe", options, {
    vocabSize: 512,
    special: undefined,
  });
  const split = splitter("trainBpe", marks);
  if (!Number.isInteger(vocabSize) || vocabSize < 256 + marks.length || vocabSize >= ID_LIMIT) {
    throw new OptionError(
      `trainBpe: vocabSize must be an integer from ${256 + marks.length} (the bytes and special tokens) to 2^26, got ${vocabSize}`,
    );
  }
  encodeUtf8("trainBpe", text);
  const counts = new Map<string, number>();
  text.split(split).forEach((part, i) => {
    if (i % 2 === 1) return;
    for (const [word] of part.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  });
  const tokens: string[] = [];
  const whole = new Set(marks);
  const addToken = (token: string): void => {
    if (whole.has(token)) {
      throw new OptionError(
        `trainBpe: a special token is an ordinary token too, got ${show(token)}; rename it`,
      );
    }
    tokens.push(token);
  };
  byteAlphabet.forEach(addToken);
  const merges: string[] = [];
  const heap = new Heap<{ key: number; count: number }>(
    (a, b) => a.count > b.count || (a.count === b.count && a.key < b.key),
  );
  const chain = new Chain(counts);
  for (const [key, { count }] of chain.pairs) heap.push({ key, count });

  while (tokens.length + marks.length < vocabSize) {
    const best = heap.pop();
    if (best === undefined || best.count < 2) break;
    // The count has changed since; its newer entry is in the heap too.
    if (chain.pairs.get(best.key)?.count !== best.count) continue;
    const left = Math.floor(best.key / ID_LIMIT);
    const right = best.key % ID_LIMIT;
    const made = tokens.length;
    addToken(tokens[left] + tokens[right]);
    merges.push(`${tokens[left]} ${tokens[right]}`);
    for (const key of chain.merge(left, right, made)) {
      const count = chain.pairs.get(key)?.count;
      if (count !== undefined) heap.push({ key, count });
    }
  }
  const vocab = Object.fromEntries([...tokens, ...marks].map((token, id) => [token, id]));
  return bpe({ vocab, merges, special: marks });
}

/** All words' symbols one after another, and where each pair of neighbours is: a merge costs what it changes. */
class Chain {
  /** How often a pair stands in the text, and places of its left symbols; some may have merged away. */
  readonly pairs = new Map<number, { count: number; places: number[] }>();
  /** -1 parts the words and marks symbols that are gone. */
  private readonly ids: Int32Array;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** How often the text has the word that a place belongs to. */
  private readonly weight: Float64Array;

  constructor(counts: ReadonlyMap<string, number>) {
    const words = Array.from(counts, ([word, count]) => ({ bytes: encodeUtf8("trainBpe", word), count }));
    const size = words.reduce((sum, { bytes }) => sum + bytes.length + 1, 1);
    this.ids = new Int32Array(size).fill(-1);
    this.next = Int32Array.from({ length: size }, (_, i) => i + 1);
    this.previous = Int32Array.from({ length: size }, (_, i) => i - 1);
    this.weight = new Float64Array(size);
    let at = 1;
    for (const { bytes, count } of words) {
      this.ids.set(bytes, at);
      this.weight.fill(count, at, at + bytes.length);
      at += bytes.length + 1;
    }
    for (let i = 1; i < size - 1; i++) this.count(i, 1);
  }

  /** Counts the pair that begins at `at`, if one does, in or out, and gives its key. */
  private count(at: number, sign: 1 | -1): number {
    const left = this.ids[at];
    const right = this.ids[this.next[at]];
    if (left < 0 || right < 0) return -1;
    const key = pairKey(left, right);
    let pair = this.pairs.get(key);
    if (pair === undefined) {
      pair = { count: 0, places: [] };
      this.pairs.set(key, pair);
    }
    pair.count += sign * this.weight[at];
    if (sign > 0) pair.places.push(at);
    return key;
  }

  /** Makes `made` of every left that right follows, leftmost first, and gives the pairs whose counts have changed. */
  merge(left: number, right: number, made: number): Set<number> {
    const { ids, next, previous } = this;
    const touched = new Set<number>();
    for (const at of this.pairs.get(pairKey(left, right))!.places.sort((a, b) => a - b)) {
      const gone = next[at];
      if (ids[at] !== left || ids[gone] !== right) continue;
      const before = previous[at];
      for (const place of [before, at, gone]) touched.add(this.count(place, -1));
      ids[at] = made;
      ids[gone] = -1;
      next[at] = next[gone];
      previous[next[gone]] = at;
      for (const place of [before, at]) touched.add(this.count(place, 1));
    }
    for (const key of touched) if (this.pairs.get(key)?.count === 0) this.pairs.delete(key);
    return touched;
  }
}
