/** Cases of whole training runs: the loss before every step, and the parameters after the last. */

import { type Tensor, tensor } from "bitgrad";
import { kdLoss } from "bitgrad/distill";
import {
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Linear,
  loadStateDict,
  mseLoss,
  namedParameters,
  Sequential,
} from "bitgrad/nn";
import { adam, adamw, optimizer, sgd, type UpdateRule } from "bitgrad/optim";
import { row, type Suite, type Tensors } from "./case.ts";

interface Training {
  readonly optimizer: "sgd" | "adam" | "adamw";
  readonly lr: number;
  readonly steps: number;
  readonly momentum?: number;
  readonly extra?: { readonly weight_decay?: number; readonly momentum?: number };
}

function ruleOf({ optimizer: name, lr, momentum, extra = {} }: Training): UpdateRule {
  const weightDecay = extra.weight_decay;
  if (name === "sgd") return sgd({ lr, momentum: momentum ?? extra.momentum, weightDecay });
  return { adam, adamw }[name]({ lr, weightDecay });
}

/** Trains a model that starts from the named inputs (its parameter names on the right). */
function trained(
  model: Sequential,
  inputs: Tensors,
  names: Readonly<Record<string, string>>,
  settings: Training,
  lossOf: (output: Tensor) => Tensor,
): Record<string, Tensor> {
  const state = Object.fromEntries(Object.entries(names).map(([given, ours]) => [ours, inputs[given]]));
  loadStateDict(model, state, { strict: false });
  const update = optimizer(model, ruleOf(settings));
  const losses = new Float32Array(settings.steps);
  for (let i = 0; i < settings.steps; i++) {
    update.zeroGrad();
    const loss = lossOf(model.forward(inputs.x));
    losses[i] = loss.item();
    loss.backward();
    update.step();
  }
  const after = new Map(namedParameters(model));
  return {
    losses: tensor(losses),
    ...Object.fromEntries(
      Object.entries(names).map(([given, ours]) => [`${given}_after`, after.get(ours)!.value]),
    ),
  };
}

const mlp = ({ w1, w2 }: Tensors): Sequential =>
  new Sequential(new Linear(w1.shape[1], w1.shape[0]), (x) => x.tanh(), new Linear(w2.shape[1], w2.shape[0]));
const mlpNames = { w1: "0.weight", b1: "0.bias", w2: "2.weight", b2: "2.bias" };

export const training: Suite = {
  mlp_regression: row<Training>(
    "",
    (inputs, settings) =>
      trained(mlp(inputs), inputs, mlpNames, settings, (output) => mseLoss(output, inputs.y)),
    { torch: null },
  ),
  cnn_classification: row<Training>(
    "",
    (inputs, settings) => {
      const norm = new BatchNorm2d(inputs.bn_w.size);
      const [classes, features] = inputs.fc.shape;
      const model = new Sequential(
        new Conv2d(1, inputs.conv.shape[0], 3, { bias: false }),
        norm,
        (x) => x.relu().maxPool2d(2).flatten({ start: 1 }),
        new Linear(features, classes),
      );
      const names = { conv: "0.weight", bn_w: "1.weight", bn_b: "1.bias", fc: "3.weight", fb: "3.bias" };
      return {
        ...trained(model, inputs, names, settings, (output) => crossEntropy(output, inputs.y)),
        running_mean: norm.runningMean,
        running_var: norm.runningVar,
      };
    },
    { torch: null },
  ),
  distil_mlp: row<Training & { temperature: number; alpha: number }>(
    "",
    (inputs, { temperature, alpha, ...settings }) =>
      trained(mlp(inputs), inputs, mlpNames, settings, (output) =>
        kdLoss(output, inputs.teacher_logits, { temperature, alpha, labels: inputs.y }),
      ),
    { torch: null },
  ),
};
