/** This library, through its public entry, inside scopes. */

import * as bg from "../../../src/index.ts";
import { Gpt, mlp } from "../../../src/models/index.ts";
import { crossEntropy, namedParameters } from "../../../src/nn/index.ts";
import { adamw, optimizer, sgd } from "../../../src/optim/index.ts";
import { pack } from "../../../src/quant/index.ts";
import { trainStep } from "../../../src/train/index.ts";
import type { Side } from "../../pair.ts";
import { type Block, FirstLosses, type GptProblem, type Library } from "../library.ts";
import { blockProduct, intProduct, levelProduct } from "./bitgrad-low-bit.ts";

export const name = "bitgrad";

const tensor = ({ data, shape }: Block): bg.Tensor => bg.tensor(data, { shape });

/** The result is made and released in every run; the operands lie on the heap, in the scope that main.ts opens. */
const inScope = (make: () => bg.Tensor): Side => ({
  name,
  run: () => void bg.scope(() => void make()),
  result: () => bg.scope(() => make().data.slice() as Float32Array),
});

function assignAll(model: object, values: Readonly<Record<string, Block>>): void {
  for (const [path, parameter] of namedParameters(model)) {
    const { data, shape } = values[path];
    parameter.assign(bg.tensor(data, { shape }));
  }
}

export function gptOf({
  parameters,
  batch: _,
  ids: __,
  labels: ___,
  adam: ____,
  ...config
}: GptProblem): Gpt {
  const model = new Gpt({ ...config, activation: "gelu", tied: false });
  assignAll(model, parameters);
  return model;
}

function training(step: () => number): Side {
  const first = new FirstLosses();
  return { name, run: () => first.add(step()), result: () => first.losses };
}

export const load = (): Library => ({
  name,
  sides: {
    matmul({ a, b, transposeB }) {
      const [left, right] = [tensor(a), tensor(b)];
      return inScope(() => left.matmul(right, { transposeB }));
    },
    softmax({ x }) {
      const input = tensor(x);
      return inScope(() => input.softmax());
    },
    layerNorm({ x, weight, bias, eps }) {
      const [input, w, b] = [tensor(x), tensor(weight), tensor(bias)];
      return inScope(() => bg.layerNorm(input, w, b, { eps }));
    },
    gelu({ x }) {
      const input = tensor(x);
      return inScope(() => input.gelu());
    },
    add({ a, b }) {
      const [left, right] = [tensor(a), tensor(b)];
      return inScope(() => left.add(right));
    },
    mul({ a, b }) {
      const [left, right] = [tensor(a), tensor(b)];
      return inScope(() => left.mul(right));
    },
    sum({ x }) {
      const input = tensor(x);
      return inScope(() => input.sum());
    },
    sumRows({ x }) {
      const input = tensor(x);
      return inScope(() => input.sum({ axis: 1 }));
    },
    conv2d({ x, w }) {
      const [input, weight] = [tensor(x), tensor(w)];
      return inScope(() => bg.conv2d(input, weight, { padding: 1 }));
    },
    conv2dTrain({ x, w, grad }) {
      const [input, weight, outer] = [tensor(x), tensor(w), tensor(grad)];
      const both = bg.vjp((x: bg.Tensor, w: bg.Tensor) => bg.conv2d(x, w, { padding: 1 }));
      const gradients = () => {
        const [value, pullback] = both(input, weight);
        return [value, ...pullback(outer)];
      };
      return {
        name,
        run: () => void bg.scope(() => void gradients()),
        result: () => bg.scope(() => Float32Array.from(gradients().flatMap((each) => [...each.data]))),
      };
    },
    mlpStep({ sizes, parameters, x, labels, lr, momentum }) {
      const model = mlp(sizes);
      assignAll(model, parameters);
      const update = optimizer(model, sgd({ lr, momentum }));
      const input = bg.tensor(x.data, { shape: x.shape });
      return training(() => trainStep(model, update, (m) => crossEntropy(m.forward(input), labels)));
    },
    gptStep(problem) {
      const model = gptOf(problem);
      const update = optimizer(model, adamw(problem.adam));
      const shape = [problem.batch, problem.context];
      const [ids, labels] = [problem.ids, problem.labels].map((data) => bg.tensor(data, { shape }));
      return training(() => trainStep(model, update, (m) => crossEntropy(m.forward(ids), labels)));
    },
    intProduct,
    levelProduct,
    blockProduct,
    gptDecode(problem) {
      const model = pack(gptOf(problem));
      let made: number[] = [];
      return {
        name,
        run() {
          made = model.generate([problem.ids[0]], { maxTokens: problem.context, temperature: 0 });
        },
        result: () => made,
      };
    },
  },
});
