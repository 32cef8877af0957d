/**
 * A small BERT, trained from nothing, tells whether a sentence of a film review is for the film or against it (SST-2).
 *
 * You learn: how a vocabulary is made from a text, how sentences of unequal length become batches of little padding
 * (`lengthBatches`, `encodeBatch`), how attention is kept off the padding, how `fit` keeps the best weights.
 * Time: 40 seconds. Data: SST-2, read from the folder BITGRAD_DATA or downloaded (1 MB).
 *
 *   npx tsx examples/04-bert-classifier/main.ts
 */

import assert from "node:assert/strict";
import { noGrad, Rng, scope, type Tensor, tensor } from "bitgrad";
import { encodeBatch, lengthBatches, sst2, type TextSet, wordPiece } from "bitgrad/data";
import { Bert } from "bitgrad/models";
import { crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import { adamw, linear, optimizer } from "bitgrad/optim";
import { accuracy, consoleLogger, fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const [dim, layers, epochs, tokens, lr] = quick ? [32, 1, 2, 512, 4e-3] : [64, 2, 3, 1024, 2e-3];

const all = await sst2({ progress: true });
const train = quick ? { text: all.text.slice(0, 3000), y: all.y.slice([[0, 3000]]) } : all;
const dev = await sst2({ split: "dev" });

// WordPiece takes a word whole where the vocabulary has it, else in pieces, "##" before all but the first. Here: words seen
// three times or more, and single characters, of which every other word is made.
const counts = new Map<string, number>();
for (const word of train.text.join(" ").split(" ")) counts.set(word, (counts.get(word) ?? 0) + 1);
const words = [...counts].filter(([, n]) => n >= 3).map(([word]) => word);
const characters = [...new Set(train.text.join(""))].flatMap((c) => [c, `##${c}`]);
const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
const tokenizer = wordPiece({ vocab: [...new Set([...special, ...characters, ...words])] });
const [padId, , bosId, eosId] = special.map((_, id) => id);
console.log(`${tokenizer.vocabSize} tokens`);

interface Sentences {
  ids: Tensor;
  mask: Tensor;
  y: Tensor;
}

/** All sentences once, those of about one length together: a batch is padded to its longest. */
function* batches(set: Pick<TextSet, "text" | "y">, most: number, rng: Rng | null): Generator<Sentences> {
  const maxLength = 64;
  const lengths = set.text.map((text) => Math.min(maxLength, tokenizer.encode(text).length + 2));
  for (const rows of lengthBatches(lengths, { tokens: most, rng })) {
    const texts = Array.from(rows, (row) => set.text[row]);
    const { ids, mask } = encodeBatch(tokenizer, texts, { padId, bosId, eosId, maxLength });
    yield { ids, mask, y: tensor(Int32Array.from(rows, (row) => set.y.data[row])) };
  }
}
const shuffling = new Rng("order");
// `fit` begins an iteration for every epoch: each time another order.
const training = { [Symbol.iterator]: () => batches(train, tokens, shuffling) };
const validation = [...batches(dev, 4096, null)];

const model = new Bert({
  vocabulary: tokenizer.vocabSize,
  context: 64,
  dim,
  layers,
  heads: 4,
  dropout: quick ? 0 : 0.2,
  initStd: dim ** -0.5,
  head: "classifier",
  classes: 2,
  rng: new Rng("weights"),
});
console.log(`${parameterCount(model)} parameters`);

/** Logits (B, 2). The mask (B, T) is true where there is text; of shape (B, 1, 1, T) it serves all heads and positions. */
const logits = (bert: Bert, { ids, mask }: Sentences): Tensor =>
  bert.forward(ids, { mask: mask.unsqueeze(1).unsqueeze(1) });

const steps = [...batches(train, tokens, new Rng(0))].length * epochs;
const { best } = await fit(model, {
  data: training,
  // Batches differ in their number of sentences. With a count, measures over the validation set are means over sentences.
  loss: (bert, batch) => ({ loss: crossEntropy(logits(bert, batch), batch.y), count: batch.y.size }),
  optimizer: optimizer(model, adamw({ lr, weightDecay: 0.01 }), { clipNorm: 1 }),
  schedule: linear({ start: 1, end: 0.05, total: steps }),
  epochs,
  validation: { data: validation },
  metrics: {
    accuracy: (bert, batch) => ({ value: accuracy(logits(bert, batch), batch.y), count: batch.y.size }),
  },
  earlyStopping: { metric: "accuracy", mode: "max" }, // also: puts the best weights back at the end
  logger: consoleLogger({ every: 40 }),
});

evaluate(model);
const positive = (text: string): number =>
  scope(() =>
    noGrad(() => {
      const { ids, mask } = encodeBatch(tokenizer, [text], { padId, bosId, eosId, maxLength: 64 });
      return logits(model, { ids, mask, y: ids }).softmax().select(0).select(1).item();
    }),
  );
const good = positive("a warm , funny and beautiful film .");
const bad = positive("a dull , lifeless and stupid mess .");
console.log(`"warm, funny": ${good.toFixed(2)} positive; "dull, stupid": ${bad.toFixed(2)}`);

// Whoever always says the more frequent class is right this often:
const share = dev.y.mean().item();
const majority = Math.max(share, 1 - share);
const reached = best!.values.accuracy;
assert(reached > majority + (quick ? 0.1 : 0.2), `accuracy ${reached}, the majority class ${majority}`);
assert(good > bad + 0.1, `got ${good} for praise and ${bad} for blame`);
console.log(
  `shown: accuracy ${reached.toFixed(3)}, where always the majority class has ${majority.toFixed(3)}`,
);
