/** Scored BPE with byte fallback, as SentencePiece trains it for Llama, and the reader of llama2.c's tokenizer file. */

import { isBytes } from "../../dtype.ts";
import { FormatError, OptionError, readOptions, show } from "../../errors.ts";
import { decodeUtf8 } from "../../safetensors/utf8.ts";
import { encodeUtf8 } from "../bytes.ts";
import { mergePairs } from "./merge.ts";
import { bytesDecoder, eachId, oneId, type Tokenizer, textOf } from "./tokenizer.ts";

export interface SentencePieceTokenizer extends Tokenizer {
  /** The id that marks the beginning of a text. */
  readonly bos: number;
  /** The id that marks its end. */
  readonly eos: number;
  idOf(piece: string): number | undefined;
}

const UNKNOWN = 0;
const BOS = 1;
const EOS = 2;
const BYTES = 3;
const FIRST_PIECE = BYTES + 256;

/**
 * SentencePiece's BPE over `pieces` and their `scores`: ids 0, 1 and 2 are unknown, begin and end, 3 to 258 the bytes, and the
 * rest pieces, in which a space is a space. A text gets a space in front, each character becomes its piece (or its bytes), and
 * the neighbours whose union scores highest merge until none do. Decoding drops the marks and the space in front.
 *
 * @example
 * ```ts
 * import { sentencePieceBpe } from "bitgrad/data";
 *
 * const bytes = Array.from({ length: 256 }, (_, i) => `<${i}>`);
 * const pieces = ["<unk>", "<s>", "</s>", ...bytes, " ", "a", " a"];
 * const tokenizer = sentencePieceBpe({ pieces, scores: pieces.map(() => 0) });
 * console.log(Array.from(tokenizer.encode("aa"))); // [261, 260]
 * console.log(tokenizer.decode([261, 260])); // aa
 * ```
 */
export function sentencePieceBpe(options: {
  pieces: readonly string[];
  scores: ArrayLike<number>;
}): SentencePieceTokenizer {
  const { pieces, scores } = readOptions("sentencePieceBpe", options, {
    pieces: [] as readonly string[],
    scores: [] as ArrayLike<number>,
  });
  if (!Array.isArray(pieces) || pieces.length < FIRST_PIECE || pieces.length !== scores?.length) {
    throw new OptionError(
      `sentencePieceBpe: needs at least ${FIRST_PIECE} pieces and a score for each, got ${show(pieces)} and ${show(scores)}`,
    );
  }
  const ids = new Map<string, number>();
  for (let id = FIRST_PIECE; id < pieces.length; id++) {
    if (Number.isNaN(scores[id])) {
      throw new OptionError(`sentencePieceBpe: a score must be a number, got NaN for piece ${id}`);
    }
    if (!ids.has(pieces[id])) ids.set(pieces[id], id);
  }
  const found = new Map<number, number>();
  const merges = {
    find(left: number, right: number): number {
      if (left < FIRST_PIECE || right < FIRST_PIECE) return -1;
      const key = left * pieces.length + right;
      let merge = found.get(key);
      if (merge === undefined) {
        merge = ids.get(pieces[left] + pieces[right]) ?? -1;
        found.set(key, merge);
      }
      return merge;
    },
    rank: Float64Array.from(scores, (score) => -score),
    result: Int32Array.from(pieces, (_, id) => id),
  };
  const bytes = pieces.map((piece, id) => {
    if (id < BYTES) return new Uint8Array(0);
    return id < FIRST_PIECE ? Uint8Array.of(id - BYTES) : encodeUtf8("sentencePieceBpe", piece);
  });
  bytes[UNKNOWN] = encodeUtf8("sentencePieceBpe", "\u2047");

  return {
    vocabSize: pieces.length,
    bos: BOS,
    eos: EOS,
    idOf: (piece) => ids.get(piece),
    encode(text) {
      encodeUtf8("sentencePieceBpe", text);
      if (text === "") return new Int32Array(0);
      const symbols: number[] = [];
      for (const character of ` ${text}`) {
        const id = ids.get(character);
        if (id !== undefined) symbols.push(id);
        else for (const byte of encodeUtf8("sentencePieceBpe", character)) symbols.push(byte + BYTES);
      }
      return Int32Array.from(mergePairs(symbols, merges));
    },
    decode(given) {
      const out: Uint8Array[] = [];
      eachId("sentencePieceBpe", given, pieces.length, (id) => out.push(bytes[id]));
      const text = textOf(out);
      return text.startsWith(" ") ? text.slice(1) : text;
    },
    decoder() {
      const inner = bytesDecoder((id) => bytes[oneId("sentencePieceBpe", id, pieces.length)]);
      let begun = false;
      const part = (text: string): string => {
        const bare = !begun && text.startsWith(" ") ? text.slice(1) : text;
        begun ||= text !== "";
        return bare;
      };
      return {
        push: (id) => part(inner.push(id)),
        end() {
          const rest = part(inner.end());
          begun = false;
          return rest;
        },
      };
    },
  };
}

/**
 * llama2.c's tokenizer file: an int32, the longest piece in bytes, then for every piece a float32 score, an int32 length and
 * that many bytes, all little-endian. Throws FormatError for a file that is cut or not of this form.
 *
 * @example
 * ```ts data
 * import { readFile } from "node:fs/promises";
 * import { llama2cTokenizer } from "bitgrad/data";
 *
 * const path = `${process.env.BITGRAD_DATA}/weights/stories260k/tok512.bin`;
 * const tokenizer = llama2cTokenizer(await readFile(path));
 * console.log(tokenizer.decode(tokenizer.encode("Once upon a time"))); // Once upon a time
 * ```
 */
export function llama2cTokenizer(file: Uint8Array): SentencePieceTokenizer {
  if (!isBytes(file)) {
    throw new OptionError(`llama2cTokenizer: expected the bytes of the file, got ${show(file)}`);
  }
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const longest = file.length < 4 ? -1 : view.getInt32(0, true);
  const pieces: string[] = [];
  const scores: number[] = [];
  for (let at = 4; at < file.length; ) {
    const length = at + 8 <= file.length ? view.getInt32(at + 4, true) : -1;
    if (length < 0 || length > longest || at + 8 + length > file.length) {
      throw new FormatError(
        `llama2cTokenizer: a piece does not fit its file, got piece ${pieces.length} of length ${length} at byte ${at} of ${file.length}`,
      );
    }
    scores.push(view.getFloat32(at, true));
    pieces.push(decodeUtf8("llama2cTokenizer", file.subarray(at + 8, at + 8 + length)));
    at += 8 + length;
  }
  if (pieces.length < FIRST_PIECE || scores.some(Number.isNaN)) {
    throw new FormatError(
      `llama2cTokenizer: needs ${FIRST_PIECE} pieces with scores (marks and bytes), got ${pieces.length}`,
    );
  }
  return sentencePieceBpe({ pieces, scores });
}
