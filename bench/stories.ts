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
}

export function readStories(data: string): Stories {
  const read = (name: string) => new Uint8Array(readFileSync(`${data}/weights/stories260k/${name}`));
  const expected: Expected = JSON.parse(new TextDecoder().decode(read("expected.json")));
  const tokenizer = llama2cTokenizer(read("tok512.bin"));
  const texts = readFileSync(`${data}/tinystories/sample.txt`, "utf8")
    .split("\n")
    .filter((line) => line.length > 120)
    .slice(0, expected.perplexity.lines)
    .map((line) => [tokenizer.bos, ...tokenizer.encode(line).slice(0, 200)]);
  return { model: readLlama2c(read("stories260K.bin")), tokenizer, expected, texts };
}

/** The summed negative log-likelihood of a text's tokens after its first. */
export const textLoss = (model: Llama, text: readonly number[]): number =>
  noGrad(() =>
    scope(() =>
      crossEntropy(model.forward([text.slice(0, -1)]), [text.slice(1)], { reduction: "sum" }).item(),
    ),
  );
