/** Byte-level BPE as in GPT-2 (Radford et al., 2019), over its two files. */

import { FormatError, isPlainObject, OptionError, readOptions, show } from "../../errors.ts";
import { encodeUtf8, linesOf, unmarked } from "../bytes.ts";
import { type Merges, mergePairs } from "./merge.ts";
import { bytesDecoder, eachId, oneId, type Tokenizer, textOf } from "./tokenizer.ts";

export interface BpeOptions {
  /** encoder.json: its text or the parsed object. */
  vocab: string | Readonly<Record<string, number>>;
  /** vocab.bpe: its text or its lines, "left right" a merge. */
  merges: string | readonly string[];
  /** Tokens that are recognised whole in a text, such as "<|endoftext|>". */
  special?: readonly string[];
}

export interface BpeTokenizer extends Tokenizer {
  /** The id of a token written in the files' alphabet (a leading space is Ġ), or undefined. */
  idOf(token: string): number | undefined;
  /** encoder.json: tokens and ids. */
  readonly vocab: Readonly<Record<string, number>>;
  /** vocab.bpe: "left right" a merge, the first to be merged first. */
  readonly merges: readonly string[];
}

/** Printable stand-ins for the 256 bytes: themselves where printable, else U+0100 and on, in byte order. */
export const byteAlphabet: readonly string[] = (() => {
  let spare = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCharCode(printable ? byte : spare++);
  });
})();
const byteOfLetter = new Map(byteAlphabet.map((letter, byte) => [letter, byte]));

/** GPT-2's split into words. White_Space is what \s means in its regular expressions; JavaScript's own \s differs. */
export const words =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

export const ID_LIMIT = 2 ** 26;
/** One number for a pair of ids, exact because ids stay below ID_LIMIT. */
export const pairKey = (left: number, right: number): number => left * ID_LIMIT + right;

function readVocab(vocab: unknown): Map<string, number> {
  let parsed: unknown = vocab;
  if (typeof vocab === "string") {
    try {
      parsed = JSON.parse(unmarked(vocab));
    } catch (error) {
      throw new FormatError(`bpe: the vocabulary is not JSON, got ${show(vocab)}`, { cause: error });
    }
  }
  if (!isPlainObject(parsed)) {
    throw new FormatError(`bpe: the vocabulary must be an object of ids by token, got ${show(parsed)}`);
  }
  const ids = new Map<string, number>();
  const taken = new Set<number>();
  for (const [token, id] of Object.entries(parsed)) {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= ID_LIMIT || taken.has(id)) {
      throw new FormatError(
        `bpe: ids must be distinct integers in [0, 2^26), got ${show(id)} for token ${show(token)}`,
      );
    }
    taken.add(id);
    ids.set(token, id);
  }
  return ids;
}

function readMerges(merges: unknown): string[] {
  const lines =
    typeof merges === "string"
      ? linesOf(merges).filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")))
      : merges;
  if (!Array.isArray(lines) || !lines.every((line) => typeof line === "string")) {
    throw new FormatError(
      `bpe: merges must be the text of vocab.bpe or a list of "left right", got ${show(merges)}`,
    );
  }
  return lines;
}

function indexMerges(lines: readonly string[], ids: ReadonlyMap<string, number>): Merges {
  const byPair = new Map<number, number>();
  const result = new Int32Array(lines.length);
  lines.forEach((line, i) => {
    const parts = line.split(" ");
    const [left, right, merged] = [parts[0], parts[1], parts.join("")].map((token) => ids.get(token));
    if (parts.length !== 2 || left === undefined || right === undefined || merged === undefined) {
      throw new FormatError(
        `bpe: a merge must name two tokens whose union is a token, got ${show(line)} as merge ${i}`,
      );
    }
    result[i] = merged;
    const key = pairKey(left, right);
    if (!byPair.has(key)) byPair.set(key, i);
  });
  return {
    find: (left, right) => byPair.get(pairKey(left, right)) ?? -1,
    rank: Int32Array.from(lines, (_, i) => i),
    result,
  };
}

function bytesOf(token: string): Uint8Array | null {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfLetter.get(token[i]);
    if (byte === undefined) return null;
    bytes[i] = byte;
  }
  return bytes;
}

