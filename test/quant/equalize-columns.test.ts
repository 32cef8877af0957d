/** Scales of columns for 1-bit weights, which go into what makes their inputs. */

import { Rng, randn, type Tensor, tensor } from "bitgrad";
import type { MnistCnn } from "bitgrad/models";
import { Linear, stateDict, whileFloat } from "bitgrad/nn";
import {
  binarize,
  binaryWeightOnly,
  bwn,
  equalizeColumns,
  int8WeightOnly,
  lowRankCorrection,
  plan,
  prepare,
  quantizedTransform,
  signApproximation,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { type Net, nets } from "../models/nets.ts";
import { Gained, listening } from "./channels.ts";

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const signs = plan({ default: binaryWeightOnly({ scaleDtype: "float32" }) });
const length = (t: Tensor): number => Math.sqrt(t.square().sum().item());

/** (8, 8): W_ij = ((29(8i + j) mod 61) − 30) / 20, column 3 times 4. */
const golden = Array.from({ length: 64 }, (_, i) => ((((29 * i) % 61) - 30) / 20) * (i % 8 === 3 ? 4 : 1));

it("takes ARB-RC's scales of columns", async () => {
  const model = prepare(new Gained(tensor(golden, { shape: [8, 8] })), signs);
  const { heard, onPair } = listening();
  expect(await equalizeColumns(model, { iterations: 40, onPair })).toBe(model);
  const [{ factors }] = heard;
  const matrix = tensor(golden, { shape: [8, 8], dtype: "float64" });
  const { values } = signApproximation(matrix, { form: "rowColumn", iterations: 40 });
  const scales = list(values).slice(0, 8).map(Math.abs);
  const products = factors!.map((factor, c) => factor * scales[c]);
  for (const product of products) expect(product / products[0]).toBeCloseTo(1, 6);
  expect(Math.min(...factors!)).toBe(1);
});

it("lets row scales of signs reach ARB-RC's error", async () => {
  const model = prepare(new Gained(tensor(golden, { shape: [8, 8] })), signs);
  const { heard, onPair } = listening();
  await equalizeColumns(model, { onPair });
  const columns = tensor(heard[0].factors!);
  // Inputs that are apart, and as large as the factors make them: the error is that of the weight as it was.
  await binarize(
    model,
    [
      tensor(
        golden.map((_, i) => (i % 9 === 0 ? 1 : 0)),
        { shape: [8, 8] },
      ),
    ],
    { method: "arbX" },
  );
  const off = model.linear.weight
    .effective()
    .div(columns)
    .sub(tensor(golden, { shape: [8, 8] }));
  expect(off.square().sum().item()).toBeCloseTo(18.4355, 3);
});

describe("the float function", () => {
  it.each(Object.entries(nets))("of a %s stays as it is", async (_, net: Net) => {
    const model = prepare(net.make(), signs);
    const plain = whileFloat(model, () => net.run(model)) as Tensor;
    const { heard, onPair } = listening();
    await equalizeColumns(model, { onPair });
    expect(heard.some(({ factors }) => factors?.some((s) => Math.abs(s - 1) > 0.01))).toBe(true);
    const now = whileFloat(model, () => net.run(model)) as Tensor;
    expect(length(now.sub(plain))).toBeLessThanOrEqual(1e-5 * length(plain));
  });
});

it("helps signs where columns differ, before and after they are fitted to the inputs", async () => {
  const rng = new Rng("columns");
  const sizes = randn([24], { rng }).exp();
  const weight = randn([32, 24], { rng }).mul(sizes);
  const x = randn([200, 24], { rng })
    .matmul(randn([24, 24], { rng }))
    .div(sizes);
  const want = x.matmul(weight, { transposeB: true });
  const made = () => prepare(new Gained(weight), signs);
  const errorOf = (model: Gained): number => length(model.forward(x).sub(want)) / length(want);
  expect(errorOf(await equalizeColumns(made()))).toBeLessThan(0.8 * errorOf(made()));
  const fitted = [await binarize(made(), [x]), await binarize(await equalizeColumns(made()), [x])];
  expect(errorOf(fitted[1])).toBeLessThan(0.8 * errorOf(fitted[0]));
});

it("leaves columns of zeros, and weights of other kinds, as they are", async () => {
  const zeros = tensor(
    golden.map((w, i) => (i % 8 === 2 ? 0 : w)),
    { shape: [8, 8] },
  );
  const model = prepare(new Gained(zeros), signs);
  const { heard, onPair } = listening();
  await equalizeColumns(model, { onPair });
  expect(heard[0].factors![2]).toBe(1);
  expect(list(model.linear.weight.value).every(Number.isFinite)).toBe(true);
  const none = prepare(new Gained(tensor(new Float32Array(64), { shape: [8, 8] })), signs);
  await equalizeColumns(none, { onPair });
  expect(heard[1].factors).toEqual(Array(8).fill(1));
  const int8 = prepare(new Gained(zeros), plan({ default: int8WeightOnly() }));
  await expect(equalizeColumns(int8)).rejects.toThrow(
    'equalizeColumns: no pair can be scaled, got 1 skipped, the first to "linear": none of its consumers has weights of signs',
  );
});

it("passes over pairs that no weights of signs read", async () => {
  const net = nets.MnistCnn.make() as MnistCnn;
  const before = stateDict(net)["fc2.weight"].data.slice();
  prepare(net, plan({ default: binaryWeightOnly(), rules: [["fc2.weight", int8WeightOnly()]] }));
  const { heard, onPair } = listening();
  await equalizeColumns(net, { onPair });
  expect(heard.find(({ consumers }) => consumers.includes("fc2"))!.skipped).toBe(
    "none of its consumers has weights of signs",
  );
  expect(list(net.fc2.weight.value)).toEqual(Array.from(before));
});

it("does not scale under a correction, which fits channels as they are", async () => {
  const model = prepare(new Gained(tensor(golden, { shape: [8, 8] })), signs);
  await lowRankCorrection(model, null, { method: "svd", rank: 1 });
  const before = list(model.linear.weight.value);
  await expect(equalizeColumns(model)).rejects.toThrow(
    '"linear" has a correction of its channels as they are',
  );
  expect(list(model.linear.weight.value)).toEqual(before);
});

it("lets codes go that its weights held, and refuses weights that are not finite", async () => {
  const model = prepare(new Gained(tensor(golden, { shape: [8, 8] })), plan({ default: { weight: bwn() } }));
  await binarize(model, [randn([16, 8], { rng: new Rng(1) })]);
  await equalizeColumns(model);
  expect(quantizedTransform(model.linear.weight)!.codes).toBeNull();
  model.linear.weight.update((data) => {
    data[3] = Number.NaN;
  });
  await expect(equalizeColumns(model)).rejects.toThrow(
    /equalizeColumns: weights must be finite, got NaN in "linear.weight"/,
  );
  await expect(equalizeColumns(prepare(new Linear(3, 2), signs))).rejects.toThrow(/scalePairs/);
  await expect(equalizeColumns(model, { iterations: -1 })).rejects.toThrow(
    /iterations must be an integer of at least 0, got -1/,
  );
});
