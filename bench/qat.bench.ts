/**
 * Steps of training with quantizers beside the same steps in float32: `npm run bench -- qat [--write]`. A ratio of 0.9 says
 * that a quantized step takes 1 / 0.9 of the time. On one thread, then on two.
 */

import { manualSeed, randint, randn, setThreads, type Tensor } from "../src/index.ts";
import { Gpt, ResNet } from "../src/models/index.ts";
import { crossEntropy, Linear, Sequential } from "../src/nn/index.ts";
import { adamw, optimizer, sgd, type UpdateRule } from "../src/optim/index.ts";
import {
  binarySigns,
  binaryWeightOnly,
  calibrate,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  nf4WeightOnly,
  plan,
  prepare,
  type QuantConfig,
  ternaryWeightOnly,
} from "../src/quant/index.ts";
import { trainStep } from "../src/train/index.ts";
import { pair, showRatio, writeResults } from "./pair.ts";
import { type ComparedRow, writePage } from "./table.ts";

interface Net {
  forward(x: Tensor): unknown;
}

/** What is trained, anew for each side, and on what. */
interface Task {
  readonly unit: string;
  readonly count: number;
  make(): { model: Net; rule: UpdateRule; x: Tensor; targets: Tensor };
}

const relu = (x: Tensor): Tensor => x.relu();
const gpt: Task = {
  unit: "token",
  count: 8 * 128,
  make: () => ({
    model: new Gpt({ vocabulary: 96, context: 128, dim: 128, layers: 4, heads: 4, activation: "gelu" }),
    rule: adamw({ lr: 1e-3 }),
    x: randint(0, 96, [8, 128]),
    targets: randint(0, 96, [8, 128]),
  }),
};
const mlp: Task = {
  unit: "image",
  count: 64,
  make: () => ({
    model: new Sequential(new Linear(784, 512), relu, new Linear(512, 512), relu, new Linear(512, 10)),
    rule: sgd({ lr: 0.01, momentum: 0.9 }),
    x: randn([64, 784]),
    targets: randint(0, 10, [64]),
  }),
};
const resnet: Task = {
  unit: "image",
  count: 32,
  make: () => ({
    model: new ResNet(ResNet.configs.resnet20),
    rule: sgd({ lr: 0.01, momentum: 0.9 }),
    x: randn([32, 3, 32, 32]),
    targets: randint(0, 10, [32]),
  }),
};

/** How many times the time of the step in float32: at most, and to reach for. */
type Most = readonly [required: number, reach: number];
const weights: Most = [1.08, 1.04];
const inputs: Most = [1.2, 1.1];
const rows: readonly [name: string, task: Task, config: QuantConfig, most: Most][] = [
  ["GPT, int8 weights", gpt, int8WeightOnly(), weights],
  ["GPT, int4 weights in groups", gpt, int4WeightOnly(), weights],
  ["GPT, nf4 weights", gpt, nf4WeightOnly(), weights],
  ["GPT, ternary weights", gpt, ternaryWeightOnly(), weights],
  ["GPT, 1-bit weights", gpt, binaryWeightOnly(), weights],
  ["GPT, int8 by int8, dynamic", gpt, int8Dynamic(), inputs],
  ["GPT, int8 by uint8, static", gpt, int8Static(), inputs],
  ["GPT, 1 bit by 1 bit", gpt, binarySigns(), [1.3, 1.1]],
  ["MLP, int8 weights", mlp, int8WeightOnly(), [1.4, 1.2]],
  ["ResNet-20, int8 weights", resnet, int8WeightOnly(), [1.05, 1.02]],
];

/** One step, of a model that takes the config, or of floats. */
async function stepOf({ make }: Task, config: QuantConfig | null): Promise<() => void> {
  manualSeed(1);
  const { model, rule, x, targets } = make();
  if (config !== null) prepare(model, plan({ default: config }));
  if (config?.input?.().observer) await calibrate(model, [x]);
  const update = optimizer(model, rule);
  return () => void trainStep(model, update, (m) => crossEntropy(m.forward(x) as Tensor, targets));
}

const bound = (most: number): number => Number((1 / most).toFixed(3));

const results: ComparedRow[] = [];
for (const threads of [1, 2]) {
  await setThreads(threads);
  for (const [row, task, config, [required, reach]] of rows) {
    const name = threads === 1 ? row : `${row}, ${threads} threads`;
    const sides = [
      { name: "float32", run: await stepOf(task, null), result: () => [] },
      { name: "quantized", run: await stepOf(task, config), result: () => [] },
    ];
    const result = await pair(sides[0], sides[1], { tolerance: 0, seconds: 6 });
    const { a, b, ratio, interval, load } = result;
    const times = `float32 ${(a * 1e3).toFixed(1)} ms, quantized ${(b * 1e3).toFixed(1)} ms`;
    console.log(name.padEnd(40), times, showRatio(result), `${(1 / ratio).toFixed(2)} times the time`);
    results.push({
      ...{ name, unit: `${task.unit}/s`, work: task.count, load },
      ...{ required: bound(required), reach: bound(reach) },
      peers: [{ peer: "float32", native: false, ratio, interval, a, b }],
    });
  }
}
await setThreads(1);
if (process.argv.includes("--write")) {
  writeResults("qat", results, { threads: 2 });
  writePage();
}
