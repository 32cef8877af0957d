/** WordPiece as in BERT: basic tokenization, then the longest matching pieces of each word. Devlin et al., 2019, arXiv:1810.04805. */

import { FormatError, OptionError, readOptions, show } from "../../errors.ts";
import { encodeUtf8, linesOf } from "../bytes.ts";
import { eachId, oneId, type TokenDecoder, type Tokenizer } from "./tokenizer.ts";

export interface WordPieceTokenizer extends Tokenizer {
  /** The id of a token as the vocabulary writes it, such as "[CLS]" or "##ing", or undefined. */
  idOf(token: string): number | undefined;
}

const MAX_WORD = 100;
/** Marks that make a word too long, and those after them. */
const manyMarks = new RegExp(`(\\p{M}{${MAX_WORD + 1}})\\p{M}+`, "gu");

/** The blocks that BERT calls Chinese characters; each is a word of its own. */
const chinese =
  /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;
/** Control and format characters, unassigned and private ones too, less the three that count as white space. */
const control = /(?![\t\n\r])[\p{C}\uFFFD]/gu;
/** All that is not a letter, digit or space in ASCII, and Unicode's punctuation beyond it. */
const punctuation = /[!-/:-@[-`{-~\p{P}]/gu;

function splitWords(text: string, lowerCase: boolean): string[] {
  let clean = text.replace(control, "").replace(chinese, " $& ");
  // Putting a run of marks into canonical order takes the square of its length: those that go anyway go first, and others
  // beyond what a word may have.
  if (lowerCase)
    clean = clean
      .toLowerCase()
      .replace(/\p{Mn}/gu, "")
      .replace(manyMarks, "$1")
      .normalize("NFD")
      .replace(/\p{Mn}/gu, "");
  return clean
    .replace(punctuation, " $& ")
    .split(/[\t\n\r\p{Z}]+/u)
    .filter((word) => word !== "");
}

/**
 * WordPiece over BERT's vocab.txt (its text, or the list of its lines). `lowerCase`, on by default, is the uncased form, which
 * strips accents as well. A word that has no pieces, or more than 100 characters, becomes [UNK]. Ids have no [CLS] or [SEP];
 * decoding joins words by single spaces, so it gives back the words and not the spacing.
 * Throws FormatError for a vocabulary without [UNK] or with a repeated token.
 *
 * @example
 * ```ts
 * import { wordPiece } from "bitgrad/data";
 *
 * const tokenizer = wordPiece({ vocab: ["[UNK]", "low", "##er"] });
 * console.log(Array.from(tokenizer.encode("lower low high"))); // [1, 2, 1, 0]
 * ```
 */
export function wordPiece(options: {
  vocab: string | readonly string[];
  lowerCase?: boolean;
}): WordPieceTokenizer {
  const { vocab, lowerCase } = readOptions("wordPiece", options, {
    vocab: undefined as unknown as string | readonly string[],
    lowerCase: true,
  });
  const tokens = typeof vocab === "string" ? linesOf(vocab) : vocab;
  if (!Array.isArray(tokens) || !tokens.every((token) => typeof token === "string")) {
    throw new OptionError(`wordPiece: vocab must be the text of vocab.txt or its lines, got ${show(vocab)}`);
  }
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (ids.has(token)) {
      throw new FormatError(
        `wordPiece: a token stands twice in the vocabulary, got ${show(token)} on line ${id + 1}`,
      );
    }
    ids.set(token, id);
  });
  const unknown = ids.get("[UNK]");
  if (unknown === undefined) {
    throw new FormatError(`wordPiece: the vocabulary needs [UNK], got ${tokens.length} tokens without it`);
  }

  const encodeWord = (word: string): number[] => {
    const characters = [...word];
    if (characters.length > MAX_WORD) return [unknown];
    const out: number[] = [];
    for (let start = 0; start < characters.length; ) {
      let end = characters.length;
      let found: number | undefined;
      for (; end > start && found === undefined; end--) {
        found = ids.get((start > 0 ? "##" : "") + characters.slice(start, end).join(""));
      }
      if (found === undefined) return [unknown];
      out.push(found);
      start = end + 1;
    }
    return out;
  };

  const decoder = (): TokenDecoder => {
    let begun = false;
    return {
      push(id) {
        const token: string = tokens[oneId("wordPiece", id, tokens.length)];
        const part = token.startsWith("##") ? token.slice(2) : (begun ? " " : "") + token;
        begun ||= part !== "";
        return part;
      },
      end() {
        begun = false;
        return "";
      },
    };
  };

  return {
    vocabSize: tokens.length,
    idOf: (token) => ids.get(token),
    encode(text) {
      encodeUtf8("wordPiece", text);
      const out: number[] = [];
      for (const word of splitWords(text, lowerCase)) for (const id of encodeWord(word)) out.push(id);
      return Int32Array.from(out);
    },
    decode(given) {
      const parts: string[] = [];
      const { push } = decoder();
      eachId("wordPiece", given, tokens.length, (id) => parts.push(push(id)));
      return parts.join("");
    },
    decoder,
  };
}
