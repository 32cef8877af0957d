/** The one interface of all tokenizers, and the two that need no vocabulary file. */

import { OptionError, show } from "../../errors.ts";
import { decodeUtf8Loosely, encodeUtf8, looseDecoder } from "../bytes.ts";

export interface Tokenizer {
  /** Ids run from 0 to `vocabSize - 1`. */
  readonly vocabSize: number;
  /** The ids of a text, without any begin or end mark. Throws OptionError for half a surrogate pair. */
  encode(text: string): Int32Array;
  /** The text of ids. Throws OptionError for an id outside the vocabulary. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes ids as they come, one text after another. */
  decoder(): TokenDecoder;
}

/** The parts of a text that ids complete, for `onToken`: joined they are what `decode` gives for all ids at once. */
export interface TokenDecoder {
  /** The whole characters that `id` completes; "" while there are none. Throws OptionError for an id outside the vocabulary. */
  push(id: number): string;
  /** What is left: U+FFFD for a character that the last ids cut. The next `push` begins another text. */
  end(): string;
}

/** The ids one by one, each an integer in [0, vocabSize) or an OptionError. */
export function eachId(
  op: string,
  ids: ArrayLike<number>,
  vocabSize: number,
  visit: (id: number) => void,
): void {
  if (typeof ids !== "object" || ids === null || !Number.isInteger(ids.length)) {
    throw new OptionError(`${op}: ids must be a list of numbers, got ${show(ids)}`);
  }
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new OptionError(
        `${op}: an id must be an integer in [0, ${vocabSize}), got ${show(id)} at index ${i}`,
      );
    }
    visit(id);
  }
}

/** A decoder of ids that are bytes of UTF-8. */
export function bytesDecoder(bytesOf: (id: number) => Uint8Array): TokenDecoder {
  const utf8 = looseDecoder();
  return { push: (id) => utf8.decode(bytesOf(id), { stream: true }), end: () => utf8.decode() };
}

/** The id, checked. */
export function oneId(op: string, id: number, vocabSize: number): number {
  eachId(op, [id], vocabSize, () => {});
  return id;
}

/** Byte strings joined and read as UTF-8, U+FFFD where the ids cut a character. */
export function textOf(pieces: readonly Uint8Array[]): string {
  let size = 0;
  for (const piece of pieces) size += piece.length;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return decodeUtf8Loosely(bytes);
}

/**
 * Every UTF-8 byte is its own id, 0 to 255. Needs no vocabulary and loses nothing.
 *
 * @example
 * ```ts
 * import { byteTokenizer } from "bitgrad/data";
 *
 * const tokenizer = byteTokenizer();
 * console.log(Array.from(tokenizer.encode("hé"))); // [104, 195, 169]
 * console.log(tokenizer.decode([104, 195, 169])); // hé
 * ```
 */
export function byteTokenizer(): Tokenizer {
  return {
    vocabSize: 256,
    encode: (text) => Int32Array.from(encodeUtf8("byteTokenizer", text)),
    decode(ids) {
      const bytes: number[] = [];
      eachId("byteTokenizer", ids, 256, (id) => bytes.push(id));
      return decodeUtf8Loosely(Uint8Array.from(bytes));
    },
    decoder: () => bytesDecoder((id) => Uint8Array.of(oneId("byteTokenizer", id, 256))),
  };
}

export interface CharTokenizer extends Tokenizer {
  /** The characters in id order, in ascending code point order. Give it to `charTokenizer` to have the same ids again. */
  readonly alphabet: string;
}

/**
 * The characters (code points) of a sample text or of an alphabet, numbered in code point order.
 * Encoding a character that the sample lacks is an OptionError.
 *
 * @example
 * ```ts
 * import { charTokenizer } from "bitgrad/data";
 *
 * const tokenizer = charTokenizer("hello");
 * console.log(tokenizer.vocabSize, tokenizer.decode(tokenizer.encode("hole"))); // 4 hole
 * ```
 */
export function charTokenizer(sample: string): CharTokenizer {
  encodeUtf8("charTokenizer", sample);
  const characters = [...new Set(sample)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const idOf = new Map(characters.map((character, id) => [character, id]));
  return {
    vocabSize: characters.length,
    alphabet: characters.join(""),
    encode(text) {
      encodeUtf8("charTokenizer", text);
      const ids = new Int32Array(text.length);
      let n = 0;
      for (const character of text) {
        const id = idOf.get(character);
        if (id === undefined) {
          throw new OptionError(
            `charTokenizer: the alphabet lacks a character, got ${show(character)}; build the tokenizer from a text that has it`,
          );
        }
        ids[n++] = id;
      }
      return ids.slice(0, n);
    },
    decode(ids) {
      const text: string[] = [];
      eachId("charTokenizer", ids, characters.length, (id) => text.push(characters[id]));
      return text.join("");
    },
    decoder: () => ({
      push: (id) => characters[oneId("charTokenizer", id, characters.length)],
      end: () => "",
    }),
  };
}
