/**
 * The main job without its screen: train a byte-level GPT on a text, compress it in several ways, fine-tune the hardest,
 * measure every one. Everything follows from the options: the same ones give the same numbers.
 */

import { Rng, type Tensor, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import { save } from "bitgrad/io";
import { Gpt } from "bitgrad/models";
import { clone, crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import { adamw, cosine, everything, isBias, isNorm, optimizer } from "bitgrad/optim";
import { loadPacked, type PackedModel } from "bitgrad/packed";
import {
  binaryDynamic,
  freeze,
  int4Dynamic,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import { Refusal, type Run, type TrainOptions } from "../run.ts";
import { unigramEntropy } from "./corpus.ts";
import { decodingSpeeds, lossOf, type Measured, sampleOf } from "./measure.ts";

export interface Sizes {
  dim: number;
  layers: number;
  heads: number;
  context: number;
  batch: number;
}

export const sizes: Sizes = { dim: 64, layers: 2, heads: 4, context: 64, batch: 8 };

export interface JobOptions {
  text: Uint8Array;
  /** Steps of the float model; the fine-tune takes a third as many. */
  steps: number;
  seed?: number;
  sizes?: Sizes;
}

export interface Row {
  name: string;
  bitsPerWeight: number;
  bytes: number;
  /** Mean nats a byte on the validation text, and its exponential. */
  loss: number;
  perplexity: number;
  tokensPerSecond: number;
  /** What it writes after the prompt. */
  sample: string;
  /** The model as a safetensors file. */
  file: Uint8Array;
}

export interface JobResult {
  parameters: number;
  unigram: number;
  /** Training losses by step. */
  curves: { name: string; losses: readonly number[] }[];
  /** What every model goes on from. */
  prompt: string;
  rows: Row[];
}

/** Compressed by rounding alone, the inputs of every product to int8: one line each. */
const roundings: readonly (readonly [name: string, config: QuantConfig])[] = [
  ["int8", int8Dynamic()],
  ["int4, groups of 32", int4Dynamic({ group: 32 })],
  ["ternary", ternaryDynamic()],
  ["1-bit", binaryDynamic()],
];

/** The tables of tokens and positions keep 8 bits: rounding them further costs much and saves little. */
const planFor = (config: QuantConfig) =>
  plan({ default: config, rules: [["{token,position}.weight", int8Dynamic()]] });

/** Runs the job. Throws the reason of the run's signal where that is aborted; checkpoints then hold what was trained. */
export async function compressGpt(
  { text, steps, seed = 0, sizes: size = sizes }: JobOptions,
  { train, progress, signal }: Pick<Run, "train" | "progress" | "signal">,
): Promise<JobResult> {
  const [training, validation] = split(text, size);
  const { dim, layers, heads, context } = size;
  const model = new Gpt({
    vocabulary: 256,
    context,
    dim,
    layers,
    heads,
    initStd: dim ** -0.5,
    rng: new Rng(`model ${seed}`),
  });
  const recipe = (net: Gpt, steps: number, rate: number, rng: Rng) =>
    recipeFor(net, windows(training, size, rng), steps, rate);
  const float = await train("train", model, recipe(model, steps, 3e-3, new Rng(`train ${seed}`)));

  const fineTuned = prepare(clone(model), planFor(binaryDynamic()));
  const fewer = Math.ceil(steps / 3);
  const tuned = await train(
    "fine-tune 1-bit",
    fineTuned,
    recipe(fineTuned, fewer, 2e-3, new Rng(`tune ${seed}`)),
  );

  const compressed: [string, Gpt][] = [
    ...roundings.map(([name, config]): [string, Gpt] => [name, prepare(clone(model), planFor(config))]),
    ["1-bit, fine-tuned", fineTuned],
  ];
  const count = parameterCount(model);
  const prompt = promptOf(validation, size);
  const shown = progress("measure");
  const measured: Measured[] = [];
  const rows: Row[] = [];
  const measure = async (name: string, subject: Measured, bytes: number, file: Uint8Array) => {
    const loss = lossOf(subject, validation, size);
    const sample = sampleOf(subject, prompt, new Rng(`sample ${seed}`));
    measured.push(subject);
    const bitsPerWeight = (bytes * 8) / count;
    rows.push({
      name,
      bitsPerWeight,
      bytes,
      loss,
      perplexity: Math.exp(loss),
      tokensPerSecond: 0,
      sample,
      file,
    });
    await shown.log({ step: rows.length, of: compressed.length + 1, epoch: 0, values: { loss } });
    // Lets signals and the screen through.
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  };
  await measure("float32", floatModel(model), count * 4, await save(null, model));
  for (const [name, variant] of compressed) {
    const file = pack(evaluate(freeze(variant))).toBytes();
    // What is measured is what the file holds.
    const packed = loadPacked(file);
    await measure(name, packedModel(packed), packed.byteLength, file);
  }
  decodingSpeeds(measured, size).forEach((speed, i) => {
    rows[i].tokensPerSecond = speed;
  });
  await shown.close?.();
  const curves = [
    { name: "float32", losses: float.losses },
    { name: "1-bit fine-tune", losses: tuned.losses },
  ];
  const decoded = new TextDecoder().decode(prompt);
  return { parameters: count, unigram: unigramEntropy(text), curves, prompt: decoded, rows };
}

/** The last tenth validates. Throws for a text too short to cut a window from. */
function split(text: Uint8Array, { context }: Sizes): [Uint8Array, Uint8Array] {
  const cut = Math.floor(text.length * 0.9);
  if (text.length - cut <= context) {
    throw new Refusal(`the text needs at least ${(context + 1) * 10} bytes, got ${text.length}`);
  }
  return [text.subarray(0, cut), text.subarray(cut)];
}

/** Batches of windows of the text in random order: x and, one byte later, what comes next, two (B, T) tensors. */
function windows(text: Uint8Array, { batch, context }: Sizes, rng: Rng) {
  const ids = Int32Array.from(text);
  const get = (i: number) => ({
    x: ids.subarray(i, i + context),
    y: ids.subarray(i + 1, i + 1 + context),
  });
  return loader({ length: ids.length - context, get }, { batch, shuffle: true, rng, dropLast: true });
}

type Windows = ReturnType<typeof windows>;
type WindowBatch = { x: Tensor; y: Tensor };

function recipeFor(model: Gpt, data: Windows, steps: number, lr: number): TrainOptions<Gpt, WindowBatch> {
  const rule = (weightDecay: number) => adamw({ lr, weightDecay, betas: [0.9, 0.95] });
  const rows = [
    [isNorm, rule(0)],
    [isBias, rule(0)],
    [everything, rule(0.05)],
  ] as const;
  return {
    data,
    loss: (net, { x, y }) => crossEntropy(net.forward(x), y),
    optimizer: optimizer(model, rows, { clipNorm: 1 }),
    schedule: cosine({ warmup: Math.ceil(steps / 20), total: steps, floor: 0.05 }),
    steps,
  };
}

/** Half of what a model reads at once, from where the first whole line of the validation text begins that is not empty. */
function promptOf(text: Uint8Array, { context }: Sizes): Uint8Array {
  const line = text.findIndex((byte, i) => byte !== 10 && text[i - 1] === 10);
  const length = context >> 1;
  const from = Math.min(Math.max(line, 0), text.length - length);
  return text.subarray(from, from + length);
}

const floatModel = (model: Gpt): Measured => ({
  logits: (x) => evaluate(model).forward(x),
  generate: (prompt, options) => model.generate(prompt, options),
});

const packedModel = (model: PackedModel): Measured => ({
  logits(x) {
    const { data, shape } = model.forward({ data: x.data as Int32Array, shape: x.shape });
    return tensor(data, { shape });
  },
  generate: (prompt, options) => model.generate(prompt, options),
});
