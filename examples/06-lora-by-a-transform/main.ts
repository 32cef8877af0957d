/**
 * LoRA by a transform: a trained network is frozen, and a few numbers beside it learn a new task. Hu et al., 2021,
 * arXiv:2106.09685.
 *
 * You learn: how a transform is put on parameters by path, how it brings parameters of its own, how to train these alone,
 * and how what they learned is merged into plain weights. Quantizers and masks are transforms as well.
 * Time: 5 seconds. Data: none.
 *
 *   npx tsx examples/06-lora-by-a-transform/main.ts
 */

import assert from "node:assert/strict";
import { noGrad, randn, relu, Rng, type Tensor, zeros } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import {
  clone,
  crossEntropy,
  evaluate,
  Linear,
  namedParameters,
  Parameter,
  parameterCount,
  parametrize,
  removeParametrization,
  Sequential,
  setTrainable,
  type Transform,
} from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { accuracy, fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const [examples, epochs] = quick ? [1000, 4] : [4000, 6];

/** What layers use in the place of a weight W (out, in): W + (scale/rank)·B·A, with A (rank, in) and B (out, rank). */
class Lora implements Transform {
  readonly a: Parameter;
  readonly b: Parameter;
  readonly factor: number;

  constructor(weight: Parameter, rank: number, scale: number, rng: Rng) {
    const [outputs, inputs] = weight.shape;
    this.a = new Parameter(randn([rank, inputs], { rng }).div(Math.sqrt(inputs)));
    this.b = new Parameter(zeros([outputs, rank])); // so that the model is at first the one that was trained
    this.factor = scale / rank;
  }

  apply(weight: Tensor): Tensor {
    return weight.add(this.b.effective().matmul(this.a.effective()).mul(this.factor));
  }
}

type Net = { forward(x: Tensor): Tensor };
type Set = { x: Tensor; y: Tensor };

// Task 1: noisy digits of 12 × 12 pixels. Task 2: such digits in a mirror.
const mirrored = ({ x, y }: Set): Set => ({ x: x.reshape([-1, 12, 12]).flip(2).reshape([-1, 144]), y });
const digits = (name: string, count: number) => glyphs({ count, rng: new Rng(name) });
const [first, firstTest] = [digits("first", examples), digits("first test", 1000)];
const [second, secondTest] = [mirrored(digits("second", examples)), mirrored(digits("second test", 1000))];

const learn = (model: Net, set: Set, lr: number) =>
  fit(model, {
    data: loader({ ...set }, { batch: 50, shuffle: true, rng: new Rng("order") }),
    loss: (net, { x, y }) => crossEntropy(net.forward(x), y),
    optimizer: optimizer(model, adamw({ lr })),
    epochs,
  });
const score = (model: Net, { x, y }: Set): number => noGrad(() => accuracy(evaluate(model).forward(x), y));

const rng = new Rng("weights");
const base = new Sequential(new Linear(144, 96, { rng }), relu, new Linear(96, 10, { rng }));
await learn(base, first, 3e-3);
const before = [score(base, firstTest), score(base, secondTest)];
console.log(`trained: task 1 ${before[0]}, task 2 ${before[1]}`);

// Freeze everything, then put an adapter on every weight. The factory makes one for each; its parameters are found as
// "0.weight.transforms.0.a" and so on, and are trainable, since they came after the freezing.
const adapted = clone(base);
setTrainable(adapted, "**", false);
parametrize(adapted, "*.weight", (weight) => new Lora(weight, 4, 8, new Rng("adapters")));
const trainable = namedParameters(adapted).filter(([, parameter]) => parameter.trainable);
const count = trainable.reduce((sum, [, { size }]) => sum + size, 0);
console.log(trainable.map(([name]) => name));
console.log(`${count} of ${parameterCount(adapted)} numbers are trained`);
assert.equal(score(adapted, firstTest), before[0], "B is 0, so that nothing has changed yet");

await learn(adapted, second, 1e-2);
const after = score(adapted, secondTest);
console.log(`adapted: task 2 ${after}`);

// The frozen weights are what they were, to the bit: one base serves many tasks, each a few kilobytes.
const frozen = namedParameters(base).map(([name, { value }]) => [name, [...value.data]]);
const now = new Map(namedParameters(adapted));
assert.deepEqual(
  namedParameters(base).map(([name]) => [name, [...now.get(name)!.value.data]]),
  frozen,
);

// Merging bakes W + (scale/rank)·B·A into the weight and takes the transform off: a plain model of the same speed.
const merged = clone(adapted);
removeParametrization(merged, "**");
assert.deepEqual(
  namedParameters(merged).map(([name]) => name),
  namedParameters(base).map(([name]) => name),
);
const difference = noGrad(() =>
  merged.forward(secondTest.x).sub(adapted.forward(secondTest.x)).abs().max().item(),
);
assert.equal(difference, 0, "the merged model must compute what the adapted one does");
assert(after > (quick ? 0.6 : 0.9) && after > before[1] + 0.3, `task 2: ${before[1]} before, ${after} after`);
console.log(`shown: ${count} numbers took task 2 from ${before[1]} to ${after}; the merged model equals it`);
