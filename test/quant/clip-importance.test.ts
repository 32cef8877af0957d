/** clipSearch by an importance matrix: what batches give, without them. */

import { OptionError, Rng, randn, ShapeError, tensor } from "bitgrad";
import { readImatrix, writeImatrix } from "bitgrad/io";
import { Conv2d, type Layer, Linear, Sequential, statistics } from "bitgrad/nn";
import { clipSearch, plan, prepare, quantizedTransform, ste } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const quantizer = ste({ bits: 2, granularity: "channel", scaleDtype: "float32" });
const prepared = <M extends Layer>(model: M): M => prepare(model, plan({ default: { weight: quantizer } }));
const scaleOf = (layer: { weight: Linear["weight"] }): number[] =>
  Array.from(quantizedTransform(layer.weight)!.codes!.scale.data as Float32Array);
/** Inputs whose columns differ a thousandfold. */
const spread = [1, 30, 0.03, 1, 10, 0.1, 3, 0.3];
const inputs = () => randn([40, 8], { rng: new Rng(2) }).mul(tensor(spread));
const linear = () => {
  const layer = new Linear(8, 16, { rng: new Rng(1) });
  return prepared(layer);
};

it("finds the scales that batches give, where no layer is before", async () => {
  const [byBatches, byImportance, alone] = [linear(), linear(), linear()];
  await clipSearch(byBatches, [inputs()]);
  const importance = await statistics(byImportance, [inputs()], { keep: ["sumOfSquares"] });
  await clipSearch(byImportance, null, { importance });
  await clipSearch(alone);
  expect(scaleOf(byImportance)).toEqual(scaleOf(byBatches));
  expect(scaleOf(byImportance)).not.toEqual(scaleOf(alone));
});

it("takes what a file holds", async () => {
  const [a, b] = [linear(), linear()];
  const importance = await statistics(a, [inputs()], { keep: ["sumOfSquares"] });
  await clipSearch(a, null, { importance });
  await clipSearch(b, null, { importance: readImatrix(writeImatrix(importance)).importance });
  expect(scaleOf(b)).toEqual(scaleOf(a));
});

it("takes columns of each group of a convolution", async () => {
  const conv = () => prepared(new Conv2d(4, 4, 3, { groups: 2, rng: new Rng(3) }));
  const x = randn([2, 4, 6, 6], { rng: new Rng(4) });
  const [byBatches, byImportance] = [conv(), conv()];
  await clipSearch(byBatches, [x]);
  await clipSearch(byImportance, null, {
    importance: await statistics(byImportance, [x], { keep: ["sumOfSquares"] }),
  });
  expect(scaleOf(byImportance)).toEqual(scaleOf(byBatches));
});

it("takes the sum of what it says of layers that share a weight", async () => {
  const tied = () => {
    const [a, b] = [1, 2].map((seed) => new Linear(8, 8, { bias: false, rng: new Rng(seed) }));
    b.weight = a.weight;
    return prepared(new Sequential({ a, b }));
  };
  const model = tied();
  const importance = await statistics(model, [inputs()], { keep: ["sumOfSquares"] });
  const [a, b] = [importance.get("a")!.sumOfSquares, importance.get("b")!.sumOfSquares];
  expect(a.toArray()).not.toEqual(b.toArray());
  const heard: string[] = [];
  await clipSearch(model, null, { importance, onLayer: ({ layer, of }) => heard.push(`${layer} of ${of}`) });
  expect(heard).toEqual(["a of 1"]);
  const both = prepared(new Sequential({ a: new Linear(8, 8, { bias: false, rng: new Rng(1) }) }));
  await clipSearch(both, null, { importance: new Map([["a", { sumOfSquares: a.add(b) }]]) });
  const [found, want] = [model, both].map((each) => scaleOf([...each][0] as Linear));
  expect(found).toEqual(want);
  await expect(
    clipSearch(model, null, { importance: new Map([["a", { sumOfSquares: a }]]) }),
  ).rejects.toThrow('importance must tell of every layer, got undefined of "b"');
});

describe("what is refused leaves the model as it was", () => {
  const of = (path: string, sums: number[]) =>
    new Map([[path, { sumOfSquares: tensor(sums, { dtype: "float64" }) }]]);
  const ones = Array<number>(8).fill(1);
  it.each([
    ["a layer that it does not name", of("1", ones), null, OptionError, 'got undefined of "0"'],
    ["other columns", of("0", [1, 2, 3]), null, ShapeError, 'got 3 for 8 of layer "0"'],
    ["columns of two groups", of("0", [...ones, ...ones]), null, ShapeError, 'got 16 for 8 of layer "0"'],
    ["no columns", of("0", []), null, ShapeError, 'got 0 for 8 of layer "0"'],
    ["a negative sum", of("0", [...ones.slice(1), -1]), null, OptionError, "got -1 of column 7"],
    ["NaN", of("0", [Number.NaN, ...ones.slice(1)]), null, OptionError, "got NaN of column 0"],
    ["no map", { 0: ones }, null, OptionError, "must be a Map"],
    ["batches beside it", of("0", ones), [inputs()], OptionError, "got both"],
  ])("%s", async (_, importance, batches, kind, message) => {
    const model = prepared(new Sequential(new Linear(8, 4, { rng: new Rng(5) })));
    const search = clipSearch(model, batches, { importance: importance as never });
    await expect(search).rejects.toThrow(kind);
    await expect(search).rejects.toThrow(message);
    const [layer] = [...model] as Linear[];
    expect(quantizedTransform(layer.weight)!.codes).toBe(null);
  });
});
