/** What refuses an async callback takes its promise: a rejection that nobody hears of would end the process. */

import { checkpoint, grad, hvp, noGrad, ones, scope, type Tensor, valueAndGrad, vjp } from "bitgrad";
import { Linear, taps, whileEvaluating, withoutData, withoutDraws } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { gradcheck } from "bitgrad/testing";
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
  ])("is a typed error of %s, and nothing else", async (_, run) => {
    expect(run).toThrow(/synchronous/);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(unheard).toEqual([]);
  });
});
