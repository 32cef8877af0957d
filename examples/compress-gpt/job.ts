/**
 * The main job without its screen: train a byte-level GPT on a text, compress it in several ways, fine-tune the hardest,
 * measure every one. Everything follows from the options: the same ones give the same numbers.
 */

import { noGrad, Rng, type RngState, scope, type Tensor, tensor } from "bitgrad";
import { save } from "bitgrad/io";
import { Gpt } from "bitgrad/models";
import { clone, crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import {
  adamw,
  cosine,
  everything,
  isBias,
  isNorm,
  type Optimizer,
  optimizer,
  schedule,
} from "bitgrad/optim";
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
import { trainStep } from "bitgrad/train";
import { Refusal, unigramEntropy } from "./corpus.ts";

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
  signal?: AbortSignal;
  resume?: Checkpoint;
  onPhase?(name: string, total: number): void;
  onStep?(step: StepReport): void;
}

export interface StepReport {
  /** Steps done of this phase. */
  done: number;
  loss: number;
  tokens: number;
}

/** A training as it stands: what is needed to go on from its step as if nothing had happened. */
export interface Training {
  model: Gpt;
  optimizer: ReturnType<Optimizer["stateDict"]>;
  step: number;
  rng: RngState;
  losses: number[];
}

/** An interrupted job: its float model, and once that is trained the 1-bit model in its fine-tune. */
export interface Checkpoint {
  float: Training;
  tuned?: Training;
}

export interface Row {
  name: string;
  bitsPerWeight: number;
  bytes: number;
  /** Mean nats a byte on the validation text, and its exponential. */
  loss: number;
  perplexity: number;
  tokensPerSecond: number;
  /** The model as a safetensors file. */
  file: Uint8Array;
}