/**
 * Splits a text so that the special tokens stand at the odd places; the longest first where one begins with another. Throws
 * OptionError unless they are distinct texts.
 */
export function splitter(op: string, marks: readonly string[]): RegExp {
  if (
    !Array.isArray(marks) ||
    !marks.every((mark) => typeof mark === "string" && mark !== "") ||
    new Set(marks).size < marks.length
  ) {
    throw new OptionError(`${op}: special must be a list of distinct texts, got ${show(marks)}`);
  }
  if (marks.length === 0) return /(?!)/;
  const longestFirst = [...marks].sort((a, b) => b.length - a.length);
  // Under the flag u nothing but syntax may be escaped.
  return new RegExp(
    `(${longestFirst.map((mark) => mark.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})`,
    "u",
  );
}

const CACHED_WORDS = 50_000;

/**
 * Byte-level BPE from GPT-2's two files. The letters of a special token that is not named in `special` are encoded like any
 * others. Throws FormatError where the files disagree.
 *
 * @example
 * ```ts
 * import { bpe } from "bitgrad/data";
 *
 * const tokenizer = bpe({ vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] });
 * console.log(Array.from(tokenizer.encode("aba"))); // [2, 0]
 * ```
 */
export function bpe(options: BpeOptions): BpeTokenizer {
  const {
    vocab,
    merges,
    special: marks = [],
  } = readOptions<BpeOptions>("bpe", options, {
    vocab: undefined as unknown as string,
    merges: undefined as unknown as string,
    special: undefined,
  });
  const ids = readVocab(vocab);
  const lines = readMerges(merges);
  const rules = indexMerges(lines, ids);
  const split = splitter("bpe", marks);
  const whole = new Set(marks);
  for (const mark of marks) {
    if (!ids.has(mark)) {
      throw new OptionError(`bpe: a special token must be in the vocabulary, got ${show(mark)}`);
    }
  }

  const byteIds = byteAlphabet.map((letter) => ids.get(letter));
  const pieces = new Map<number, Uint8Array>();
  let vocabSize = 0;
  for (const [token, id] of ids) {
    const bytes = whole.has(token) ? encodeUtf8("bpe", token) : bytesOf(token);
    if (bytes === null) {
      throw new FormatError(
        `bpe: a token has a letter outside the byte alphabet, got ${show(token)}; name it in special`,
      );
    }
    pieces.set(id, bytes);
    vocabSize = Math.max(vocabSize, id + 1);
  }

  const pieceOf = (id: number): Uint8Array => {
    const piece = pieces.get(id);
    if (piece === undefined) throw new OptionError(`bpe: the vocabulary has no token of this id, got ${id}`);
    return piece;
  };

  const cache = new Map<string, readonly number[]>();
  const encodeWord = (word: string): readonly number[] => {
    const known = cache.get(word);
    if (known !== undefined) return known;
    const bytes = encodeUtf8("bpe", word);
    const symbols = Array.from(bytes, (byte) => {
      const id = byteIds[byte];
      if (id === undefined) throw new FormatError(`bpe: the vocabulary has no token for a byte, got ${byte}`);
      return id;
    });
    const merged = mergePairs(symbols, rules);
    if (cache.size >= CACHED_WORDS) cache.clear();
    if (word.length < 64) cache.set(word, merged);
    return merged;
  };

  return {
    vocabSize,
    vocab: Object.fromEntries(ids),
    merges: lines,
    idOf: (token) => ids.get(token),
    encode(text) {
      encodeUtf8("bpe", text);
      const out: number[] = [];
      text.split(split).forEach((part, i) => {
        if (i % 2 === 1) out.push(ids.get(part)!);
        else for (const [word] of part.matchAll(words)) for (const id of encodeWord(word)) out.push(id);
      });
      return Int32Array.from(out);
    },
    decode(given) {
      const out: Uint8Array[] = [];
      eachId("bpe", given, vocabSize, (id) => out.push(pieceOf(id)));
      return textOf(out);
    },
    decoder: () => bytesDecoder((id) => pieceOf(oneId("bpe", id, vocabSize))),
  };
}
