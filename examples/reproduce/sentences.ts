/** Small BERTs that tell what a sentence is: their data, their training, and how often they are right. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { manualSeed, noGrad, Rng, scope, type Tensor, tensor } from "bitgrad";
import { encodeBatch, lengthBatches, sst2, type TextSet, trec, wordPiece } from "bitgrad/data";
import { load, save } from "bitgrad/io";
import { Bert } from "bitgrad/models";
import { crossEntropy, evaluate } from "bitgrad/nn";
import { adamw, cosine, optimizer } from "bitgrad/optim";
import { fit } from "bitgrad/train";
import type { Setting } from "./experiment.ts";

/** How long a model is trained, and by what highest learning rate. */
export interface Training {
  readonly epochs: number;
  readonly lr: number;
  /** Default: 6 layers of width 128. */
  readonly size?: Size;
  /** Of a batch's logits; default: the cross entropy with the labels. */
  readonly loss?: (logits: Tensor, batch: Sentences) => Tensor;
}

/** A data set of sentences. Its training is what the experiment `sentence-settings` found best on sentences held out. */
interface Source extends Training {
  readonly classes: number;
  read(): Promise<{ train: TextSet; scored: TextSet }>;
}

const sources = {
  trec: {
    classes: 6,
    epochs: 8,
    lr: 1.5e-3,
    read: async () => ({ train: await trec(), scored: await trec({ split: "test" }) }),
  },
  sst2: {
    classes: 2,
    epochs: 4,
    lr: 1e-3,
    read: async () => ({ train: await sst2(), scored: await sst2({ split: "dev" }) }),
  },
} satisfies Record<string, Source>;

/** Raised where training would give other weights. */
const version = 2;

export type SourceName = keyof typeof sources;

/** Sentences as ids (B, T) and a mask (B, 1, 1, T), true where there is text, with the class of each. */
export interface Sentences {
  readonly ids: Tensor;
  readonly mask: Tensor;
  readonly y: Tensor;
}

export const logitsOf = (model: Bert, { ids, mask }: Sentences): Tensor => model.forward(ids, { mask });

export interface Data {
  readonly vocabulary: number;
  /** All training sentences once, those of about one length together. */
  train(rng: Rng): Sentences[];
  readonly scored: readonly Sentences[];
}

const context = 32;
const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
const [padId, , bosId, eosId] = special.map((_, id) => id);

/** Words that are seen twice or more, and single characters, of which every other word is made. */
function vocabularyOf(texts: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const word of texts.join(" ").split(" ")) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words = [...counts].filter(([, n]) => n >= 2).map(([word]) => word);
  const characters = [...new Set(texts.join(""))].flatMap((c) => [c, `##${c}`]);
  return [...new Set([...special, ...characters, ...words])];
}

interface Labelled {
  readonly text: string[];
  readonly y: number[];
}

const lowered = ({ text, y }: TextSet, most: number): Labelled => ({
  text: text.slice(0, most).map((each) => each.toLowerCase()),
  y: Array.from(y.data, Number).slice(0, most),
});

const chosen = ({ text, y }: Labelled, is: (index: number) => boolean): Labelled => ({
  text: text.filter((_, i) => is(i)),
  y: y.filter((_, i) => is(i)),
});

/** Every tenth training sentence is scored, and not trained on. */
export const heldOutOf = (train: Labelled): { train: Labelled; scored: Labelled } => ({
  train: chosen(train, (i) => i % 10 !== 9),
  scored: chosen(train, (i) => i % 10 === 9),
});

async function readData(name: SourceName, quick: boolean, heldOut: boolean): Promise<Data> {
  const given = await sources[name].read();
  const all = lowered(given.train, quick ? 256 : Infinity);
  const { train, scored } = heldOut
    ? heldOutOf(all)
    : { train: all, scored: lowered(given.scored, quick ? 64 : Infinity) };
  const tokenizer = wordPiece({ vocab: vocabularyOf(train.text) });
  const batchesOf = ({ text, y }: Labelled, tokens: number, rng: Rng | null): Sentences[] => {
    const lengths = text.map((each) => Math.min(context, tokenizer.encode(each).length + 2));
    return lengthBatches(lengths, { tokens, rng }).map((rows) => {
      const texts = Array.from(rows, (row) => text[row]);
      const { ids, mask } = encodeBatch(tokenizer, texts, { padId, bosId, eosId, maxLength: context });
      return { ids, mask: mask.unsqueeze(1).unsqueeze(1), y: tensor(Int32Array.from(rows, (row) => y[row])) };
    });
  };
  return {
    vocabulary: tokenizer.vocabSize,
    train: (rng) => batchesOf(train, 512, rng),
    scored: batchesOf(scored, 2048, null),
  };
}

const read = new Map<string, Promise<Data>>();

export function dataOf(name: SourceName, { quick }: Pick<Setting, "quick">): Promise<Data> {
  const key = `${name} ${quick}`;
  const data = read.get(key) ?? readData(name, quick, false);
  read.set(key, data);
  return data;
}

