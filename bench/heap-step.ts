/** Run by bench/heap.bench.ts: a training step for each message, under the budget of the first argument in MiB. */

import { backendInfo, manualSeed, randint, setHeapBudget } from "../src/index.ts";
import { Gpt } from "../src/models/index.ts";
import { crossEntropy } from "../src/nn/index.ts";
import { adamw, optimizer } from "../src/optim/index.ts";
import { trainStep } from "../src/train/index.ts";

const [budget] = process.argv.slice(2);
if (budget !== "default") setHeapBudget(Number(budget) * 2 ** 20);
manualSeed(1);
const config = { vocabulary: 50257, context: 256, dim: 128, layers: 4, heads: 4 };
const model = new Gpt(config);
const update = optimizer(model, adamw({ lr: 1e-3 }));
const ids = randint(0, config.vocabulary, [16, config.context]);
process.on("message", () => {
  const start = performance.now();
  const loss = trainStep(model, update, (m) => crossEntropy(m.forward(ids), ids));
  const seconds = (performance.now() - start) / 1e3;
  process.send!({ seconds, loss, heap: backendInfo().heap });
});
