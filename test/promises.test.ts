/** What refuses an async callback takes its promise: a rejection that nobody hears of would end the process. */

import {
  checkpoint,
  grad,
  hvp,
  noGrad,
  ones,
  scope,
  shapesOnly,
  type Tensor,
  valueAndGrad,
  vjp,
} from "bitgrad";
import { hiddenMse } from "bitgrad/distill";
import { load, save } from "bitgrad/io";
import { Gpt } from "bitgrad/models";
import {
  Linear,
  loadStateDict,
  Parameter,
  parametrize,
  stateDict,
  type Transform,
  taps,
  whileEvaluating,
  withoutData,
  withoutDraws,
} from "bitgrad/nn";
import { optimizer, schedule, sgd } from "bitgrad/optim";
import {
  bwn,
  calibrate,
  int8Static,
  plan,
  prepare,
  type QuantConfig,
  spec,
  staticInput,
} from "bitgrad/quant";
import { gradcheck, leakCheck } from "bitgrad/testing";
import { trainStep } from "bitgrad/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const unheard: unknown[] = [];
const hear = (reason: unknown) => void unheard.push(reason);
beforeAll(() => void process.on("unhandledRejection", hear));
afterAll(() => void process.off("unhandledRejection", hear));

const late = (async () => {
  await null;
  throw new Error("late");
}) as () => never;
const x = ones([2]);
const layer = new Linear(2, 2);

const gpt = new Gpt({ vocabulary: 5, context: 4, dim: 4, layers: 1, heads: 1 });
const of = (transform: Transform): Parameter => {
  const parameter = new Parameter(ones([2]));
  parameter.transforms.push(transform);
  return parameter;
};
const stepped = (changes: object): void => {
  const model = new Linear(2, 2);
  model
    .forward(ones([1, 2]))
    .sum()
    .backward();
  const rule = { name: "own", options: {}, init: () => ({}), update: () => {} };
  optimizer(model, { ...rule, ...changes }).step();
};
const prepared = (config: QuantConfig) => prepare(new Linear(2, 2), plan({ default: config }));
const own = (changes: object) => {
  const how = spec({ bits: 4 });
  const params = () => ({ scale: ones([1]), zeroPoint: null });
  return prepared({ weight: { name: "own", spec: how, params, ...changes } }).weight.effective();
};

describe("an async callback whose promise rejects later", () => {
  it.each<[string, () => unknown]>([
    ["scope", () => scope(late)],
    ["noGrad", () => noGrad(late)],
    ["grad", () => grad(late as (t: Tensor) => Tensor)(x)],
    ["valueAndGrad", () => valueAndGrad(late as (t: Tensor) => Tensor)(x)],
    ["vjp", () => vjp(late as (t: Tensor) => Tensor)(x)],
    ["hvp", () => hvp(late as (t: Tensor) => Tensor)(x, x)],
    ["checkpoint", () => checkpoint(late as (t: Tensor) => Tensor)(x)],
    ["whileEvaluating", () => whileEvaluating(layer, late)],
    ["withoutData", () => withoutData(late)],
    ["withoutDraws", () => withoutDraws(late)],
    [
      "collect",
      () =>
        taps(
          new (class {
            layer = layer;
          })(),
          "layer",
        ).collect(late),
    ],
    ["trainStep", () => trainStep(layer, optimizer(layer, sgd({ lr: 1 })), late)],
    ["gradcheck", () => gradcheck(late as (t: Tensor) => Tensor, [x])],
    ["leakCheck", () => leakCheck(late)],
    ["shapesOnly", () => shapesOnly(late)],
    ["shapesOnly's visit", () => shapesOnly(() => x.add(1), late)],
    ["update", () => new Parameter(ones([2])).update(late)],
    ["a transform", () => of({ apply: late }).effective()],
    ["a factory of transforms", () => parametrize(new Linear(2, 2), "weight", late)],
    ["rename", () => loadStateDict(layer, stateDict(layer), { rename: late })],
    ["a predicate", () => optimizer(layer, [[late, sgd({ lr: 1 })]])],
    ["a rule's init", () => stepped({ init: late })],
    ["a rule's update", () => stepped({ update: late })],
    ["a schedule", () => schedule(optimizer(layer, sgd({ lr: 1 })), late)],
    ["project", () => hiddenMse(x, x, { project: late })],
    ["onToken", () => gpt.generate([1], { maxTokens: 1, onToken: late })],
    ["a rule of a plan", () => plan({ rules: [[late, null]] }).explain(layer)],
    ["a config's weight", () => prepared({ weight: late })],
    ["a config's input", () => prepared({ weight: bwn(), input: late })],
    ["an observer's factory", () => prepared({ weight: bwn(), input: staticInput({ observer: late }) })],
    ["a quantizer's params", () => own({ params: late })],
    ["a quantizer's codes", () => own({ codes: late })],
    ["a quantizer's soft", () => own({ soft: late })],
  ])("is a typed error of %s, and nothing else", async (_, run) => {
    expect(run).toThrow(/synchronous/);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(unheard).toEqual([]);
  });

  it.each<[string, () => Promise<unknown>]>([
    ["calibrate", () => calibrate(prepared(int8Static()), [ones([1, 2])], { forward: late })],
    [
      "an observer",
      () => {
        const observer = () => ({ spec: spec(), observe: late, params: late });
        return calibrate(prepared({ weight: bwn(), input: staticInput({ observer }) }), [ones([1, 2])]);
      },
    ],
    ["a map of names", async () => load((await save(null, layer)) as Uint8Array, { rename: late })],
  ])("is a rejection of %s, and nothing else", async (_, run) => {
    await expect(run()).rejects.toThrow(/synchronous/);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(unheard).toEqual([]);
  });
});
