/** Training steps in TensorFlow.js. Tables are read by products with one-hot rows: the gradient of its gather has no kernel. */

import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import type { Side } from "../../pair.ts";
import { type Block, FirstLosses, type GptProblem, type MlpProblem } from "../library.ts";

// They are registered by the package that has everything; as CommonJS, since its modules name each other without extension.
if (tf.getGradient("Neg") === undefined)
  createRequire(import.meta.url)("@tensorflow/tfjs-core/dist/register_all_gradients.js");

type Values = Record<string, tf.Variable>;

const variables = (blocks: Readonly<Record<string, Block>>): Values =>
  Object.fromEntries(
    Object.entries(blocks).map(([name, { data, shape }]) => [
      name,
      tf.variable(tf.tensor(data.slice(), [...shape])),
    ]),
  );

const zeros = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).map(([name, { shape }]) => [name, tf.variable(tf.zeros(shape))]));

const oneHot = (ids: Int32Array, classes: number): tf.Tensor2D =>
  tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(ids, "int32"), classes), "float32") as tf.Tensor2D);

/** x (rows, in). */
const linear = (x: tf.Tensor, p: Values, name: string): tf.Tensor =>
  tf.add(tf.matMul(x as tf.Tensor2D, p[`${name}.weight`] as tf.Tensor2D, false, true), p[`${name}.bias`]);

const crossEntropy = (logits: tf.Tensor, labels: tf.Tensor2D): tf.Scalar =>
  tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), labels), -1))) as tf.Scalar;

function training(loss: (p: Values) => tf.Scalar, parameters: Values, update: Update): Side {
  const first = new FirstLosses();
  const list = Object.values(parameters);
  const names = new Map(Object.entries(parameters).map(([name, { name: own }]) => [own, name]));
  let count = 0;
  return {
    name: "tfjs-wasm",
    run() {
      count++;
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(() => loss(parameters), list);
        for (const [own, grad] of Object.entries(grads)) update(names.get(own)!, grad, count);
        first.add(value.dataSync()[0]);
      });
    },
    result: () => first.losses,
  };
}

type Update = (name: string, grad: tf.Tensor, step: number) => void;

export function mlpStep({ sizes, parameters, x, labels, lr, momentum }: MlpProblem): Side {
  const values = variables(parameters);
  const velocity = zeros(values);
  const input = tf.tensor(x.data.slice(), [...x.shape]);
  const rows = oneHot(labels, sizes.at(-1)!);
  const loss = (p: Values): tf.Scalar => {
    let x = input;
    for (let i = 0; i < sizes.length - 1; i++) x = linear(i > 0 ? tf.relu(x) : x, p, `${2 * i}`);
    return crossEntropy(x, rows);
  };
  return training(loss, values, (name, grad) => {
    velocity[name].assign(tf.add(tf.mul(velocity[name], momentum), grad));
    values[name].assign(tf.sub(values[name], tf.mul(velocity[name], lr)));
  });
}

function gptLoss(problem: GptProblem): (p: Values) => tf.Scalar {
  const { batch, context, dim, heads, layers, eps, vocabulary } = problem;
  const ids = oneHot(problem.ids, vocabulary);
  const labels = oneHot(problem.labels, vocabulary);
  const hidden = tf.tidy(() => {
    const seen = tf.linalg.bandPart(tf.ones([context, context]), -1, 0);
    return tf.mul(tf.sub(seen, 1), 1e30);
  });
  const norm = (x: tf.Tensor, p: Values, name: string): tf.Tensor => {
    const { mean, variance } = tf.moments(x, -1, true);
    const scaled = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps)));
    return tf.add(tf.mul(scaled, p[`${name}.weight`]), p[`${name}.bias`]);
  };
  const gelu = (x: tf.Tensor): tf.Tensor =>
    tf.mul(tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), x), 0.5);
  const attention = (x: tf.Tensor, p: Values, name: string): tf.Tensor => {
    const [query, key, value] = ["query", "key", "value"].map((part) =>
      tf.transpose(
        tf.reshape(linear(x, p, `${name}.${part}`), [batch, context, heads, dim / heads]),
        [0, 2, 1, 3],
      ),
    );
    const scores = tf.mul(tf.matMul(query, key, false, true), Math.sqrt(heads / dim));
    const mixed = tf.matMul(tf.softmax(tf.add(scores, hidden)), value);
    return linear(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * context, dim]), p, `${name}.out`);
  };
  return (p) => {
    const tokens = tf.reshape(tf.matMul(ids, p["token.weight"] as tf.Tensor2D), [batch, context, dim]);
    let x: tf.Tensor = tf.reshape(tf.add(tokens, p["position.weight"]), [batch * context, dim]);
    for (let i = 0; i < layers; i++) {
      const name = `blocks.${i}`;
      x = tf.add(x, attention(norm(x, p, `${name}.norm1`), p, `${name}.attention`));
      const up = gelu(linear(norm(x, p, `${name}.norm2`), p, `${name}.mlp.up`));
      x = tf.add(x, linear(up, p, `${name}.mlp.down`));
    }
    const head = p["head.weight"] as tf.Tensor2D;
    return crossEntropy(tf.matMul(norm(x, p, "norm") as tf.Tensor2D, head, false, true), labels);
  };
}

export function gptStep(problem: GptProblem): Side {
  const values = variables(problem.parameters);
  const [means, squares] = [zeros(values), zeros(values)];
  const { lr, betas, eps, weightDecay } = problem.adam;
  const [b1, b2] = betas;
  return training(gptLoss(problem), values, (name, grad, t) => {
    means[name].assign(tf.add(tf.mul(means[name], b1), tf.mul(grad, 1 - b1)));
    squares[name].assign(tf.add(tf.mul(squares[name], b2), tf.mul(tf.square(grad), 1 - b2)));
    const root = tf.add(tf.div(tf.sqrt(squares[name]), Math.sqrt(1 - b2 ** t)), eps);
    const change = tf.mul(tf.div(means[name], root), lr / (1 - b1 ** t));
    values[name].assign(tf.sub(tf.mul(values[name], 1 - lr * weightDecay), change));
  });
}
