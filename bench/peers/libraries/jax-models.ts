/** Training steps in jax-js: one compiled function from parameters and optimizer state to the next ones and the loss. */

import { jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import type { Side } from "../../pair.ts";
import { type Block, FirstLosses, type GptProblem, type MlpProblem } from "../library.ts";

type Arrays = { [name: string]: np.Array };

const array = ({ data, shape }: Block): np.Array => np.array(data).reshape([...shape]);

const arrays = (blocks: Readonly<Record<string, Block>>): Arrays =>
  Object.fromEntries(Object.entries(blocks).map(([name, block]) => [name, array(block)]));

const zerosLike = (values: Arrays): Arrays =>
  Object.fromEntries(Object.entries(values).map(([name, { shape }]) => [name, np.zeros(shape)]));

const oneHot = (ids: Int32Array<ArrayBuffer>, classes: number): np.Array =>
  nn.oneHot(np.array(ids, { dtype: np.int32 }), classes);

const linear = (x: np.Array, p: Arrays, name: string): np.Array =>
  np.matmul(x, np.transpose(p[`${name}.weight`])).add(p[`${name}.bias`]);

/** labels are one-hot rows. */
const crossEntropy = (logits: np.Array, labels: np.Array): np.Array => {
  const rows = labels.shape[0];
  return nn
    .logSoftmax(logits)
    .mul(labels)
    .sum()
    .mul(-1 / rows);
};

type State = { parameters: Arrays; slots: Arrays[] };

/** Runs `step(state, ...operands, ...scalars)`, which uses its state up, again and again. */
function training(
  step: (state: State, ...operands: np.Array[]) => { loss: np.Array; state: State },
  parameters: Arrays,
  slots: number,
  operands: readonly np.Array[],
  scalars: (step: number) => number[],
): Side {
  const compiled = jit(step);
  const first = new FirstLosses();
  let state: State = { parameters, slots: Array.from({ length: slots }, () => zerosLike(parameters)) };
  let count = 0;
  return {
    name: "jax-js",
    async run() {
      count++;
      const extra = scalars(count).map((value) => np.array(value));
      const out = compiled(state, ...operands.map((each) => each.ref), ...extra);
      state = out.state as State;
      first.add((await out.loss.data())[0]);
      for (const each of tree.leaves(state)) await each.blockUntilReady();
    },
    result: () => first.losses,
  };
}

export function mlpStep({ sizes, parameters, x, labels, lr, momentum }: MlpProblem): Side {
  const loss = (p: Arrays, x: np.Array, labels: np.Array): np.Array => {
    for (let i = 0; i < sizes.length - 1; i++) {
      if (i > 0) x = nn.relu(x);
      x = linear(x, p, `${2 * i}`);
    }
    return crossEntropy(x, labels);
  };
  const step = ({ parameters, slots: [velocity] }: State, x: np.Array, labels: np.Array) => {
    const [value, grads] = valueAndGrad(loss)(tree.ref(parameters), x, labels);
    const next: State = { parameters: {}, slots: [{}] };
    for (const name of Object.keys(parameters)) {
      const moved = velocity[name].mul(momentum).add((grads as Arrays)[name]);
      next.slots[0][name] = moved.ref;
      next.parameters[name] = parameters[name].sub(moved.mul(lr));
    }
    return { loss: value, state: next };
  };
  return training(step, arrays(parameters), 1, [array(x), oneHot(labels, sizes.at(-1)!)], () => []);
}

function gptLoss(problem: GptProblem) {
  const { batch, context, dim, heads, layers, eps, vocabulary } = problem;
  const norm = (x: np.Array, p: Arrays, name: string): np.Array =>
    nn.standardize(x, -1, { epsilon: eps }).mul(p[`${name}.weight`]).add(p[`${name}.bias`]);
  const attention = (x: np.Array, p: Arrays, name: string): np.Array => {
    const split = (part: string) =>
      np.swapaxes(linear(x.ref, p, `${name}.${part}`).reshape([batch, context, heads, dim / heads]), 1, 2);
    const [query, key, value] = ["query", "key", "value"].map(split);
    x.dispose();
    // nn.dotProductAttention is written so, but needs a newer Node for its einsum.
    const scores = np.matmul(query, np.swapaxes(key, 2, 3)).mul(Math.sqrt(heads / dim));
    const seen = np.tril(np.ones([context, context], { dtype: np.bool }));
    const mixed = np.swapaxes(np.matmul(nn.softmax(np.where(seen, scores, -1e30)), value), 1, 2);
    return linear(mixed.reshape([batch, context, dim]), p, `${name}.out`);
  };
  return (p: Arrays, ids: np.Array, labels: np.Array): np.Array => {
    let x = np.matmul(ids, p["token.weight"]).reshape([batch, context, dim]).add(p["position.weight"]);
    for (let i = 0; i < layers; i++) {
      const name = `blocks.${i}`;
      x = x.ref.add(attention(norm(x, p, `${name}.norm1`), p, `${name}.attention`));
      const up = nn.gelu(linear(norm(x.ref, p, `${name}.norm2`), p, `${name}.mlp.up`), {
        approximate: false,
      });
      x = x.add(linear(up, p, `${name}.mlp.down`));
    }
    const logits = np.matmul(norm(x, p, "norm"), np.transpose(p["head.weight"]));
    return crossEntropy(logits.reshape([batch * context, vocabulary]), labels);
  };
}

export function gptStep(problem: GptProblem): Side {
  const { lr, betas, eps, weightDecay } = problem.adam;
  const [b1, b2] = betas;
  const loss = gptLoss(problem);
  /** `rate` and `scale`: the bias corrections lr/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ). */
  const step = (state: State, ids: np.Array, labels: np.Array, rate: np.Array, scale: np.Array) => {
    const { parameters, slots } = state;
    const [value, grads] = valueAndGrad(loss)(tree.ref(parameters), ids, labels);
    const next: State = { parameters: {}, slots: [{}, {}] };
    for (const name of Object.keys(parameters)) {
      const grad = (grads as Arrays)[name];
      const mean = slots[0][name].mul(b1).add(grad.ref.mul(1 - b1));
      const square = slots[1][name].mul(b2).add(np.square(grad).mul(1 - b2));
      next.slots[0][name] = mean.ref;
      next.slots[1][name] = square.ref;
      const change = mean.mul(rate.ref).div(np.sqrt(square).mul(scale.ref).add(eps));
      next.parameters[name] = parameters[name].mul(1 - lr * weightDecay).sub(change);
    }
    rate.dispose();
    scale.dispose();
    return { loss: value, state: next };
  };
  const operands = [oneHot(problem.ids, problem.vocabulary), oneHot(problem.labels, problem.vocabulary)];
  return training(step, arrays(problem.parameters), 2, operands, (t) => [
    lr / (1 - b1 ** t),
    1 / Math.sqrt(1 - b2 ** t),
  ]);
}
