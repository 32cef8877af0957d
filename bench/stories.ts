/** The trained stories260k of a BITGRAD_DATA folder, with what an independent program computed with it. */

import { readFileSync } from "node:fs";
import { noGrad, scope } from "bitgrad";
import { llama2cTokenizer, type SentencePieceTokenizer } from "bitgrad/data";
import { type Llama, readLlama2c } from "bitgrad/models";
import { crossEntropy } from "bitgrad/nn";

interface Expected {
  readonly greedy: { start: number; steps: number; tokens: number[]; text: string };
  readonly first_step_logits: number[];
  readonly teacher_forced: { tokens_after_bos: number[]; last_logits: number[] };
  readonly perplexity: { lines: number; tokens: number; mean_nll: number };
}

export interface Stories {
  readonly model: Llama;
  readonly tokenizer: SentencePieceTokenizer;
  readonly expected: Expected;
  /** The texts whose perplexity is known, each with the mark of its beginning. */
  readonly texts: number[][];
  /** Paragraphs of the stories after those. */
  readonly others: readonly string[];
}

export function readStories(data: string): Stories {
  const read = (name: string) => new Uint8Array(readFileSync(`${data}/weights/stories260k/${name}`));
  const expected: Expected = JSON.parse(new TextDecoder().decode(read("expected.json")));
  const tokenizer = llama2cTokenizer(read("tok512.bin"));
  const lines = readFileSync(`${data}/tinystories/sample.txt`, "utf8").split("\n");
  const isLong = (line: string) => line.length > 120;
  const scored = lines.filter(isLong).slice(0, expected.perplexity.lines);
  const end = lines.indexOf("<|endoftext|>", lines.indexOf(scored[scored.length - 1]));
  // The last story is cut.
  const others = lines.slice(end, lines.lastIndexOf("<|endoftext|>")).filter(isLong);
  return {
    model: readLlama2c(read("stories260K.bin")),
    tokenizer,
    expected,
    texts: scored.map((line) => textOf(tokenizer, line)),
    others: others.filter((line) => !scored.includes(line)),
  };
}

/** A paragraph as the perplexity is measured on: at most 200 tokens behind the mark of a beginning. */
export const textOf = (tokenizer: SentencePieceTokenizer, line: string): number[] => [
  tokenizer.bos,
  ...tokenizer.encode(line).slice(0, 200),
];

/** The summed negative log-likelihood of a text's tokens after its first. */
export const textLoss = (model: Llama, text: readonly number[]): number =>
  noGrad(() =>
    scope(() =>
      crossEntropy(model.forward([text.slice(0, -1)]), [text.slice(1)], { reduction: "sum" }).item(),
    ),
  );
