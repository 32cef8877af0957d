import { ones, Rng, randn, type Tensor, tensor } from "bitgrad";
import { type LoaderState, loader } from "bitgrad/data";
import { BatchNorm1d, clone, Dropout, Linear, Parameter, Sequential, stateDict } from "bitgrad/nn";
import { adamw, linear, optimizer, schedule, sgd } from "bitgrad/optim";
import * as training from "bitgrad/train";
import { describe, expect, it } from "vitest";

type Batch = { x: Tensor; id: Tensor };

/** n examples whose id tells their number. */
const numbered = (n: number, options: { batch?: number; signal?: AbortSignal } = {}) =>
  loader(
    { x: randn([n, 3], { rng: new Rng(12) }), id: Int32Array.from({ length: n }, (_, i) => i) },
    { batch: 1, ...options },
  );

/** What is in training, a loss that notes which examples it saw, and everything that a run is resumed from. */
function start(n = 6) {
  const model = new Sequential(
    new Linear(3, 4, { rng: new Rng(1) }),
    new Dropout(0.5, { rng: new Rng(2) }),
    new BatchNorm1d(4),
    new Linear(4, 1, { rng: new Rng(3) }),
  );
  const update = optimizer(model, adamw({ lr: 0.01 }));
  const rates = schedule(update, linear({ start: 1, end: 0, total: 40 }));
  const data = loader(
    { x: randn([n, 2, 3], { rng: new Rng(12) }), id: Int32Array.from({ length: n }, (_, i) => i) },
    { batch: 1, shuffle: true, rng: new Rng(13) },
  );
  return { model, update, rates, data };
}
type Run = ReturnType<typeof start>;

const loss = (m: Sequential, { x }: Batch) =>
  m
    .forward(x.reshape([2, 3]))
    .square()
    .mean();
const settings = ({ update, rates, data }: Run) => ({ optimizer: update, schedule: rates, data, loss });
const all = ({ model, update, data }: Run) => {
  const numbers = (state: object) =>
    Object.entries(state).map(([name, value]) => [
      name,
      (value as Tensor).data ? [...(value as Tensor).data] : value,
    ]);
  return JSON.stringify([
    numbers(stateDict(model)),
    numbers(update.stateDict()),
    (model[1] as Dropout).rng!.state,
    data.state,
  ]);
};

/** A run in a new process: everything from what was saved. */
function restored(from: Run): Run {
  const to = start();
  to.model = clone(from.model);
  to.update = optimizer(to.model, adamw({ lr: 0.01 }));
  to.rates = schedule(to.update, linear({ start: 1, end: 0, total: 40 }));
  to.update.loadStateDict(from.update.stateDict());
  to.rates.loadStateDict(from.rates.stateDict());
  to.data.state = JSON.parse(JSON.stringify(from.data.state)) as LoaderState;
  return to;
}

describe("a resumed fit", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])(
    "is exact when aborted in micro-batch %i of steps of two, in epochs of six",
    async (at) => {
      const whole = start();
      await training.fit(whole.model, { ...settings(whole), epochs: 2, accumulate: 2 });
      const first = start();
      const stop = new AbortController();
      let seen = 0;
      const part = await training.fit(first.model, {
        ...settings(first),
        loss: (m: Sequential, batch: Batch) => {
          if (++seen === at) stop.abort();
          return loss(m, batch);
        },
        epochs: 2,
        accumulate: 2,
        signal: stop.signal,
      });
      expect(part.aborted).toBe(true);
      const second = restored(first);
      const rest = await training.fit(second.model, {
        ...settings(second),
        epochs: 2 - part.epochs,
        accumulate: 2,
      });
      expect(part.losses.length + rest.losses.length).toBe(6);
      expect(part.epochs + rest.epochs).toBe(2);
      expect(all(second)).toBe(all(whole));
    },
  );

  it.each([0, 1, 2, 3, 4, 5, 6])("is exact when aborted while batch %i is read", async (at) => {
    const make = (trained: number[], stop?: AbortController) => {
      const one = new Parameter(tensor([0]));
      const data = loader(
        {
          length: 3,
          get: async (i: number) => {
            await null;
            if (reads++ === at) stop?.abort();
            return { x: i };
          },
        },
        { batch: 1, shuffle: true, rng: new Rng(4) },
      );
      let reads = 0;
      const options = {
        data,
        optimizer: optimizer([one], sgd({ lr: 1 })),
        loss: (m: { one: Parameter }, { x }: { x: Tensor }) => {
          trained.push(x.item());
          return m.one.value.sum();
        },
      };
      return { model: { one }, options };
    };
    const straight: number[] = [];
    const whole = make(straight);
    await training.fit(whole.model, { ...whole.options, epochs: 3 });
    const trained: number[] = [];
    const stop = new AbortController();
    const first = make(trained, stop);
    const part = await training.fit(first.model, { ...first.options, epochs: 3, signal: stop.signal });
    const second = make(trained);
    second.options.data.state = first.options.data.state;
    await training.fit(second.model, { ...second.options, epochs: 3 - part.epochs });
    expect(trained).toEqual(straight);
  });

  it("after a whole epoch begins the next one", async () => {
    const whole = start();
    await training.fit(whole.model, { ...settings(whole), epochs: 2 });
    const first = start();
    expect(await training.fit(first.model, { ...settings(first), epochs: 1 })).toMatchObject({ epochs: 1 });
    const second = restored(first);
    const rest = await training.fit(second.model, { ...settings(second), epochs: 1 });
    expect([rest.epochs, rest.losses.length]).toEqual([1, 6]);
    expect(all(second)).toBe(all(whole));
  });

  it("goes on where the last one stopped, with the same loader", async () => {
    const one = new Parameter(tensor([0]));
    const seen: number[] = [];
    const options = {
      data: numbered(5),
      optimizer: optimizer([one], sgd({ lr: 1 })),
      loss: (_: object, { id }: Batch) => {
        seen.push(id.item());
        return one.value.sum();
      },
    };
    const counts = [];
    for (let i = 0; i < 4; i++) counts.push((await training.fit({ one }, { ...options, steps: 2 })).epochs);
    expect(seen).toEqual([0, 1, 2, 3, 4, 0, 1, 2]);
    expect(counts).toEqual([0, 0, 1, 0]);
    // A loop of one's own begins anew, and so does what follows it.
    for await (const _ of options.data) break;
    await training.fit({ one }, { ...options, steps: 1 });
    expect(seen.at(-1)).toBe(0);
  });

  it("counts an epoch that its last step ends", async () => {
    const one = new Parameter(tensor([0]));
    const options = { optimizer: optimizer([one], sgd({ lr: 1 })), loss: () => one.value.sum() };
    const stop = new AbortController();
    const aborted = await training.fit(
      { one },
      {
        ...options,
        data: numbered(3),
        epochs: 2,
        signal: stop.signal,
        onStep: ({ step }) => step === 3 && stop.abort(),
      },
    );
    expect(aborted).toMatchObject({ epochs: 1, aborted: true });
    expect(await training.fit({ one }, { ...options, data: [1, 2, 3], steps: 6 })).toMatchObject({
      epochs: 2,
    });
    expect(await training.fit({ one }, { ...options, data: [1, 2, 3], steps: 5 })).toMatchObject({
      epochs: 1,
    });
  });
});

