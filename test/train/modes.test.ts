import { Rng, randn } from "bitgrad";
import { BatchNorm1d, clone, Dropout, evaluate, Linear, Sequential, train } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import * as training from "bitgrad/train";
import { describe, expect, it } from "vitest";

const x = randn([8, 3], { rng: new Rng(1) }).add(5);
const make = () => ({
  backbone: new Sequential(new Linear(3, 4), new BatchNorm1d(4)),
  drop: new Dropout(0.5),
  head: new Linear(4, 1),
});
type Model = ReturnType<typeof make>;
const forward = (m: Model) =>
  m.head
    .forward(m.drop.forward(m.backbone.forward(x)))
    .square()
    .mean();
const norm = (m: Model) => m.backbone[1] as BatchNorm1d;
const modes = (m: Model) => [norm(m).training, m.drop.training];
const run = (m: Model, onStep?: (at: { step: number }) => unknown, steps = 1) => {
  const seen: boolean[][] = [];
  const loss = (it: Model) => {
    seen.push(modes(it));
    return forward(it);
  };
  return training
    .fit(m, { data: [1], loss, optimizer: optimizer(m, sgd({ lr: 0.01 })), steps, onStep })
    .then(() => seen);
};

describe("fit and modes", () => {
  it("leaves a part that was put into evaluation there, and its running statistics", async () => {
    const m = make();
    evaluate(m.backbone);
    const before = [...norm(m).runningMean.data];
    expect(await run(m)).toEqual([[false, true]]);
    training.trainStep(m, optimizer(m, sgd({ lr: 0.01 })), forward);
    expect([...norm(m).runningMean.data]).toEqual(before);
  });

  it("tells a part in evaluation from a model in evaluation, in whichever order they got there", async () => {
    const m = make();
    evaluate(m);
    expect(await run(m)).toEqual([[true, true]]);
    evaluate(m.backbone);
    evaluate(m);
    expect(await run(m)).toEqual([[false, true]]);
    evaluate(m);
    evaluate(m.drop);
    expect(await run(m)).toEqual([[false, false]]);
    train(m.backbone);
    expect(await run(m)).toEqual([[true, false]]);
    train(m);
    evaluate({ m });
    expect(await run(m)).toEqual([[true, true]]);
    evaluate([norm(m), m.drop]);
    expect(await run(m)).toEqual([[false, false]]);
  });

  it("keeps a model of which one part alone has a mode in evaluation where that part was meant", async () => {
    const m = new Sequential(new Linear(3, 4), new BatchNorm1d(4), new Linear(4, 1));
    evaluate(m[1] as BatchNorm1d);
    const seen: boolean[] = [];
    const loss = (it: Sequential) => {
      seen.push((it[1] as BatchNorm1d).training);
      return it.forward(x).square().mean();
    };
    await training.fit(m, { data: [1], loss, optimizer: optimizer(m, sgd()), steps: 1 });
    expect(seen).toEqual([false]);
  });

  it("trains every step, whatever a callback evaluates", async () => {
    const m = make();
    expect(await run(m, () => evaluate(m), 3)).toEqual([
      [true, true],
      [true, true],
      [true, true],
    ]);
    evaluate(m.backbone);
    const turn = () => {
      evaluate(m);
      train(m);
    };
    expect(await run(m, turn, 2)).toEqual([
      [false, true],
      [false, true],
    ]);
    train(m);
    expect(await run(m, ({ step }) => step === 1 && evaluate(m.drop), 2)).toEqual([
      [true, true],
      [true, false],
    ]);
  });

  it("takes a copy's parts for what they were copied from", async () => {
    const m = make();
    evaluate(m.backbone);
    evaluate(m);
    expect(await run(clone(m))).toEqual([[false, true]]);
  });

  it.each([train, evaluate])("%o refuses what is no model", (put) => {
    expect(() => put(5 as never)).toThrow(`${put.name}: expected a model, got 5`);
  });
});
