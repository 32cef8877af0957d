import { GradError, OptionError, Rng, randn, type Tensor, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import {
  BatchNorm1d,
  Dropout,
  evaluate,
  Linear,
  mseLoss,
  Parameter,
  Sequential,
  stateDict,
} from "bitgrad/nn";
import { adamw, optimizer, sgd } from "bitgrad/optim";
import type { EpochReport, FitOptions } from "bitgrad/train";
import * as training from "bitgrad/train";
import { describe, expect, it } from "vitest";

const x = randn([12, 3], { rng: new Rng(1) });
const y = x.matmul(tensor([[1], [-2], [0.5]]));
type Batch = { x: Tensor; y: Tensor };
const net = () =>
  new Sequential(
    new Linear(3, 4, { rng: new Rng(2) }),
    new BatchNorm1d(4),
    new Dropout(0.3),
    new Linear(4, 1, { rng: new Rng(3) }),
  );
const loss = (m: Sequential, batch: Batch) => mseLoss(m.forward(batch.x), batch.y);
const train = () => loader({ x, y }, { batch: 4, shuffle: true, rng: new Rng(4) });
const bits = (model: object) => Object.values(stateDict(model)).map((t) => Array.from(t.data));

/** A model of one number, whose validation values are those of `script`, one each time. */
function scripted(script: readonly number[], more: Partial<FitOptions<{ w: Parameter }, number>> = {}) {
  const model = { w: new Parameter(tensor([0])) };
  let turn = 0;
  return {
    model,
    run: () =>
      training.fit(model, {
        data: [1],
        loss: (m) => m.w.value.sum(),
        optimizer: optimizer(model, sgd({ lr: 1 })),
        epochs: script.length,
        validation: { data: [0] },
        metrics: { score: () => script[turn++] },
        earlyStopping: { metric: "score", patience: 1 },
        ...more,
      }),
  };
}

describe("validation", () => {
  it("gives means by what batches count, after every epoch, in evaluation", async () => {
    const model = net();
    const reports: EpochReport[] = [];
    const history = await training.fit(model, {
      data: train(),
      loss,
      optimizer: optimizer(model, adamw({ lr: 0.01 })),
      epochs: 2,
      validation: { data: loader({ x, y }, { batch: 5 }) },
      metrics: {
        count: (_m, batch) => ({ value: batch.x.shape[0], count: batch.x.shape[0] }),
        batches: (_m, batch) => batch.x.shape[0],
        training: (m) => Number((m[2] as Dropout).training),
        nothing: () => ({ value: Number.NaN, count: 0 }),
      },
      onEpoch: (report) => reports.push(report),
    });
    expect(history.validations.map(({ step, epoch }) => [step, epoch])).toEqual([
      [3, 1],
      [6, 2],
    ]);
    const [first] = history.validations;
    expect(first.values.count).toBeCloseTo((5 * 5 + 5 * 5 + 2 * 2) / 12);
    expect(first.values).toMatchObject({ batches: 4, training: 0, nothing: 0 });
    expect(reports.map(({ epoch, step, validation }) => [epoch, step, validation])).toEqual([
      [0, 3, first],
      [1, 6, history.validations[1]],
    ]);
    const mean = (from: number) => history.losses.slice(from, from + 3).reduce((a, b) => a + b, 0) / 3;
    expect(reports.map((report) => report.loss)).toEqual([mean(0), mean(3)]);
    expect(history).toMatchObject({ best: null, stopped: false });
  });

  it("is the loss of the evaluated model", async () => {
    const model = net();
    const { validations } = await training.fit(model, {
      data: train(),
      loss: (m, batch) => ({ loss: loss(m, batch), count: batch.x.shape[0] }),
      optimizer: optimizer(model, adamw({ lr: 0.01 })),
      epochs: 1,
      validation: { data: loader({ x, y }, { batch: 5 }) },
    });
    evaluate(model);
    expect(validations[0].values.loss).toBeCloseTo(loss(model, { x, y }).item(), 6);
  });

  it("does not change what is trained, whatever it draws", async () => {
    const run = async (more: Partial<FitOptions<Sequential, Batch>>) => {
      const model = net();
      const rng = new Rng(9);
      const history = await training.fit(model, {
        data: train(),
        loss: (m, batch) => loss(m, { ...batch, x: batch.x.add(randn(batch.x.shape, { rng })) }),
        optimizer: optimizer(model, adamw({ lr: 0.01 })),
        epochs: 3,
        ...more,
      });
      return { losses: history.losses, bits: bits(model) };
    };
    const { defaultRng } = await import("../../src/random/default.ts");
    const start = defaultRng().state;
    const plain = await run({});
    defaultRng().state = start;
    const watched = await run({
      validation: { data: loader({ x, y }, { batch: 5, shuffle: true, rng: new Rng(1) }), every: 2 },
      metrics: { draws: () => randn([2]).sum().item() },
    });
    expect(watched).toEqual(plain);
  });

  it("every so many steps is told apart from the ends of epochs", async () => {
    const model = net();
    const epochs: (object | null)[] = [];
    const { validations } = await training.fit(model, {
      data: train(),
      loss,
      optimizer: optimizer(model, adamw()),
      steps: 7,
      validation: { data: [{ x, y }], every: 2 },
      onEpoch: ({ validation }) => epochs.push(validation),
    });
    expect(validations.map(({ step, epoch }) => [step, epoch])).toEqual([
      [2, 0],
      [4, 1],
      [6, 1],
    ]);
    expect(epochs).toEqual([null, null]);
  });

  it("goes through its data in the same order each time", async () => {
    const model = net();
    const seen: number[][] = [];
    await training.fit(model, {
      data: train(),
      loss,
      optimizer: optimizer(model, adamw()),
      epochs: 2,
      validation: { data: loader({ x, y }, { batch: 12, shuffle: true, rng: new Rng(1) }) },
      metrics: { seen: (_m, batch) => seen.push(Array.from(batch.x.data)) },
    });
    expect(seen[0]).not.toEqual(Array.from(x.data));
    expect(seen[1]).toEqual(seen[0]);
  });
});

describe("early stopping", () => {
  it("ends after more bad validations than are let pass, and puts the best weights back", async () => {
    const { model, run } = scripted([5, 3, 4, 3, 1, 0]);
    const history = await run();
    expect(history).toMatchObject({ stopped: true, epochs: 4, best: { step: 2, values: { score: 3 } } });
    expect(history.validations.map(({ best }) => best)).toEqual([true, true, false, false]);
    expect(model.w.value.item()).toBe(-2);
  });

  it("leaves the last weights where it is told to", async () => {
    const { model, run } = scripted([1, 2, 3, 4], {
      earlyStopping: { metric: "score", patience: 1, restore: false },
    });
    expect(await run()).toMatchObject({ stopped: true, best: { step: 1 } });
    expect(model.w.value.item()).toBe(-3);
  });

  it("of a higher number, by a least gain, and never of NaN", async () => {
    const { run } = scripted([Number.NaN, 1, 1.5, 2.5, 2.5], {
      earlyStopping: { metric: "score", mode: "max", minDelta: 1, patience: Number.POSITIVE_INFINITY },
    });
    const { validations, stopped } = await run();
    expect(validations.map(({ best }) => best)).toEqual([false, true, false, true, false]);
    expect(stopped).toBe(false);
  });

  it("keeps what was done by an aborted run, without the best weights", async () => {
    const stop = new AbortController();
    const { model, run } = scripted([1, 2, 3, 4, 5], {
      signal: stop.signal,
      earlyStopping: { metric: "score", patience: 9 },
      onEpoch: ({ epoch }) => epoch === 2 && stop.abort(),
    });
    expect(await run()).toMatchObject({ aborted: true, stopped: false, best: { step: 1 } });
    expect(model.w.value.item()).toBe(-3);
  });
});

describe("fit refuses", () => {
  const data = train();
  it.each([
    [{ metrics: { a: Number } }, /metrics need data to measure on/],
    [{ earlyStopping: {} }, /earlyStopping watches validation/],
    [{ validation: { data: 1 } }, /validation.data must be an iterable of batches, got 1/],
    [{ validation: { data } }, /needs a loader of its own/],
    [{ validation: { data: [], every: 0 } }, /validation.every must be a whole number, got 0/],
    [{ validation: { data: [] } }, /validation.data gave no batch/],
    [{ validation: { data: [0] }, metrics: { loss: () => 1 } }, /a name of its own, got "loss"/],
    [{ validation: { data: [0] }, metrics: { a: 1 } }, /metrics must be functions by name/],
    [{ validation: { data: [{ x, y }] }, metrics: { a: String } }, /a metric must be a number/],
    [{ validation: { data: [0] }, earlyStopping: { metric: "a" } }, /what is not measured, got "a"/],
    [{ validation: { data: [0] }, earlyStopping: { mode: "up" } }, /mode must be "min" or "max"/],
    [{ validation: { data: [0] }, earlyStopping: { patience: -1 } }, /patience must be a whole number/],
    [{ validation: { data: [0] }, earlyStopping: { minDelta: -1 } }, /minDelta must be finite/],
    [{ validation: { data: [0] }, earlyStopping: { nope: 1 } }, /unknown option, got "nope"/],
    [{ onEpoch: 1 }, /onEpoch must be a function, got 1/],
    [{ checkpoint: { path: 1 } }, /checkpoint.path must be the path of a file, got 1/],
    [{ checkpoint: { path: "" } }, /checkpoint.path must be the path of a file/],
    [{ checkpoint: { path: "a", every: 0.5 } }, /checkpoint.every must be a whole number/],
    [{ checkpoint: { path: "a", scheduler: {} } }, /checkpoint.scheduler must be what schedule returned/],
  ])("%o", async (wrong, message) => {
    const model = net();
    const settings = { data, loss, optimizer: optimizer(model, sgd()), epochs: 1, ...wrong } as never;
    const error = await training.fit(model, settings).catch((reason) => reason);
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toMatch(message);
  });
});

it("a validation that fails leaves the model in training", async () => {
  const model = net();
  const failing = training.fit(model, {
    data: train(),
    loss,
    optimizer: optimizer(model, sgd()),
    epochs: 1,
    validation: { data: [{ x, y }] },
    metrics: {
      bad() {
        throw new GradError("bad");
      },
    },
  });
  await expect(failing).rejects.toThrow("bad");
  expect((model[2] as Dropout).training).toBe(true);
});