describe("a step that fails", () => {
  const bad = (m: Sequential, { x, id }: Batch) => loss(m, { x, id }).mul(id.item() === 0 ? Number.NaN : 1);

  it("leaves running statistics, generators and the loader's place as after the last whole step", async () => {
    const run = start();
    const fails = training.fit(run.model, { ...settings(run), loss: bad, epochs: 1, accumulate: 2 });
    await expect(fails).rejects.toThrow("the loss is not finite");
    expect(run.rates.count).toBeGreaterThan(0);
    const good = start();
    await training.fit(good.model, { ...settings(good), steps: run.rates.count, accumulate: 2 });
    expect(all(run)).toBe(all(good));
  });

  it("in trainStep leaves running statistics and generators", () => {
    const { model, update } = start();
    const before = JSON.stringify([...(model[2] as BatchNorm1d).runningMean.data]);
    const { counter } = (model[1] as Dropout).rng!;
    const fails = () =>
      training.trainStep(model, update, (m) =>
        m
          .forward(ones([4, 3]))
          .mean()
          .mul(Number.NaN),
      );
    expect(fails).toThrow("the loss is not finite");
    expect(JSON.stringify([...(model[2] as BatchNorm1d).runningMean.data])).toBe(before);
    expect((model[1] as Dropout).rng!.counter).toBe(counter);
  });
});

describe("reading that never ends", () => {
  const never = { length: 3, get: () => new Promise<{ x: number }>(() => {}) };
  const one = new Parameter(tensor([0]));
  const options = { optimizer: optimizer([one], sgd({ lr: 1 })), loss: () => one.value.sum(), epochs: 1 };

  it.each([
    ["a loader with the signal", (signal: AbortSignal) => loader(never, { batch: 1, signal })],
    ["a loader without", () => loader(never, { batch: 1 })],
    [
      "a generator",
      () =>
        (async function* () {
          await never.get();
          yield 1;
        })(),
    ],
    ["a list of promises", () => [never.get()]],
  ])("is ended by an abort: %s", async (_, data) => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 5);
    const history = await training.fit(
      { one },
      { ...options, data: data(stop.signal) as never, signal: stop.signal },
    );
    expect(history).toMatchObject({ aborted: true, epochs: 0, losses: [] });
  });

  it("is ended in a loop of one's own by the loader's signal", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), 5);
    const loop = async () => {
      for await (const _ of loader(never, { batch: 1, signal: stop.signal }));
    };
    await expect(loop()).rejects.toThrow("enough");
  });

  it("leaves the loader usable, whatever the read comes to", async () => {
    let arrive = (_: { x: number }) => {};
    const slow = {
      length: 3,
      get: (i: number) => (i === 1 ? new Promise<{ x: number }>((resolve) => (arrive = resolve)) : { x: i }),
    };
    const data = loader(slow, { batch: 1 });
    const stop = new AbortController();
    const run = training.fit(
      { one },
      { ...options, data, signal: stop.signal, onStep: () => setTimeout(() => stop.abort()) },
    );
    expect((await run).losses).toHaveLength(1);
    expect(data.state).toMatchObject({ epoch: 0, position: 1 });
    arrive({ x: 1 });
    await new Promise((resolve) => setTimeout(resolve));
    expect(data.state).toMatchObject({ epoch: 0, position: 1 });
  });
});
