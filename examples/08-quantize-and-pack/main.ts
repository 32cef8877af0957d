/**
 * One trained network in 8, 4, 1.58 and 1 bits a weight: what each width costs in accuracy and saves in bytes, rounded as it
 * is and trained on through the rounding. The packed files are then run without gradients.
 *
 * You learn: `prepare`, `freeze`, `pack`, `loadPacked`, and when training through the rounding is worth it.
 * Time: 20 seconds. Data: MNIST, read from the folder BITGRAD_DATA or downloaded (10 MB).
 *
 *   npx tsx examples/08-quantize-and-pack/main.ts
 */

import assert from "node:assert/strict";
import { noGrad, Rng, scope, type Tensor } from "bitgrad";
import { loader, mnist } from "bitgrad/data";
import { save } from "bitgrad/io";
import { mlp } from "bitgrad/models";
import { clone, crossEntropy, evaluate } from "bitgrad/nn";
import { adamw, cosine, optimizer } from "bitgrad/optim";
import { loadPacked, type PackedModel } from "bitgrad/packed";
import {
  binaryWeightOnly,
  freeze,
  int4WeightOnly,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryWeightOnly,
} from "bitgrad/quant";
import { accuracy, fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const [examples, tests, epochs] = quick ? [3000, 1000, 3] : [20_000, 10_000, 3];

type Net = { forward(x: Tensor): Tensor };
const flat = (x: Tensor): Tensor => x.reshape([-1, 784]).div(255);
const part = { train: await mnist({ progress: true }), test: await mnist({ split: "test" }) };
const train = { x: part.train.x.slice([[0, examples]]), y: part.train.y.slice([[0, examples]]) };
const test = { x: flat(part.test.x.slice([[0, tests]])), y: part.test.y.slice([[0, tests]]) };

const learn = (net: Net, lr: number) =>
  fit(net, {
    data: loader(train, { batch: 50, shuffle: true, rng: new Rng("order") }),
    loss: (model, { x, y }) => crossEntropy(model.forward(flat(x)), y),
    optimizer: optimizer(net, adamw({ lr })),
    schedule: cosine({ total: (epochs * examples) / 50 }),
    epochs,
  });
const score = (net: Net): number =>
  scope(() => noGrad(() => accuracy(evaluate(net).forward(test.x), test.y)));

/** The same measure of a packed model: typed arrays in, typed arrays out, no tensors. */
function packedScore(model: PackedModel): number {
  const { data } = model.forward({ data: test.x.data, shape: [tests, 784] });
  const rows = Array.from({ length: tests }, (_, i) => data.subarray(10 * i, 10 * i + 10));
  return rows.filter((row, i) => row.indexOf(Math.max(...row)) === test.y.data[i]).length / tests;
}

const float = mlp([784, 128, 10], { rng: new Rng("weights") });
await learn(float, 4e-3);
const floatScore = score(float);
const floatBytes = (await save(null, float)).length;
// What is compared with is trained on for as long as the others are.
const longer = clone(float);
await learn(longer, 1e-3);

const widths: [name: string, config: QuantConfig][] = [
  ["8 bits", int8WeightOnly()],
  ["4 bits, groups of 28", int4WeightOnly({ group: 28 })],
  ["ternary", ternaryWeightOnly()],
  ["1 bit", binaryWeightOnly()],
];
// The last layer is small and every answer goes through it: 8 bits there cost few bytes at every width.
const planFor = (config: QuantConfig) => plan({ default: config, rules: [["2.weight", int8WeightOnly()]] });

const more = score(longer);
const rows = [{ name: "float32", rounded: floatScore, trained: more, packed: more, bytes: floatBytes }];
for (const [name, config] of widths) {
  // 1. Round a copy of the trained network, and see what that costs.
  const net = prepare(clone(float), planFor(config));
  const rounded = score(net);
  // 2. Train on: the forward pass sees rounded weights, the gradient moves the ones behind.
  await learn(net, 1e-3);
  const trained = score(net);
  // 3. Fix codes and scales, pack, and read the file as a server or a page does.
  const file = pack(freeze(net)).toBytes();
  rows.push({ name, rounded, trained, packed: packedScore(loadPacked(file)), bytes: file.length });
}
console.table(
  Object.fromEntries(
    rows.map(({ name, rounded, trained, packed, bytes }) => [
      name,
      { rounded, "trained on": trained, packed, bytes, "× smaller": (floatBytes / bytes).toFixed(1) },
    ]),
  ),
);

const [, int8, int4, ternary, binary] = rows;
assert(Math.abs(int8.rounded - floatScore) < 0.005, "8 bits cost next to nothing");
assert(binary.rounded < floatScore - 0.01, "1 bit by rounding alone costs");
assert(
  binary.trained - binary.rounded > (quick ? 0 : (more - binary.rounded) / 2),
  "training wins most of it back",
);
assert(
  rows.every((row, i) => i === 0 || row.bytes < rows[i - 1].bytes),
  "fewer bits, fewer bytes",
);
for (const { name, trained, packed } of [int8, int4, ternary, binary])
  assert(Math.abs(packed - trained) <= 2 / tests, `${name}: packed ${packed}, trained ${trained}`);
console.log(
  `shown: 1 bit a weight, ${binary.bytes} bytes for ${floatBytes}, ${binary.packed} right where float32 has ${more}`,
);
