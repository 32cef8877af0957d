/**
 * A GPT that writes Shakespeare letter by letter, trained from nothing by `fit`.
 *
 * You learn: how text becomes batches of windows, how `fit` validates and logs, how text is sampled. What the model is
 * worth is measured against a table that knows which letter follows which, so that the number means something.
 * Time: 35 seconds. Data: tiny Shakespeare, read from the folder BITGRAD_DATA or downloaded (1 MB).
 *
 *   npx tsx examples/03-char-gpt/main.ts
 */

import assert from "node:assert/strict";
import { Rng, randint, type Tensor, tensor } from "bitgrad";
import { charTokenizer, tinyShakespeare } from "bitgrad/data";
import { Gpt } from "bitgrad/models";
import { crossEntropy, parameterCount } from "bitgrad/nn";
import { adamw, cosine, everything, isBias, isNorm, optimizer } from "bitgrad/optim";
import { consoleLogger, fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const sizes = quick
  ? { context: 32, dim: 32, layers: 1, heads: 2, batch: 16, steps: 150 }
  : { context: 64, dim: 96, layers: 3, heads: 4, batch: 16, steps: 360 };
const { context, dim, layers, heads, batch, steps } = sizes;

// Each of the 65 characters is a token. The last tenth of the text is kept for validation.
const text = await tinyShakespeare({ progress: true });
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
const cut = Math.floor(0.9 * ids.length);
const [seen, unseen] = [ids.subarray(0, cut), ids.subarray(cut)];

/** Windows of `context` tokens x, and beside each token the one that follows it y. */
function windows(from: Int32Array, starts: readonly number[]): { x: Tensor; y: Tensor } {
  const take = (shift: number) =>
    tensor(Int32Array.from(starts.flatMap((at) => [...from.subarray(at + shift, at + shift + context)])));
  const shape = [starts.length, context];
  return { x: take(0).reshape(shape), y: take(1).reshape(shape) };
}

/** Data for `fit` is whatever can be iterated. This one never ends, so `fit` is told a number of steps. */
function* randomWindows(rng: Rng) {
  for (;;) yield windows(seen, Array.from(randint(0, seen.length - context, [batch], { rng }).data));
}
// Validation reads windows side by side, the same ones each time.
const held = Array.from({ length: quick ? 4 : 10 }, (_, part) =>
  windows(
    unseen,
    Array.from({ length: 32 }, (_, i) => (32 * part + i) * context),
  ),
);

// Small models begin with larger weights than GPT-2's 0.02.
const config = { vocabulary: tokenizer.vocabSize, context, dim, layers, heads, initStd: dim ** -0.5 };
const model = new Gpt({ ...config, rng: new Rng("weights") });
console.log(`${parameterCount(model)} parameters`);

const { validations } = await fit(model, {
  data: randomWindows(new Rng("windows")),
  loss: (gpt, { x, y }) => crossEntropy(gpt.forward(x).reshape([-1, config.vocabulary]), y.flatten()),
  // Biases and gains of norms are not pulled to 0. Rows are tried in turn; the first that takes a parameter has it.
  optimizer: optimizer(
    model,
    [
      [isBias, adamw({ lr: 3e-3, weightDecay: 0 })],
      [isNorm, adamw({ lr: 3e-3, weightDecay: 0 })],
      [everything, adamw({ lr: 3e-3, weightDecay: 0.1 })],
    ],
    { clipNorm: 1 },
  ),
  schedule: cosine({ warmup: 20, total: steps, floor: 0.1 }),
  steps,
  validation: { data: held, every: steps / 3 },
  logger: consoleLogger({ every: 50 }),
});
const loss = validations.at(-1)!.values.loss;

// A sample: low temperature for words that exist. A decoder joins tokens to text as they come.
const decoder = tokenizer.decoder();
let sample = "";
model.generate(tokenizer.encode("\n"), {
  maxTokens: 300,
  temperature: 0.7,
  rng: new Rng("sample"),
  onToken: (id) => {
    sample += decoder.push(id);
  },
});
console.log(`\n${sample}\n`);

/** The loss of the best table of `order` letters before the next one, counted on the training text. */
function tableLoss(order: 0 | 1): number {
  const size = config.vocabulary;
  const counts = new Float64Array(size ** (order + 1)).fill(0.1); // nothing is impossible
  const at = (of: Int32Array, i: number) => (order === 0 ? of[i] : size * of[i - 1] + of[i]);
  for (let i = 1; i < seen.length; i++) counts[at(seen, i)]++;
  let sum = 0;
  for (let i = 1; i < unseen.length; i++) {
    const row = order === 0 ? 0 : size * unseen[i - 1];
    const all = counts.subarray(row, row + size).reduce((a, b) => a + b);
    sum -= Math.log(counts[at(unseen, i)] / all);
  }
  return sum / (unseen.length - 1);
}
const table = tableLoss(quick ? 0 : 1);
assert(loss < table - 0.1, `the loss ${loss} must lie well below that of the table, ${table}`);
console.log(
  `shown: validation loss ${loss.toFixed(3)}; of counted ${quick ? "letters" : "pairs of letters"} ${table.toFixed(3)}`,
);
