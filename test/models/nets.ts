/** Every model class, with layers that differ, and numbers in all its parameters and statistics. */

import { Rng, rand, randn, type Tensor, tensor } from "bitgrad";
import { Bert, Gpt, Llama, MnistCnn, ResNet, ResNet8, Transformer } from "bitgrad/models";
import { evaluate, namedBuffers, namedParameters } from "bitgrad/nn";

const sizes = { vocabulary: 11, dim: 8, layers: 2 };
const language = { ...sizes, context: 8, heads: [3, 2], headSize: 4, feedForward: [5, 6] };
const ids = tensor([[1, 7, 3, 4]], { dtype: "int32" });
const picture = (...shape: number[]) => rand(shape, { rng: new Rng(4) });

/** A model and what it computes of some input. */
export interface Net<M extends object = object> {
  readonly make: () => M;
  readonly run: (model: M) => Tensor;
}

const net = <M extends object>(make: () => M, run: (model: M) => Tensor): Net => ({
  make: () => filled(make()),
  run: (model) => run(model as M),
});

/** Gains, biases and running variances from 0.5 to 1.5, running means and all else normal. */
function filled<M extends object>(model: M): M {
  const rng = new Rng(8);
  const near = (shape: readonly number[]) => rand(shape, { rng }).add(0.5);
  for (const [, parameter] of namedParameters(model)) {
    const { shape } = parameter;
    parameter.assign(shape.length > 1 ? randn(shape, { rng }).mul(0.4) : near(shape));
  }
  for (const [name, buffer] of namedBuffers(model))
    if (name.endsWith("runningMean") || name.endsWith("runningVar"))
      (buffer.data as Float32Array).set(near(buffer.shape).data as Float32Array);
  return evaluate(model);
}

export const nets: Record<string, Net> = {
  Gpt: net(
    () => new Gpt({ ...language, tied: false }),
    (model) => model.forward(ids),
  ),
  "Gpt in the post form": net(
    () => new Gpt({ ...language, norm: "post", activation: "relu", bias: false }),
    (model) => model.forward(ids),
  ),
  Llama: net(
    () => new Llama({ ...language, heads: [6, 4], kvHeads: [3, 2], tied: false }),
    (model) => model.forward(ids),
  ),
  "Llama of tied tables": net(
    () => new Llama({ ...language, heads: 4, kvHeads: 1, ropeStyle: "half" }),
    (model) => model.forward(ids),
  ),
  Bert: net(
    () => new Bert({ ...language, head: "classifier" }),
    (model) => model.forward(ids),
  ),
  "Bert for masked tokens": net(
    () => new Bert({ ...language, head: "maskedLm" }),
    (model) => model.forward(ids),
  ),
  Transformer: net(
    () =>
      new Transformer({
        ...sizes,
        headSize: 4,
        heads: { encoder: [2, 3], decoder: 2, memory: [3, 2] },
        feedForward: { encoder: 5, decoder: [6, 7] },
      }),
    (model) => model.forward(ids, ids.slice([null, [0, 3]])),
  ),
  ResNet: net(
    () => new ResNet({ blocks: 2, width: 3, hidden: [2, 3, 4, 5, 6, 7] }),
    (model) => model.forward(picture(2, 3, 8, 8)),
  ),
  ResNet8: net(
    () => new ResNet8({ hidden: [2, 3, 4] }),
    (model) => model.forward(picture(2, 3, 8, 8)),
  ),
  MnistCnn: net(
    () => new MnistCnn({ channels: [2, 3, 4], hidden: 5 }),
    (model) => model.forward(picture(2, 1, 28, 28)),
  ),
};