export interface JobResult {
  parameters: number;
  unigram: number;
  /** Training losses by step. */
  curves: { name: string; losses: number[] }[];
  sample: string;
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

export const makeModel = ({ dim, layers, heads, context }: Sizes, seed: number): Gpt =>
  new Gpt({
    vocabulary: 256,
    context,
    dim,
    layers,
    heads,
    initStd: dim ** -0.5,
    rng: new Rng(`model ${seed}`),
  });

/** The model that is fine-tuned: the weights of `model`, rounded to one bit. */
export const makeTuned = (model: Gpt): Gpt => prepare(clone(model), planFor(binaryDynamic()));

/** Runs the job. Returns a checkpoint instead of a result when `signal` aborts it. */
export async function compressGpt(options: JobOptions): Promise<JobResult | Checkpoint> {
  const { text, steps, seed = 0, signal, resume, onPhase, onStep } = options;
  const size = options.sizes ?? sizes;
  const [training, validation] = split(text, size);
  const curves: JobResult["curves"] = [];

  const model = resume?.float.model ?? makeModel(size, seed);
  onPhase?.("train", steps);
  const float = await train(model, training, {
    steps,
    rate: 3e-3,
    seed: `train ${seed}`,
    size,
    signal,
    resume: resume?.float,
    onStep,
  });
  if (signal?.aborted) return { float, tuned: resume?.tuned };
  curves.push({ name: "float32", losses: float.losses });

  const prompt = Array.from(validation.subarray(0, 16));
  const generated = model.generate(prompt, {
    maxTokens: 240,
    temperature: 0.7,
    topK: 40,
    rng: new Rng(`sample ${seed}`),
  });
  const sample = new TextDecoder().decode(Uint8Array.from([...prompt, ...generated]));

  const variants: [string, Gpt][] = roundings.map(([name, config]) => [
    name,
    prepare(clone(model), planFor(config)),
  ]);
  const fineTuned = resume?.tuned?.model ?? makeTuned(model);
  const fineTuneSteps = Math.ceil(steps / 3);
  onPhase?.("fine-tune 1-bit", fineTuneSteps);
  const tuned = await train(fineTuned, training, {
    steps: fineTuneSteps,
    rate: 2e-3,
    seed: `tune ${seed}`,
    size,
    signal,
    resume: resume?.tuned,
    onStep,
  });
  if (signal?.aborted) return { float, tuned };
  curves.push({ name: "1-bit fine-tune", losses: tuned.losses });

  const compressed: [string, Gpt][] = [...variants, ["1-bit, fine-tuned", fineTuned]];
  onPhase?.("measure", compressed.length + 1);
  const file = await save(null, model);
  const rows = [
    rowOf(
      "float32",
      file,
      parameterCount(model) * 4,
      logitsOf(model),
      parameterCount(model),
      validation,
      size,
    ),
  ];
  const runnable: Runnable[] = [model];
  for (const [name, variant] of compressed) {
    // Not after freezing: what a checkpoint holds goes on training.
    if (signal?.aborted) return { float, tuned };
    const bytes = pack(evaluate(freeze(variant))).toBytes();
    // What is measured is what the file holds.
    const packed = loadPacked(bytes);
    runnable.push(packed);
    rows.push(
      rowOf(name, bytes, packed.byteLength, packedLogits(packed), parameterCount(model), validation, size),
    );
    onStep?.({ done: rows.length, loss: rows[rows.length - 1].loss, tokens: 0 });
    await breathe();
  }
  decodingSpeeds(runnable, size).forEach((speed, i) => {
    rows[i].tokensPerSecond = speed;
  });
  return { parameters: parameterCount(model), unigram: unigramEntropy(text), curves, sample, rows };
}

/** The last tenth validates. Throws for a text too short to cut a window from. */
function split(text: Uint8Array, { context }: Sizes): [Uint8Array, Uint8Array] {
  const cut = Math.floor(text.length * 0.9);
  if (text.length - cut <= context) {
    throw new Refusal(`the text needs at least ${(context + 1) * 10} bytes, got ${text.length}`);
  }
  return [text.subarray(0, cut), text.subarray(cut)];
}

interface TrainOptions extends Pick<JobOptions, "signal" | "onStep"> {
  resume?: Training;
  steps: number;
  rate: number;
  seed: string;
  size: Sizes;
}

async function train(model: Gpt, text: Uint8Array, options: TrainOptions): Promise<Training> {
  const { steps, rate, seed, size, signal, resume, onStep } = options;
  const rng = new Rng(seed);
  const update = optimizer(
    model,
    [
      [isNorm, adamw({ lr: rate, weightDecay: 0, betas: [0.9, 0.95] })],
      [isBias, adamw({ lr: rate, weightDecay: 0, betas: [0.9, 0.95] })],
      [everything, adamw({ lr: rate, weightDecay: 0.05, betas: [0.9, 0.95] })],
    ],
    { clipNorm: 1 },
  );
  const losses = [...(resume?.losses ?? [])];
  if (resume) {
    rng.state = resume.rng;
    update.loadStateDict(resume.optimizer);
  }
  const rates = schedule(update, cosine({ warmup: Math.ceil(steps / 20), total: steps, floor: 0.05 }));
  let step = resume?.step ?? 0;
  for (let k = 0; k < step; k++) rates.step();
  for (; step < steps && !signal?.aborted; step++) {
    const [x, y] = windows(text, size, () => rng.next());
    losses.push(trainStep(model, update, () => lossOf(model, x, y)));
    rates.step();
    onStep?.({ done: step + 1, loss: losses[losses.length - 1], tokens: x.size });
    await breathe();
  }
  return { model, optimizer: update.stateDict(), step, rng: rng.state, losses };
}

/** Lets signals and the screen through. */
const breathe = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A batch of windows and, one byte later, what comes next: two (B, T) tensors. */
function windows(text: Uint8Array, { batch, context }: Sizes, next: () => number): [Tensor, Tensor] {
  const x = new Int32Array(batch * context);
  const y = new Int32Array(batch * context);
  for (let b = 0; b < batch; b++) {
    const from = Math.floor(next() * (text.length - context - 1));
    x.set(text.subarray(from, from + context), b * context);
    y.set(text.subarray(from + 1, from + 1 + context), b * context);
  }
  return [tensor(x, { shape: [batch, context] }), tensor(y, { shape: [batch, context] })];
}

const lossOf = (model: Gpt, x: Tensor, y: Tensor): Tensor => crossEntropy(model.forward(x), y);

type Runnable = Pick<PackedModel, "generate">;
type Logits = (x: Tensor) => Tensor;

const logitsOf =
  (model: Gpt): Logits =>
  (x) =>
    evaluate(model).forward(x);

const packedLogits =
  (model: PackedModel): Logits =>
  (x) => {
    const { data, shape } = model.forward({ data: x.data as Int32Array, shape: x.shape });
    return tensor(data, { shape });
  };

/** The validation loss over evenly spaced windows, and the size. */
function rowOf(
  name: string,
  file: Uint8Array,
  bytes: number,
  logits: Logits,
  parameters: number,
  text: Uint8Array,
  size: Sizes,
): Row {
  const batches = 12;
  let at = 0;
  let loss = 0;
  for (let i = 0; i < batches; i++) {
    const [x, y] = windows(text, size, () => at++ / (batches * size.batch));
    loss += noGrad(() => scope(() => crossEntropy(logits(x), y).item())) / batches;
  }
  const bitsPerWeight = (bytes * 8) / parameters;
  return { name, bitsPerWeight, bytes, loss, perplexity: Math.exp(loss), tokensPerSecond: 0, file };
}

/** Tokens a second of greedy decoding: the median of rounds in which the models take turns, after one to warm up. */
function decodingSpeeds(models: readonly Runnable[], { context }: Sizes): number[] {
  const rounds = 6;
  const speeds = models.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    models.forEach((model, i) => {
      const start = performance.now();
      model.generate([32], { maxTokens: context - 1, temperature: 0 });
      if (round > 0) speeds[i].push(((context - 1) * 1000) / (performance.now() - start));
    });
  }
  return speeds.map((list) => list.sort((a, b) => a - b)[list.length >> 1]);
}

export const isCheckpoint = (result: JobResult | Checkpoint): result is Checkpoint => "float" in result;
