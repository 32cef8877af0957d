/**
 * An op of one's own: snake(x, a) = x + sin²(a·x)/a, an activation for functions that repeat, with its gradient. Ziyin et
 * al., 2020, arXiv:2006.08195.
 *
 * You learn: what `defineOp` needs, how a gradient is checked against differences, how a wrong one is found, and how the op
 * becomes part of a layer with a parameter of its own.
 * Time: 5 seconds. Data: none.
 *
 *   npx tsx examples/09-own-op/main.ts          (needs fast-check: npm install --save-dev fast-check)
 */

import assert from "node:assert/strict";
import { defineOp, linspace, noGrad, ones, Rng, randn, ShapeError, type Tensor, tensor } from "bitgrad";
import { Linear, mseLoss, Parameter, Sequential } from "bitgrad/nn";
import { adam, cosine, optimizer } from "bitgrad/optim";
import { gradcheck, gradgradcheck } from "bitgrad/testing";
import { fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const steps = quick ? 400 : 1500;

/** x (…, C) and one a for each of the C features. */
const snake = defineOp<[x: Tensor, a: Tensor], object>("snake", {
  // Wrong shapes must be told here: `forward` and `vjp` may then rely on them.
  shape([x, a]) {
    if (a.rank !== 1 || x.shape.at(-1) !== a.size)
      throw new ShapeError(`snake: needs one a for each feature, got ${a.shape} for ${x.shape}`);
    return x;
  },
  // Plain loops over typed arrays; sums, if there were any, in double.
  forward(out, [x, a]) {
    for (let i = 0; i < out.length; i++) {
      const frequency = a.data[i % a.size];
      out[i] = x.data[i] + Math.sin(frequency * x.data[i]) ** 2 / frequency;
    }
  },
  // One gradient for each input, in ops, so that it can be differentiated again. With s = sin(2·a·x):
  //   d/dx = 1 + s        d/da = x·s/a − sin²(a·x)/a²
  // That of a has x's shape: the tape sums it over what was broadcast. `needs` says which gradients are wanted.
  vjp(grad, { inputs: [x, a], needs }) {
    const s = x.mul(a).mul(2).sin();
    return [
      needs[0] ? grad.mul(s.add(1)) : null,
      needs[1] ? grad.mul(x.mul(s).div(a).sub(x.mul(a).sin().square().div(a.square()))) : null,
    ];
  },
});

// Checked in float64 against central differences, the gradient and the gradient of the gradient.
const x = randn([4, 3], { rng: new Rng("x") });
const a = tensor([0.5, 1, 2]);
gradcheck(snake, [x, a]);
gradgradcheck(snake, [x, a]);

// What the check is worth: the same op with a factor of 2 forgotten is refused.
const wrong = defineOp<[x: Tensor], object>("wrongSine", {
  shape: ([x]) => x,
  forward(out, [x]) {
    for (let i = 0; i < out.length; i++) out[i] = Math.sin(x.data[i]) ** 2;
  },
  vjp: (grad, { inputs: [x] }) => [grad.mul(x.sin()).mul(x.cos())],
});
assert.throws(
  () => gradcheck((x) => wrong(x), [x]),
  (error: Error) => {
    console.log(error.message);
    return error.message.startsWith("gradcheck");
  },
);
assert.throws(() => snake(x, tensor([1, 2])), /one a for each feature/);

/** The op in a layer: its a is a parameter, which is trained, saved and counted as all others. */
class Snake {
  a: Parameter;

  constructor(features: number) {
    this.a = new Parameter(ones([features]).mul(3));
  }

  forward(x: Tensor): Tensor {
    return snake(x, this.a.effective());
  }
}

// Two networks see sin(6x) on [−1, 1] and are asked about [1, 1.5], where they have seen nothing.
const wave = (x: Tensor): Tensor => x.mul(6).sin();
const seen = linspace(-1, 1, 200).unsqueeze(1);
const unseen = linspace(1, 1.5, 50).unsqueeze(1);

async function errorBeyond(activation: { forward(x: Tensor): Tensor } | ((x: Tensor) => Tensor)) {
  const rng = new Rng("weights");
  const net = new Sequential(new Linear(1, 32, { rng }), activation, new Linear(32, 1, { rng }));
  await fit(net, {
    data: [{ x: seen, y: wave(seen) }],
    loss: (model, { x, y }) => mseLoss(model.forward(x), y),
    optimizer: optimizer(net, adam({ lr: 1e-2 })),
    schedule: cosine({ total: steps }),
    steps,
  });
  return noGrad(() => mseLoss(net.forward(unseen), wave(unseen)).item());
}
const layer = new Snake(32);
const withSnake = await errorBeyond(layer);
const withTanh = await errorBeyond((x) => x.tanh());
console.log(
  `mean squared error where nothing was seen: snake ${withSnake.toFixed(4)}, tanh ${withTanh.toFixed(4)}`,
);

const moved = layer.a.value.sub(3).abs().max().item();
assert(moved > 0.01, "a must have been trained");
assert(withSnake < withTanh / 3, `snake ${withSnake}, tanh ${withTanh}`);
console.log(
  `shown: the gradient is right, and goes on where tanh does not: ${withSnake.toFixed(4)} for ${withTanh.toFixed(4)}`,
);
