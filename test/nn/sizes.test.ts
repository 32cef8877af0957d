import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { summary } from "bitgrad/cost";
import {
  BatchNorm2d,
  Conv1d,
  Conv2d,
  Embedding,
  evaluate,
  FeedForward,
  KVCache,
  LayerNorm,
  Linear,
  MultiHeadAttention,
  type Parameter,
  RMSNorm,
  Sequential,
} from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { OptionError, ShapeError } from "../../src/errors.ts";

const rng = () => new Rng(3);
const take = (parameter: Parameter, axis: number, rows: readonly number[]) =>
  parameter.replace(parameter.value.detach().indexSelect(tensor([...rows], { dtype: "int32" }), { axis }));

const close = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  expect(a.length).toBe(b.length);
  for (let i = 0; i < b.length; i++) expect(a[i]).toBeCloseTo(b[i], 4);
};
const run = (model: object, x: Tensor): ArrayLike<number> =>
  (loadPacked(pack(model).toBytes()).forward(x) as { data: ArrayLike<number> }).data;

describe("sizes of layers", () => {
  it("follow their weights", () => {
    const linear = new Linear(4, 6);
    take(linear.weight, 0, [0, 2, 5]);
    take(linear.weight, 1, [1, 3]);
    expect([linear.inFeatures, linear.outFeatures]).toEqual([2, 3]);
    const conv = new Conv2d(4, 6, [3, 2], { groups: 2 });
    take(conv.weight, 0, [0, 5]);
    expect([conv.inChannels, conv.outChannels, conv.kernelSize]).toEqual([4, 2, [3, 2]]);
    const conv1 = new Conv1d(4, 6, 3);
    take(conv1.weight, 1, [0]);
    expect([conv1.inChannels, conv1.outChannels, conv1.kernelSize]).toEqual([1, 6, 3]);
    const table = new Embedding(5, 4);
    take(table.weight, 0, [1, 2]);
    take(table.weight, 1, [0, 1, 3]);
    expect([table.count, table.size]).toEqual([2, 3]);
    for (const norm of [new LayerNorm(4), new RMSNorm(4)]) {
      take(norm.weight!, 0, [1, 2, 3]);
      if (norm instanceof LayerNorm) take(norm.bias!, 0, [1, 2, 3]);
      expect(norm.normalizedShape).toEqual([3]);
      expect(norm.forward(randn([2, 3])).shape).toEqual([2, 3]);
    }
    expect(new LayerNorm([2, 3], { affine: false }).normalizedShape).toEqual([2, 3]);
    expect(new BatchNorm2d(5).channels).toBe(5);
  });

  it("agree in forward, summary and pack after rows were taken out", () => {
    const mlp = new FeedForward(6, 8, { activation: "gelu", rng: rng() });
    const model = evaluate(new Sequential(mlp));
    const x = randn([3, 6], { rng: rng() });
    const kept = [0, 3, 4, 7];
    take(mlp.up.weight, 0, kept);
    take(mlp.up.bias!, 0, kept);
    take(mlp.down.weight, 1, kept);
    expect(mlp.hidden).toBe(4);
    expect(summary(model).rows.map(({ shape }) => shape)).toEqual([[4, 6], [4], [6, 4], [6]]);
    close(run(model, x), model.forward(x).data);
    const image = evaluate(
      new Sequential(new Conv2d(2, 4, 3, { rng: rng() }), new Conv2d(4, 2, 1, { rng: rng() })),
    );
    const [first, second] = [image[0], image[1]] as unknown as Conv2d[];
    take(first.weight, 0, [1, 3]);
    take(first.bias!, 0, [1, 3]);
    take(second.weight, 1, [1, 3]);
    const y = randn([1, 2, 5, 5], { rng: rng() });
    close(run(image, y), image.forward(y).data);
  });
});

describe("attention whose inner size is free", () => {
  it("takes a head size of its own", () => {
    const attention = evaluate(new MultiHeadAttention(6, 4, { headSize: 2, kvHeads: 2, rng: rng() }));
    expect([attention.heads, attention.kvHeads, attention.headSize]).toEqual([4, 2, 2]);
    expect([attention.query, attention.key, attention.out].map(({ weight }) => weight.shape)).toEqual([
      [8, 6],
      [4, 6],
      [6, 8],
    ]);
    const x = randn([2, 3, 6], { rng: rng() });
    expect(attention.forward(x).shape).toEqual([2, 3, 6]);
    close(run(attention, x), attention.forward(x).data);
    expect(() => new MultiHeadAttention(6, 4)).toThrow(OptionError);
    expect(() => new MultiHeadAttention(6, 4, { headSize: 3, rotary: true })).toThrow(
      /even head size, got 3/,
    );
    expect(() => new MultiHeadAttention(6, 4, { headSize: 0 })).toThrow(OptionError);
  });

  it("loses heads by rows of its projections: forward, cache and pack go on", () => {
    const attention = evaluate(new MultiHeadAttention(6, 3, { rng: rng() }));
    const x = randn([1, 4, 6], { rng: rng() });
    const wanted = attention.forward(x, { causal: true, headMask: [1, 0, 1] });
    const kept = [0, 1, 4, 5];
    for (const { weight, bias } of [attention.query, attention.key, attention.value]) {
      take(weight, 0, kept);
      take(bias!, 0, kept);
    }
    take(attention.out.weight, 1, kept);
    expect([attention.heads, attention.kvHeads]).toEqual([2, 2]);
    close(attention.forward(x, { causal: true }).data, wanted.data);
    const cache = new KVCache();
    const steps = [0, 1, 2, 3].map((t) =>
      attention.forward(x.slice([null, [t, t + 1]]), { causal: true, cache }),
    );
    close(
      steps.flatMap((step) => [...step.data]),
      wanted.data,
    );
    close(run(attention, x), attention.forward(x).data);
    take(attention.query.weight, 0, [0, 1, 2]);
    take(attention.query.bias!, 0, [0, 1, 2]);
    expect(() => attention.forward(x)).toThrow(ShapeError);
  });
});
