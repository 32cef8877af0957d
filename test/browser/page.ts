/**
 * What the page does: trains a small classifier, saves and loads it, samples from a GPT, runs packed models,
 * shares work with a thread, and posts it.
 */

import { backendInfo, manualSeed, Rng, randn, scope, setThreads, type Tensor } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import { load, save } from "bitgrad/io";
import { Gpt, generate } from "bitgrad/models";
import { crossEntropy, Linear, Sequential } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import * as training from "bitgrad/train";
import { memoryIsShared } from "../../kernels/wasm/heap.ts";
import { pool } from "../../kernels/wasm/threads.ts";
import { word } from "../../kernels/wasm/worker.ts";
import { packedReport } from "./packed.ts";

/** The same numbers on one thread and on as many of two as there are. */
async function share() {
  const numbers = () => {
    manualSeed(2);
    return scope(() =>
      randn([300, 400])
        .matmul(randn([400, 500]))
        .gelu()
        .softmax(-1),
    ).data;
  };
  const alone = numbers();
  await setThreads(2);
  const shared = numbers();
  const { threads, reason } = backendInfo();
  const jobs = pool.words[word.job] ?? 0;
  await setThreads(1);
  return { threads, reason, jobs, sameBits: shared.every((value, i) => value === alone[i]) };
}

async function work() {
  manualSeed(1);
  const make = () => new Sequential(new Linear(144, 32), (x: Tensor) => x.relu(), new Linear(32, 10));
  const model = make();
  const train = glyphs({ count: 1000, rng: new Rng("train") });
  const { losses } = await training.fit(model, {
    data: loader(train, { batch: 50, shuffle: true, rng: new Rng("order") }),
    loss: (net, { x, y }) => crossEntropy(net.forward(x), y),
    optimizer: optimizer(model, adamw({ lr: 1e-2 })),
    epochs: 5,
  });
  const test = glyphs({ count: 200, rng: new Rng("test") });
  const scores = scope(() => model.forward(test.x));

  const copy = make();
  await load(await save(null, model), { into: copy });
  const restored = copy.forward(test.x).data.every((value, i) => value === scores.data[i]);

  const gpt = new Gpt({ vocabulary: 11, context: 16, dim: 16, layers: 1, heads: 2 });
  const tokens = generate(gpt, [1, 2, 3], { maxTokens: 4 });
  const accuracy = training.accuracy(scores, test.y);
  return { losses, accuracy, restored, tokens, packed: packedReport() };
}

const failure = (error: unknown) => ({ error: String((error as Error).stack ?? error) });
const results = await work().catch(failure);
const { name, reason } = backendInfo();
const body = {
  ...results,
  shared: await share(),
  isolated: crossOriginIsolated,
  sharedMemory: name === "simd" && memoryIsShared(),
  backend: { name, reason },
};
await fetch(location.pathname, { method: "POST", body: JSON.stringify(body) });