export interface Size {
  readonly dim: number;
  readonly layers: number;
}

const large: Size = { dim: 128, layers: 6 };
/** Less than a fifth of the parameters, most of them in the table of words. */
export const small: Size = { dim: 32, layers: 3 };

/** Tiny ones for a quick run. */
const newModel = (
  name: SourceName,
  { vocabulary }: Data,
  { seed, quick }: Setting,
  attempt = 0,
  size = large,
): Bert => {
  const dim = quick ? size.dim / 4 : size.dim;
  return new Bert({
    vocabulary,
    context,
    dim,
    layers: quick ? 1 : size.layers,
    heads: 4,
    feedForward: 2 * dim,
    dropout: 0.1,
    initStd: dim ** -0.5 / 2,
    head: "classifier",
    classes: sources[name].classes,
    rng: new Rng(`weights ${seed}${attempt > 0 ? ` again ${attempt}` : ""}`),
  });
};

/** Whether training got away from guessing: the mean of the last losses is well below that of equal chances. */
const learned = (losses: readonly number[], classes: number): boolean => {
  const last = losses.slice(-50);
  return last.reduce((a, b) => a + b, 0) / last.length < 0.85 * Math.log(classes);
};

const ofLabels = (logits: Tensor, { y }: Sentences): Tensor => crossEntropy(logits, y);

/**
 * A model that is trained from nothing. A seed draws its first weights, dropout and the order of the sentences; weights that
 * training leaves at guessing are drawn again.
 */
async function train(
  name: SourceName,
  data: Data,
  setting: Setting,
  { epochs: most, lr, size, loss = ofLabels }: Training,
): Promise<Bert> {
  const { seed, quick, signal } = setting;
  const epochs = quick ? 1 : most;
  const total = epochs * data.train(new Rng(0)).length;
  // Whatever was drawn before.
  manualSeed(seed);
  for (let attempt = 0; ; attempt++) {
    const model = newModel(name, data, setting, attempt, size);
    const order = new Rng(`order ${seed}`);
    const { losses } = await fit(model, {
      // `fit` begins an iteration for every epoch: each time another order.
      data: { [Symbol.iterator]: () => data.train(order)[Symbol.iterator]() },
      loss: (bert, batch) => ({ loss: loss(logitsOf(bert, batch), batch), count: batch.y.size }),
      optimizer: optimizer(model, adamw({ lr, weightDecay: 0.01 }), { clipNorm: 1 }),
      schedule: cosine({ warmup: Math.ceil(total / 10), total, floor: 0.05 }),
      epochs,
      signal,
    });
    signal.throwIfAborted();
    if (quick || learned(losses, sources[name].classes)) return evaluate(model);
  }
}

/** Trains a model on a data set, and keeps it beside the checkpoints of cells for others to read. */
export async function trainOn(name: SourceName, setting: Setting): Promise<Bert> {
  const model = await train(name, await dataOf(name, setting), setting, sources[name]);
  await save(fileOf(name, setting), model);
  return model;
}

const fileOf = (name: SourceName, { seed, quick, checkpoint }: Setting): string =>
  join(dirname(checkpoint), `sentences-${name}${quick ? "-quick" : ""}-${seed}-v${version}.safetensors`);

/** A smaller model, trained as long and as fast, and not kept. */
export const studentOn = async (name: SourceName, setting: Setting, loss?: Training["loss"]): Promise<Bert> =>
  train(name, await dataOf(name, setting), setting, {
    ...sources[name],
    size: small,
    ...(loss && { loss }),
  });

/** What `trainOn` gives, read where it was trained before. */
export async function trainedOn(name: SourceName, setting: Setting): Promise<Bert> {
  const path = fileOf(name, setting);
  if (!existsSync(path)) return trainOn(name, setting);
  return evaluate(await load(path, { into: newModel(name, await dataOf(name, setting), setting) }));
}

/** The share of sentences whose class a model finds. */
async function share(model: Bert, scored: readonly Sentences[], signal: AbortSignal): Promise<number> {
  let right = 0;
  let count = 0;
  for (const batch of scored) {
    signal.throwIfAborted();
    const found = noGrad(() => scope(() => [...logitsOf(model, batch).argmax({ axis: 1 }).data].map(Number)));
    right += found.filter((each, i) => each === batch.y.data[i]).length;
    count += found.length;
  }
  return right / count;
}

/** The share of the scored sentences whose class a model finds. */
export const accuracyOf = async (model: Bert, name: SourceName, setting: Setting): Promise<number> =>
  share(model, (await dataOf(name, setting)).scored, setting.signal);

/** That of a model trained in some way, on every tenth training sentence, which it was not trained on. */
export async function heldOutAccuracy(
  name: SourceName,
  training: Training,
  setting: Setting,
): Promise<number> {
  const data = await readData(name, setting.quick, true);
  return share(await train(name, data, setting, training), data.scored, setting.signal);
}
