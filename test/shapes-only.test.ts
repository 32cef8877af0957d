/** Models run by shapes alone: the same shapes as with numbers, every op visited, no memory. */

import {
  bitwiseNot,
  isTensor,
  manualSeed,
  memory,
  ones,
  Rng,
  StageError,
  scaledDotProductAttention,
  scope,
  shapesOnly,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { Bert, Gpt, Llama, ResNet, ResNet8 } from "bitgrad/models";
import {
  BatchNorm2d,
  Dropout,
  Embedding,
  evaluate,
  hasData,
  KVCache,
  Linear,
  namedBuffers,
  parameters,
  Sequential,
  train,
  withoutData,
} from "bitgrad/nn";
import { describe, expect, it } from "vitest";

interface Net {
  forward(x: Tensor): unknown;
}

const large = [1 << 16, 1 << 16];

function visited<T>(fn: () => T): { result: T; ops: string[] } {
  const ops: string[] = [];
  return { result: shapesOnly(fn, (op) => ops.push(op)), ops };
}

describe("shapesOnly", () => {
  it("gives shapes and dtypes, and tells of every op", () => {
    const seen: unknown[] = [];
    const y = shapesOnly(
      () =>
        ones([2, 3])
          .matmul(zeros([3, 4]))
          .sum({ axis: 0 }),
      (op, inputs, options, outputs) =>
        seen.push([op, inputs.map((t) => t?.shape), options, outputs.map((t) => t.shape)]),
    );
    expect([y.shape, y.dtype]).toEqual([[4], "float32"]);
    expect(seen).toHaveLength(2);
    expect(seen[0]).toMatchObject([
      "matmul",
      [
        [2, 3],
        [3, 4],
      ],
      {},
      [[2, 4]],
    ]);
    expect(ones([2]).data).toEqual(new Float32Array([1, 1]));
  });

  it("takes no memory for what would be 16 GiB", () => {
    scope(() => {
      const before = memory().peak;
      const y = shapesOnly(() => zeros(large).add(1).gelu().dropout().transpose(0, 1).softmax(-1));
      expect(y.shape).toEqual(large);
      expect(memory().peak - before).toBeLessThan(1024);
    });
  });

  it("throws where a number is read", () => {
    const y = shapesOnly(() => ones([3]));
    expect(() => y.data).toThrow(StageError);
    expect(() => y.data).toThrow("inside shapesOnly");
    expect(() => y.add(1)).toThrow(StageError);
    expect(() => shapesOnly(() => ones([1]).item())).toThrow(StageError);
    expect(() => shapesOnly(async () => {})).toThrow(StageError);
  });

  it("still checks shapes, and ids that have numbers", () => {
    expect(() => shapesOnly(() => ones([2, 3]).matmul(ones([2, 3])))).toThrow("inner sizes differ");
    expect(() => shapesOnly(() => new Embedding(4, 2).forward([5]))).toThrow("out of range");
  });

  it("draws nothing and leaves running statistics alone", () => {
    const rng = new Rng("shapes");
    const norm = new BatchNorm2d(2);
    const model = new Sequential(norm, new Dropout(0.5, { rng }));
    const [state, mean] = [rng.state, norm.runningMean.data.slice()];
    const { result, ops } = visited(() => model.forward(ones([2, 2, 3, 3])));
    expect((result as Tensor).shape).toEqual([2, 2, 3, 3]);
    expect(ops.length).toBeGreaterThan(2);
    expect(rng.state).toEqual(state);
    expect(norm.runningMean.data).toEqual(mean);
  });

  it("builds models that have no numbers, and draws none for them", () => {
    const rng = new Rng("built");
    const { state } = rng;
    const usual = manualSeed(1);
    const drawn = usual.state;
    const built: object[] = [
      shapesOnly(() => new Linear(1 << 20, 1 << 20)),
      shapesOnly(() => new Linear(1 << 20, 1 << 20, { rng })),
      shapesOnly(() => new Sequential(new Embedding(1 << 20, 1 << 20), new BatchNorm2d(1 << 20))),
      ...models.map(([, make]) => shapesOnly(make)),
    ];
    for (const model of built) {
      for (const { value } of parameters(model)) expect(hasData(value)).toBe(false);
      for (const [, buffer] of namedBuffers(model)) expect(hasData(buffer)).toBe(false);
    }
    expect([rng.state, usual.state]).toEqual([state, drawn]);
    expect(shapesOnly(() => new Linear(8, 1 << 30).forward(ones([2, 8]))).shape).toEqual([2, 1 << 30]);
    expect(() => parameters(built[0])[0].value.data).toThrow("made inside shapesOnly");
    expect(hasData(new Linear(1, 1).weight.value)).toBe(true);
  });

  it("fills an empty cache by shapes, takes it back, and refuses a filled one", () => {
    const cache = new KVCache();
    const keys = tensor(new Float32Array(12), { shape: [1, 2, 3, 2] });
    shapesOnly(() => {
      cache.append(ones([1, 2, 3, 2]), ones([1, 2, 3, 2]));
      const [all] = cache.append(ones([1, 2, 1, 2]), ones([1, 2, 1, 2]));
      expect(all.shape).toEqual([1, 2, 4, 2]);
      expect(cache.length).toBe(4);
    });
    expect(cache.length).toBe(0);
    cache.append(keys, keys);
    expect(() => shapesOnly(() => cache.append(ones([1, 2, 1, 2]), ones([1, 2, 1, 2])))).toThrow(StageError);
    expect(cache.length).toBe(3);
  });
});

const text = { vocabulary: 50, context: 16, dim: 8, heads: 2, layers: 2, dropout: 0.1 };
const ids = () =>
  tensor(
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    { dtype: "int32" },
  );
const models: [string, () => Net, () => Tensor][] = [
  ["ResNet-8", () => new ResNet8(), () => ones([2, 3, 32, 32])],
  ["ResNet", () => new ResNet(ResNet.configs.resnet20), () => ones([2, 3, 32, 32])],
  ["GPT", () => new Gpt(text), ids],
  ["BERT", () => new Bert(text), ids],
];

const causal: [string, () => Gpt | Llama][] = [
  ["Gpt", () => new Gpt(text)],
  ["Llama", () => new Llama({ ...text, heads: [4, 2], kvHeads: [2, 1], headSize: 2, feedForward: 12 })],
];

it.each(causal)("a %s by shapes reads on from its caches, which are empty again after it", (_, make) => {
  const model = withoutData(make);
  const cache = model.newCache();
  const steps: number[] = [];
  shapesOnly(() => {
    for (const length of [3, 1, 2]) {
      const logits = model.forward(zeros([2, length], { dtype: "int32" }), { cache });
      expect(logits.shape).toEqual([2, length, 50]);
      steps.push(...new Set(cache.map((layer) => layer.length)));
    }
    expect(() => model.forward(zeros([2, 11], { dtype: "int32" }), { cache })).toThrow(
      "holds 16 positions, got 17",
    );
  });
  expect(steps).toEqual([3, 4, 6]);
  expect(cache.map(({ length }) => length)).toEqual([0, 0]);
});

/** What a model gives, as one list. */
const tensorsOf = (result: unknown): Tensor[] =>
  isTensor(result) ? [result] : Object.values(result as object).filter(isTensor);
const formsOf = (result: unknown) => tensorsOf(result).map((t) => [t.shape, t.dtype]);

describe.each(models)("%s by shapes", (_, make, input) => {
  it.each([true, false])("gives what it gives with numbers (training: %s)", (training) => {
    const prepare = (model: Net): Net => (training ? train(model) : evaluate(model));
    const real = prepare(make()).forward(input());
    for (const model of [make(), withoutData(make)]) {
      const { result, ops } = visited(() => prepare(model).forward(input()));
      expect(formsOf(result)).toEqual(formsOf(real));
      expect(ops.length).toBeGreaterThan(5);
    }
  });
});

it("masks of attention are made by shapes alone, and ops refuse the dtypes that they refuse with numbers", () => {
  const of = (dtype: "bool" | "float32" | "int32") =>
    shapesOnly(() => {
      const q = zeros([2, 3]);
      return scaledDotProductAttention(q, q, q, { mask: ones([2, 2], { dtype }) });
    });
  for (const dtype of ["bool", "float32", "int32"] as const) expect(of(dtype).shape).toEqual([2, 3]);
  expect(() => shapesOnly(() => bitwiseNot(ones([2])))).toThrow(
    /bitwiseNot: needs integers or bool, got float32/,
  );
});
