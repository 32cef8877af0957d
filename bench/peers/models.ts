/** The two networks that are trained, with weights that every library begins from. */

import { Rng } from "../../src/random/rng.ts";
import { type Block, draw, type GptProblem, type MlpProblem, sizeOf } from "./library.ts";

const filled = (shape: readonly number[], value: number): Block => ({
  shape,
  data: new Float32Array(sizeOf(shape)).fill(value),
});

const draws = (count: number, below: number, seed: string): Int32Array<ArrayBuffer> => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: count }, () => Math.floor(rng.next() * below));
};

export function mlpProblem(): MlpProblem {
  const sizes = [784, 512, 512, 10];
  const parameters: Record<string, Block> = {};
  for (let i = 1; i < sizes.length; i++) {
    const [to, from] = [sizes[i], sizes[i - 1]];
    parameters[`${2 * (i - 1)}.weight`] = draw([to, from], `w${i}`, 1 / Math.sqrt(from));
    parameters[`${2 * (i - 1)}.bias`] = draw([to], `b${i}`, 1 / Math.sqrt(from));
  }
  return {
    ...{ sizes, parameters, lr: 0.01, momentum: 0.9 },
    x: draw([64, sizes[0]], "x"),
    labels: draws(64, sizes.at(-1)!, "labels"),
  };
}

type GptSizes = Pick<GptProblem, "vocabulary" | "context" | "dim" | "heads" | "layers" | "feedForward">;

const small: GptSizes = { vocabulary: 96, context: 128, dim: 128, heads: 4, layers: 4, feedForward: 512 };

export function gptProblem(sizes = small): GptProblem {
  const config = { ...sizes, eps: 1e-5 };
  const { vocabulary, context, dim, layers, feedForward } = config;
  const parameters: Record<string, Block> = {};
  const weight = (name: string, to: number, from: number) => {
    parameters[`${name}.weight`] = draw([to, from], name, 0.1);
  };
  const linear = (name: string, to: number, from: number) => {
    weight(name, to, from);
    parameters[`${name}.bias`] = draw([to], `${name}.bias`, 0.1);
  };
  const norm = (name: string) => {
    parameters[`${name}.weight`] = filled([dim], 1);
    parameters[`${name}.bias`] = filled([dim], 0);
  };
  weight("token", vocabulary, dim);
  weight("position", context, dim);
  for (let i = 0; i < layers; i++) {
    for (const part of ["query", "key", "value", "out"]) linear(`blocks.${i}.attention.${part}`, dim, dim);
    linear(`blocks.${i}.mlp.up`, feedForward, dim);
    linear(`blocks.${i}.mlp.down`, dim, feedForward);
    norm(`blocks.${i}.norm1`);
    norm(`blocks.${i}.norm2`);
  }
  norm("norm");
  weight("head", vocabulary, dim);
  const batch = 8;
  return {
    ...config,
    ...{ parameters, batch },
    ids: draws(batch * context, vocabulary, "ids"),
    labels: draws(batch * context, vocabulary, "labels"),
    adam: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01 },
  };
}
