/**
 * A quantizer of one's own: ternary weights with a threshold (TWN), beside the library's ternary weights. Li et al., 2016,
 * arXiv:1605.04711.
 *
 * You learn: the three parts of a quantizer (scales, codes, surrogate gradient), how it goes into a plan, and what must hold
 * of it before anybody relies on it. Packing needs nothing more: what is trained is what is stored.
 * Time: 6 seconds. Data: none.
 *
 *   npx tsx examples/10-own-quantizer/main.ts          (needs fast-check: npm install --save-dev fast-check)
 */

import assert from "node:assert/strict";
import { noGrad, Rng, randn, type Tensor, tensor } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import { mlp } from "bitgrad/models";
import { clone, crossEntropy, evaluate, Linear } from "bitgrad/nn";
import { adamw, cosine, optimizer } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import { bitnet158, freeze, pack, plan, prepare, type Quantizer, spec } from "bitgrad/quant";
import { laws } from "bitgrad/testing";
import { accuracy, fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const [examples, epochs] = quick ? [2000, 4] : [4000, 4];

/** Weights below the threshold, in size, become 0: 0.7 times the mean size of their row, (out, 1). */
const threshold = (x: Tensor): Tensor => x.abs().mean({ axis: 1, keepDims: true }).mul(0.7);
const kept = (x: Tensor): Tensor => x.abs().greater(threshold(x)).to("float32");

/** w ≈ scale · code with code in −1, 0, 1, for matrices (out, in). */
function twn(): Quantizer {
  // Two bits in two's complement, narrow: −1, 0, 1. One scale a row, stored as float16.
  const ternary = spec({ bits: 2, granularity: "channel", scaleDtype: "float16" });
  return {
    name: "twn",
    spec: ternary,
    // The best scale for given codes: the mean size of the weights that are kept. x.detach(): it is found from x, and no
    // gradient goes through it. Its shape is that of the granularity: (out). No scale may be 0: a row of zeros has 1.
    params(x) {
      const mask = kept(x.detach());
      const size = x.detach().abs().mul(mask).sum({ axis: 1 });
      return { scale: size.greater(0).where(size.div(mask.sum({ axis: 1 }).maximum(1)), 1), zeroPoint: null };
    },
    // Left out, codes would be round(x/scale). Here they follow from the threshold.
    codes: (x) => x.sign().mul(kept(x)).to("int8"),
    // What is differentiated in the place of the steps: the identity, "straight through".
    soft: (x) => x,
  };
}

const planFor = (weight: Quantizer) => plan({ default: { weight } });

// The laws of quantizers: it trains with the numbers that it stores, packed inference computes with the same ones, the
// gradient is that of its surrogate, zeros stay zeros, NaN is refused, and more. In a test file each is a test.
for (const { name, check } of laws.quantizer(() => twn(), { scaleFree: true })) {
  check();
  console.log(`law: ${name}`);
}
// What only this one promises: for its codes the scales are the best ones; a little more or less of them is worse.
const latent = randn([8, 64], { rng: new Rng("weights") });
const layer = prepare(new Linear(64, 8), planFor(twn()));
layer.weight.assign(latent);
const values = layer.weight.effective(); // what the layer computes with
const error = (factor: number): number => values.mul(factor).sub(latent).square().sum().item();
assert(error(1) < Math.min(error(0.98), error(1.02)));

// Now in a network: train in float32, round, train on through the rounding, pack.
type Net = { forward(x: Tensor): Tensor };
const train = glyphs({ count: examples, rng: new Rng("train") });
const test = glyphs({ count: 1000, rng: new Rng("test") });
const score = (net: Net): number => noGrad(() => accuracy(evaluate(net).forward(test.x), test.y));
const learn = (net: Net, lr: number) =>
  fit(net, {
    data: loader(train, { batch: 50, shuffle: true, rng: new Rng("order") }),
    loss: (model, batch) => crossEntropy(model.forward(batch.x), batch.y),
    optimizer: optimizer(net, adamw({ lr })),
    schedule: cosine({ total: (epochs * examples) / 50 }),
    epochs,
  });
const float = mlp([144, 64, 10], { rng: new Rng("net") });
await learn(float, 3e-3);

async function compress(quantizer: Quantizer) {
  const net = prepare(clone(float), planFor(quantizer));
  const rounded = score(net);
  await learn(net, 3e-3);
  const trained = score(net);
  // The file holds two bits a weight; the packed model reads them without ever having heard of TWN.
  const file = pack(freeze(net)).toBytes();
  const packed = loadPacked(file).forward({ data: test.x.data, shape: test.x.shape });
  const again = tensor(packed.data).reshape([...packed.shape]);
  const apart = net.forward(test.x).sub(again).abs().max().item();
  return { rounded, trained, bytes: file.length, apart };
}
const [ours, theirs] = [await compress(twn()), await compress(bitnet158())];
console.log(`float32: ${score(float)}`);
console.table({ "TWN, our own": ours, "BitNet b1.58, the library's": theirs });

assert(ours.trained > ours.rounded && ours.trained > score(float) - 0.1, `trained on: ${ours.trained}`);
assert(ours.apart < 1e-3, `the packed model differs by ${ours.apart}`);
console.log(
  `shown: TWN ${ours.trained}, BitNet ${theirs.trained}, float32 ${score(float)}; ${ours.bytes} bytes`,
);
