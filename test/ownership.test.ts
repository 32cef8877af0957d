/** What longer-lived objects hold survives the scope it was made in, with its numbers. */

import { backendInfo, memory, Rng, randn, scope, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import {
  BatchNorm2d,
  clone,
  crossEntropy,
  KVCache,
  Linear,
  Parameter,
  parameters,
  parametrize,
  stateDict,
} from "bitgrad/nn";
import { clipGradNorm, clipGradValue, type OptimizerState, optimizer } from "bitgrad/optim";
import { binaryWeightOnly, plan, prepare } from "bitgrad/quant";
import { fit as trainModel, trainStep } from "bitgrad/train";
import { afterEach, describe, expect, it } from "vitest";
import { rules } from "./optim/rules.ts";

afterEach(() => expect(memory()).toMatchObject({ tensors: 0, bytes: 0 }));

/** Uses the heap again, so that memory which was given back would show. */
const scribble = () =>
  scope(() => {
    for (let i = 0; i < 20; i++) randn([64 + 8 * i]).mul(1e9);
  });
const values = (tensors: readonly (Tensor | null)[]) => tensors.map((t) => t && Array.from(t.data));
/** Makes something in scopes and reads it outside, after its memory would have been used again. */
function expectKept<T>(make: () => T, read: (made: T) => unknown): void {
  let inside: unknown;
  let made: T | undefined;
  scope(() => {
    scope(() => {
      made = make();
      inside = read(made);
    });
    scribble();
    expect(read(made as T)).toEqual(inside);
  });
  scribble();
  expect(read(made as T)).toEqual(inside);
}

const layer = () => new Linear(16, 8, { rng: new Rng(1) });
const loss = (model: Linear) =>
  model
    .forward(randn([4, 16], { rng: new Rng(2) }))
    .square()
    .mean();

describe("survives its scope:", () => {
  it("a parameter and its gradient, also one that several passes add to", () => {
    expectKept(
      () => {
        const model = layer();
        for (let i = 0; i < 3; i++) scope(() => loss(model).backward());
        return model;
      },
      (model) => values(parameters(model).flatMap((p) => [p.value, p.grad])),
    );
  });

  it("a gradient that was clipped", () => {
    expectKept(
      () => {
        const model = layer();
        loss(model).backward();
        clipGradNorm(parameters(model), 0.01);
        clipGradValue(parameters(model), 0.005);
        return model;
      },
      (model) => values(parameters(model).map((p) => p.grad)),
    );
  });

  it("a gradient that can itself be differentiated", () => {
    expectKept(
      () => {
        const x = new Parameter(randn([100], { rng: new Rng(3) }));
        x.value.pow(3).sum().backward({ createGraph: true });
        return x;
      },
      (x) => values([x.value, x.grad]),
    );
  });

  it("what a layer's parameters are assigned", () => {
    expectKept(
      () => {
        const model = layer();
        model.weight.assign(randn([8, 16]).mul(2));
        return model;
      },
      (model) => values([model.weight.value]),
    );
  });

  it.each(Object.entries(rules))("the state of %s, and a copy of it", (_, rule) => {
    const read = (state: OptimizerState) =>
      Object.entries(state).map(([name, value]) => [
        name,
        typeof value === "number" ? value : Array.from(value.data),
      ]);
    expectKept(
      () => {
        const model = layer();
        const update = optimizer(model, rule({ lr: 0.01 }));
        for (let i = 0; i < 3; i++) scope(() => trainStep(model, update, loss));
        return { update, copy: update.stateDict() };
      },
      ({ update, copy }) => [read(update.stateDict()), read(copy)],
    );
  });

  it("an optimizer's state that was restored from tensors of the scope", () => {
    expectKept(
      () => {
        const model = layer();
        const first = optimizer(model, rules.adam({ lr: 0.01 }));
        trainStep(model, first, loss);
        const second = optimizer(model, rules.adam({ lr: 0.01 }));
        second.loadStateDict(
          Object.fromEntries(
            Object.entries(first.stateDict()).map(([k, v]) => [k, typeof v === "number" ? v : v.mul(1)]),
          ),
        );
        return second;
      },
      (update) =>
        Object.values(update.stateDict()).map((v) => (typeof v === "number" ? v : Array.from(v.data))),
    );
  });

  it("running statistics of batch norm", () => {
    expectKept(
      () => {
        const norm = new BatchNorm2d(70);
        for (let i = 0; i < 2; i++) scope(() => void norm.forward(randn([2, 70, 3, 3], { rng: new Rng(i) })));
        return norm;
      },
      (norm) => values([norm.runningMean, norm.runningVar, norm.numBatchesTracked]),
    );
  });

  it("a cache of keys and values, and what it is cut to", () => {
    for (const length of [5, 2])
      expectKept(
        () => {
          const cache = new KVCache();
          for (let i = 0; i < 5; i++)
            scope(() => cache.append(randn([1, 2, 1, 32], { rng: new Rng(i) }), randn([1, 2, 1, 32])));
          cache.truncate(length);
          return cache;
        },
        (cache) => {
          const { keys, values: held } = cache as unknown as Record<string, { tensor: Tensor }>;
          return values([keys.tensor, held.tensor]);
        },
      );
  });

  it("a copy of a model, and one of its state", () => {
    expectKept(
      () => clone(layer()),
      (model) => values(Object.values(stateDict(model))),
    );
  });

  it("a model prepared for quantization", () => {
    expectKept(
      () => prepare(layer(), plan({ default: binaryWeightOnly() })),
      (model) => values(parameters(model).flatMap((p) => [p.value, p.effective()])),
    );
  });

  it("a model made, trained and reparametrized inside", () => {
    expectKept(
      () => {
        const model = layer();
        parametrize(model, "weight", () => ({ apply: (w: Tensor) => w.tanh() }));
        trainStep(model, optimizer(model, rules.sgd({ lr: 0.01 })), loss);
        return model;
      },
      (model) => values(parameters(model).map((p) => p.value)),
    );
  });
});

describe("leaves no memory behind:", () => {
  const gpt = () => new Gpt({ vocabulary: 32, context: 24, dim: 32, layers: 1, heads: 2, rng: new Rng(4) });
  const ids = tensor([Array.from({ length: 16 }, (_, i) => i % 7)], { dtype: "int32" });
  const held = async (run: () => unknown): Promise<number[]> => {
    const sizes: number[] = [];
    for (let i = 0; i < 4; i++) {
      await run();
      expect(memory()).toMatchObject({ tensors: 0, bytes: 0 });
      sizes.push(backendInfo().heap.bytes);
    }
    return sizes;
  };

  it("generate", async () => {
    const model = gpt();
    const sizes = await held(() => model.generate([1, 2, 3], { maxTokens: 40, temperature: 0 }));
    expect(sizes[3]).toBeLessThanOrEqual(sizes[1]);
  });

  it("a stream of tokens that is left before its end", async () => {
    const model = gpt();
    const sizes = await held(() => {
      for (const id of model.stream([1, 2], { maxTokens: 20, temperature: 0 })) if (id >= 0) break;
    });
    expect(sizes[3]).toBeLessThanOrEqual(sizes[1]);
  });

  it("fit and trainStep", async () => {
    const model = gpt();
    const update = optimizer(model, rules.adam({ lr: 0.01 }));
    const lossOf = (m: Gpt, x: Tensor) => crossEntropy(m.forward(x), x);
    await held(() =>
      trainModel(model, { data: [ids, ids], steps: 4, accumulate: 2, loss: lossOf, optimizer: update }),
    );
    expect(() =>
      trainStep(model, update, () => {
        throw new RangeError("inside");
      }),
    ).toThrow("inside");
    await expect(
      trainModel(model, {
        data: [ids],
        steps: 1,
        loss: (m, x) => lossOf(m, x).log().sub(1e9).exp().log().neg(),
        optimizer: update,
      }),
    ).rejects.toThrow("not finite");
  });
});
