import {
  backendInfo,
  GradError,
  memory,
  OptionError,
  ones,
  Rng,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { loader } from "bitgrad/data";
import { clone, Dropout, evaluate, Linear, mseLoss, Parameter, Sequential, stateDict } from "bitgrad/nn";
import { adamw, cosine, linear, optimizer, plateau, schedule, sgd } from "bitgrad/optim";
import { expectClose, leakCheck } from "bitgrad/testing";
import * as training from "bitgrad/train";
import { trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

const rng = () => new Rng(11);
const x = randn([12, 3], { rng: new Rng(12) });
const y = x.matmul(tensor([[1], [-2], [0.5]]));
const model = () => new Linear(3, 1, { rng: rng() });
const batches = (size: number) => loader({ x, y }, { batch: size });
type XY = { x: Tensor; y: Tensor };
const loss = (m: { forward(x: Tensor): Tensor }, batch: XY) => mseLoss(m.forward(batch.x), batch.y);
const weights = (m: object) => Object.values(stateDict(m)).map((t) => t.toArray());

describe("trainStep", () => {
  it("steps down the gradient and returns the loss before the step", () => {
    const m = model();
    const update = optimizer(m, sgd({ lr: 0.1 }));
    const before = mseLoss(m.forward(x), y).item();
    expect(trainStep(m, update, (it) => mseLoss(it.forward(x), y))).toBe(before);
    expect(mseLoss(m.forward(x), y).item()).toBeLessThan(before);
  });

  it("leaves the gradients readable and drops them before the next step", () => {
    const m = model();
    const update = optimizer(m, sgd({ lr: 0 }));
    trainStep(m, update, () => mseLoss(m.forward(x), y));
    const first = m.weight.grad?.toArray();
    trainStep(m, update, () => mseLoss(m.forward(x), y));
    expect(m.weight.grad?.toArray()).toEqual(first);
  });

  it("releases the gradients of the step before, and those alone", () => {
    const big = new Linear(32, 32);
    const update = optimizer(big, sgd({ lr: 0.1 }));
    const step = () => training.trainStep(big, update, (m) => m.forward(ones([2, 32])).sum());
    const mine = zeros([32, 32]);
    big.weight.grad = mine;
    step();
    expect(mine.data[0]).toBe(0);
    const { grad } = big.weight;
    expect(grad!.data[0]).toBe(2);
    const { bytes } = backendInfo().heap;
    for (let i = 0; i < 5; i++) step();
    expect(backendInfo().heap.bytes).toBe(bytes);
    if (backendInfo().name === "simd") expect(() => grad!.data).toThrow(/released by the next training step/);
  });

  it("drops the gradients of parameters that the optimizer does not step", () => {
    const m = model();
    const update = optimizer([m.weight], sgd({ lr: 0 }));
    m.bias!.trainable = false;
    m.bias!.grad = tensor([1]);
    trainStep(m, update, () => m.forward(x).sum());
    expect(m.bias!.grad).toBe(null);
  });

  it("names trainable parameters that have a gradient and that the optimizer does not step", async () => {
    const m = { body: new Linear(3, 3), head: new Linear(3, 1) };
    const update = optimizer(m, sgd({ lr: 1 }));
    m.head = new Linear(3, 1);
    const before = weights(m);
    const text = 'no group of the optimizer holds trainable parameters, got ("head.weight", "head.bias")';
    const forward = (it: typeof m) => it.head.forward(it.body.forward(x)).sum();
    expect(() => trainStep(m, update, forward)).toThrow(`trainStep: ${text}`);
    const run = training.fit(m, { data: [1], loss: forward, optimizer: update, steps: 1 });
    await expect(run).rejects.toThrow(`fit: ${text}`);
    expect(weights(m)).toEqual(before);
    for (const parameter of [m.head.weight, m.head.bias!]) parameter.trainable = false;
    trainStep(m, update, forward);
    expect(weights(m)).not.toEqual(before);
  });

  it("leaves nothing of float64 on the heap", () => {
    const wide = new Linear(32, 32, { dtype: "float64" });
    const update = optimizer(wide, sgd({ lr: 0.1 }));
    const input = ones([2, 32], { dtype: "float64" });
    const step = () => trainStep(wide, update, (m) => m.forward(input).sum());
    step();
    const { bytes } = backendInfo().heap;
    step();
    expect(backendInfo().heap.bytes).toBe(bytes);
  });

  it("leaves no tensor behind, with a rule that has a state", () => {
    const m = model();
    const update = optimizer(m, adamw());
    leakCheck(() => trainStep(m, update, () => mseLoss(m.forward(x), y)));
    const { tensors } = memory();
    for (let i = 0; i < 50; i++) trainStep(m, update, () => mseLoss(m.forward(x), y));
    expect(memory().tensors).toBe(tensors);
  });

  it.each([
    ["a loss of many numbers", () => x, ShapeError, "got (12, 3)"],
    ["a loss that is no tensor", () => 1 as never, ShapeError, "got 1"],
    [
      "a NaN",
      () => tensor(Number.NaN, { requiresGrad: true }),
      GradError,
      "got NaN; no parameter was changed",
    ],
    ["a loss that depends on nothing", () => tensor(1), GradError, "nothing to differentiate"],
  ] as [string, () => Tensor, typeof GradError | typeof ShapeError, string][])(
    "refuses %s and changes nothing",
    (_, bad, kind, text) => {
      const m = model();
      const before = weights(m);
      const step = () => trainStep(m, optimizer(m, sgd({ lr: 1 })), bad);
      expect(step).toThrow(kind);
      expect(step).toThrow(text);
      expect(weights(m)).toEqual(before);
    },
  );
});

describe("fit", () => {
  it("learns, and tells of every step", async () => {
    const m = model();
    const steps: training.StepReport[] = [];
    const history = await training.fit(m, {
      data: batches(4),
      loss,
      optimizer: optimizer(m, adamw({ lr: 0.1, weightDecay: 0 })),
      epochs: 60,
      onStep: (report) => steps.push(report),
    });
    expect(history.losses).toHaveLength(180);
    expect(history.epochs).toBe(60);
    expect(history.aborted).toBe(false);
    expect(history.losses[179]).toBeLessThan(0.01);
    expect(steps[4]).toEqual({ step: 5, epoch: 1, loss: history.losses[4], lr: 0.1 });
    expectClose(m.weight.value, [[1, -2, 0.5]], { atol: 0.1 });
  });

  it.each([7, 6])("resumes bit for bit after %i steps, at 3 an epoch", async (before) => {
    const start = () => {
      const m = model();
      const update = optimizer(m, adamw());
      const rates = schedule(update, linear({ start: 1, end: 0, total: 20 }));
      return { m, update, rates, data: loader({ x, y }, { batch: 4, shuffle: true, rng: new Rng(13) }) };
    };
    const run = ({ m, update, rates, data }: ReturnType<typeof start>, steps: number) =>
      training.fit(m, { data, loss, optimizer: update, schedule: rates, steps });
    const straight = start();
    await run(straight, 13);

    const first = start();
    await run(first, before);
    const second = start();
    second.m = clone(first.m);
    second.update = optimizer(second.m, adamw());
    second.rates = schedule(second.update, linear({ start: 1, end: 0, total: 20 }));
    second.update.loadStateDict(first.update.stateDict());
    second.rates.loadStateDict(first.rates.stateDict());
    second.data.state = first.data.state;
    await run(second, 13 - before);
    expect(weights(second.m)).toEqual(weights(straight.m));
  });

  it("sets the learning rate by a schedule", async () => {
    const m = model();
    const lrs: number[] = [];
    await training.fit(m, {
      data: [{ x, y }],
      loss,
      optimizer: optimizer(m, sgd({ lr: 1e-3 })),
      steps: 3,
      schedule: (step) => 1 / 2 ** step,
      onStep: ({ lr }) => lrs.push(lr),
    });
    expect(lrs).toEqual([1e-3, 5e-4, 2.5e-4]);
  });

  it("stops between two steps when aborted, keeps what was done and drops half a step", async () => {
    const m = model();
    const update = optimizer(m, sgd({ lr: 0.1 }));
    const stop = new AbortController();
    const seen: unknown[] = [];
    const history = await training.fit(m, {
      data: batches(2),
      loss: (it, batch) => {
        seen.push(batch);
        if (seen.length === 6) stop.abort();
        return loss(it, batch);
      },
      optimizer: update,
      epochs: 5,
      accumulate: 4,
      signal: stop.signal,
    });
    expect(history).toMatchObject({ aborted: true, epochs: 0 });
    expect(history.losses).toHaveLength(1);
    expect(seen).toHaveLength(6);
    expect(m.weight.grad).toBe(null);
  });

  it("lets timers run, so that they can abort it", async () => {
    const m = model();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    const { aborted } = await training.fit(m, {
      data: [{ x, y }],
      loss,
      optimizer: optimizer(m, sgd({ lr: 1e-6 })),
      epochs: 10 ** 9,
      signal: stop.signal,
    });
    expect(aborted).toBe(true);
  });

  it("resolves where a loader throws the signal's reason, and rejects other errors", async () => {
    const m = model();
    const stop = new AbortController();
    const settings = { loss, optimizer: optimizer(m, sgd()), epochs: 9, signal: stop.signal };
    const data = loader({ x, y }, { batch: 4, signal: stop.signal });
    const { losses } = await training.fit(m, { ...settings, data, onStep: () => stop.abort() });
    expect(losses).toHaveLength(1);
    const failing = async function* (): AsyncGenerator<XY> {
      yield { x, y };
      throw new Error("disk");
    };
    await expect(training.fit(m, { ...settings, signal: undefined, data: failing() })).rejects.toThrow(
      "disk",
    );
  });

  it("switches to training mode", async () => {
    const m = evaluate(new Sequential(new Linear(3, 1), new Dropout(0)));
    await training.fit(m, { data: [{ x, y }], loss, optimizer: optimizer(m, sgd()), steps: 1 });
    expect((m[1] as Dropout).training).toBe(true);
  });

  it("does nothing for no steps and nothing for an aborted signal", async () => {
    const m = model();
    const before = weights(m);
    const settings = { data: [{ x, y }], loss, optimizer: optimizer(m, sgd()) };
    await training.fit(m, { ...settings, steps: 0 });
    await training.fit(m, { ...settings, steps: 5, signal: AbortSignal.abort() });
    expect(weights(m)).toEqual(before);
  });

  it("waits for onStep", async () => {
    const m = model();
    const order: string[] = [];
    await training.fit(m, {
      data: [{ x, y }],
      loss: (it, batch) => {
        order.push("loss");
        return loss(it, batch);
      },
      optimizer: optimizer(m, sgd()),
      steps: 2,
      onStep: async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        order.push("told");
      },
    });
    expect(order).toEqual(["loss", "told", "loss", "told"]);
  });

  it("says that a schedule has left every rate at 0, and trains where no schedule did", async () => {
    const m = model();
    const update = optimizer(m, sgd({ lr: 1e-3 }));
    const settings = { data: [{ x, y }], loss, optimizer: update, steps: 2 };
    await training.fit(m, { ...settings, schedule: cosine({ total: 2 }) });
    const before = weights(m);
    await expect(training.fit(m, settings)).rejects.toThrow(
      "fit: every learning rate is 0, got rates that a schedule has left there; pass a schedule or set optimizer.lr",
    );
    update.lr = 1e-3;
    await training.fit(m, settings);
    expect(weights(m)).not.toEqual(before);
    await training.fit(m, { ...settings, optimizer: optimizer(m, sgd({ lr: 0 })) });
  });

  const one = new Parameter(tensor([1]));
  const good = {
    data: [{ x, y }],
    loss: () => one.value.sum(),
    optimizer: optimizer([one], sgd()),
    epochs: 1,
  };
  it.each([
    ["data that is empty", { data: [] }, "no batch in epoch 0"],
    ["data that runs dry", { data: [{ x, y }].values(), epochs: 2 }, "no batch in epoch 1"],
    ["data that is not iterable", { data: 3 }, "iterable"],
    ["epochs and steps together", { steps: 1 }, "either epochs or steps"],
    ["neither epochs nor steps", { epochs: undefined }, "either epochs or steps"],
    ["half an epoch", { epochs: 0.5 }, "epochs must be a whole number, got 0.5"],
    ["an accumulation of 0", { accumulate: 0 }, "accumulate"],
    ["a NaN accumulation", { accumulate: Number.NaN }, "got NaN"],
    ["no optimizer", { optimizer: undefined }, "needs an optimizer"],
    ["an optimizer without groups", { optimizer: { step() {} } }, "needs an optimizer"],
    ["a plateau for a schedule", { schedule: plateau() }, "step a plateau in onStep"],
    [
      "a schedule of another optimizer",
      { schedule: schedule(optimizer([new Parameter(tensor([1]))], sgd()), linear({ total: 2 })) },
      "the schedule must be of its optimizer, got one at work on another",
    ],
    ["a number for a schedule", { schedule: 3 }, "schedule of steps, got 3"],
    ["a controller for a signal", { signal: new AbortController() }, "pass controller.signal"],
    ["a number to tell of steps", { onStep: 3 }, "onStep must be a function, got 3"],
    [
      "a count below 0",
      { loss: () => ({ loss: one.value.sum(), count: -1 }) },
      "count must be a finite number",
    ],
    [
      "a count that is none",
      { loss: () => ({ loss: one.value.sum(), count: "1" }) },
      "count must be a number",
    ],
    ["a loss with other words", { loss: () => ({ loss: one.value.sum(), size: 1 }) }, '"size"'],
    ["no loss", { loss: undefined }, "loss must be a function"],
    ["an unknown option", { batchSize: 3 }, '"batchSize"'],
  ])("refuses %s", async (_, wrong, text) => {
    const error = await training.fit({ one }, { ...good, ...wrong } as never).catch((reason) => reason);
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toContain(text);
  });
});
