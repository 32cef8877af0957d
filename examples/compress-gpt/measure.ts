/** What is measured of a model, be it of floats or packed: its loss, what it writes, how fast it writes. */

import { noGrad, type Rng, scope, type Tensor, tensor } from "bitgrad";
import type { GenerateOptions } from "bitgrad/models";
import { crossEntropy } from "bitgrad/nn";
import type { Sizes } from "./job.ts";

export interface Measured {
  /** (B, T) ids -> (B, T, 256). */
  logits(x: Tensor): Tensor;
  generate(
    prompt: ArrayLike<number>,
    options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens">,
  ): number[];
}

/** The mean loss in nats a byte, over evenly spaced windows of the text. */
export function lossOf({ logits }: Measured, text: Uint8Array, { batch, context }: Sizes): number {
  const batches = 12;
  const rows = batches * batch;
  const cut = (first: number, shift: number) => {
    const ids = new Int32Array(batch * context);
    for (let b = 0; b < batch; b++) {
      const from = Math.floor(((first + b) / rows) * (text.length - context - 1)) + shift;
      ids.set(text.subarray(from, from + context), b * context);
    }
    return tensor(ids, { shape: [batch, context] });
  };
  let loss = 0;
  for (let first = 0; first < rows; first += batch) {
    loss += noGrad(() => scope(() => crossEntropy(logits(cut(first, 0)), cut(first, 1)).item())) / batches;
  }
  return loss;
}

/** What the model writes after the prompt, as text. */
export const sampleOf = (model: Measured, prompt: Uint8Array, rng: Rng): string =>
  new TextDecoder().decode(
    Uint8Array.from(model.generate(prompt, { maxTokens: 240, temperature: 0.7, topK: 40, rng })),
  );

/** Tokens a second of greedy decoding: the median of rounds in which the models take turns, after some to warm up. */
export function decodingSpeeds(models: readonly Measured[], { context }: Sizes): number[] {
  const [warmUp, rounds] = [8, 9];
  const speeds = models.map(() => [] as number[]);
  for (let round = 0; round < warmUp + rounds; round++) {
    models.forEach((model, i) => {
      const start = performance.now();
      model.generate([32], { maxTokens: context - 1, temperature: 0 });
      if (round >= warmUp) speeds[i].push(((context - 1) * 1000) / (performance.now() - start));
    });
  }
  return speeds.map((list) => list.sort((a, b) => a - b)[list.length >> 1]);
}
