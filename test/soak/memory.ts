/**
 * `npm run soak:memory`: trains quantized models and models of images for 10,000 steps each, or as many as are named, and
 * fails where memory grows after the first tenth. Under `--expose-gc`; prints a line of JSON for each model.
 */

import { backendInfo, memory, Rng, randint, randn, type Tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { BatchNorm2d, Conv2d, crossEntropy, Linear, Sequential } from "bitgrad/nn";
import { adamw, optimizer, sgd } from "bitgrad/optim";
import { binarySigns, int8Dynamic, plan, prepare } from "bitgrad/quant";
import { trainStep } from "bitgrad/train";

declare const gc: () => void;

/** What is held after a collection: by the engine, and on the heap in blocks and as a whole. */
async function held() {
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  const { bytes, reserved } = backendInfo().heap;
  return { engine: heapUsed + external, blocks: bytes, reserved, ...memory() };
}

function gpt(quantize: (model: Gpt) => Gpt): () => void {
  const sizes = { vocabulary: 32, context: 16, dim: 32, layers: 1, heads: 2 };
  const model = quantize(new Gpt({ ...sizes, rng: new Rng(1) }));
  const update = optimizer(model, adamw({ lr: 1e-3 }));
  const ids = randint(0, 32, [2, 16], { rng: new Rng(2) });
  return () => void trainStep(model, update, (m) => crossEntropy(m.forward(ids), ids));
}

function images(quantize: (model: Sequential) => Sequential): () => void {
  const rng = new Rng(3);
  const model = new Sequential(
    new Conv2d(3, 8, 3, { padding: 1, rng }),
    new BatchNorm2d(8),
    (x: Tensor) => x.relu().maxPool2d(2),
    new Conv2d(8, 8, 3, { padding: 1, rng }),
    new BatchNorm2d(8),
    (x: Tensor) => x.relu().avgPool2d(4).flatten({ start: 1 }),
    new Linear(8, 4, { rng }),
  );
  const update = optimizer(quantize(model), sgd({ lr: 0.01, momentum: 0.9 }));
  const x = randn([4, 3, 8, 8], { rng });
  const classes = randint(0, 4, [4], { rng });
  return () => void trainStep(model, update, (m) => crossEntropy(m.forward(x) as Tensor, classes));
}

const steps = Number(process.argv[2] ?? 10_000);
if (!(Number.isInteger(steps) && steps >= 20))
  throw new Error(`soak: needs 20 steps or more, got ${process.argv[2]}`);
const int8 = plan({ default: int8Dynamic() });
const trainings: Record<string, () => () => void> = {
  "int8 QAT of a Gpt": () => gpt((model) => prepare(model, int8)),
  images: () => images((model) => model),
  "int8 QAT of images": () => images((model) => prepare(model, int8)),
  "1-bit QAT of images": () => images((model) => prepare(model, plan({ default: binarySigns() }))),
};
for (const [name, make] of Object.entries(trainings)) {
  const step = make();
  let early = await held();
  for (let i = 1; i <= steps; i++) {
    step();
    if (i === Math.ceil(steps / 10)) early = await held();
    if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const late = await held();
  // Used until here, so that the engine does not collect the model before.
  step();
  console.log(JSON.stringify({ name, steps, early, late }));
  const { engine } = late;
  // The heap to the byte; the engine keeps feedback and code as it likes.
  const grows = [
    ...(["blocks", "bytes", "reserved", "tensors", "pinned", "peak"] as const).filter(
      (of) => late[of] !== early[of],
    ),
    ...(engine > early.engine * 1.1 ? ["engine"] : []),
  ];
  if (grows.length > 0) {
    console.error(`${name}: ${grows.join(", ")} changed between ${steps / 10} and ${steps} steps`);
    process.exitCode = 1;
  }
}
