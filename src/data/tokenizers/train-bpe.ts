/** Learns the vocabulary and merges of a byte-level BPE from a text. */

import { OptionError, readOptions, show } from "../../errors.ts";
import { encodeUtf8 } from "../bytes.ts";
import { type BpeTokenizer, bpe, byteAlphabet, ID_LIMIT, pairKey, splitter, words } from "./bpe.ts";
import { Heap } from "./merge.ts";

interface Word {
  symbols: number[];
  readonly count: number;
}

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
  const list: Word[] = Array.from(counts, ([word, count]) => ({
    symbols: Array.from(encodeUtf8("trainBpe", word)),
    count,
  }));

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
  const pairs = new Map<number, { count: number; words: Set<Word> }>();
  const heap = new Heap<{ key: number; count: number }>(
    (a, b) => a.count > b.count || (a.count === b.count && a.key < b.key),
  );
  const add = (key: number, word: Word, amount: number): void => {
    const entry = pairs.get(key) ?? { count: 0, words: new Set() };
    entry.count += amount;
    if (amount > 0) entry.words.add(word);
    pairs.set(key, entry);
  };
  const count = (word: Word, sign: 1 | -1, touched: Set<number>): void => {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const key = pairKey(word.symbols[i], word.symbols[i + 1]);
      add(key, word, sign * word.count);
      touched.add(key);
    }
  };
  const initial = new Set<number>();
  for (const word of list) count(word, 1, initial);
  for (const key of initial) heap.push({ key, count: pairs.get(key)!.count });

  while (tokens.length + marks.length < vocabSize) {
    const best = heap.pop();
    if (best === undefined || best.count < 2) break;
    const entry = pairs.get(best.key);
    // The count has changed since; its newer entry is in the heap too.
    if (entry?.count !== best.count) continue;
    const left = Math.floor(best.key / ID_LIMIT);
    const right = best.key % ID_LIMIT;
    const made = tokens.length;
    addToken(tokens[left] + tokens[right]);
    merges.push(`${tokens[left]} ${tokens[right]}`);
    const touched = new Set<number>();
    for (const word of entry.words) {
      count(word, -1, touched);
      word.symbols = replacePair(word.symbols, left, right, made);
      count(word, 1, touched);
    }
    for (const key of touched) {
      const { count: now } = pairs.get(key)!;
      if (now > 0) heap.push({ key, count: now });
      else pairs.delete(key);
    }
  }
  const vocab = Object.fromEntries([...tokens, ...marks].map((token, id) => [token, id]));
  return bpe({ vocab, merges, special: marks });
}

function replacePair(symbols: readonly number[], left: number, right: number, made: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(made);
      i++;
    } else out.push(symbols[i]);
  }
  return out;
}
