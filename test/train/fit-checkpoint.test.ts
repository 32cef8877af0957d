import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FormatError, manualSeed, Rng, randn, type Tensor, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import { BatchNorm1d, Dropout, Linear, mseLoss, Sequential, stateDict } from "bitgrad/nn";
import { adamw, cosine, optimizer, plateau, schedule } from "bitgrad/optim";
import type { FitHistory, FitOptions } from "bitgrad/train";
import * as training from "bitgrad/train";
import { afterAll, describe, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "bitgrad-fit-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = () => join(folder, `${files++}.safetensors`);

type Batch = { x: Tensor; y: Tensor };
const x = randn([14, 3], { rng: new Rng(1) });
const y = x.matmul(tensor([[1], [-2], [0.5]]));
const list = () =>
  Array.from({ length: 4 }, (_, i) => ({
    x: x.slice([[i * 3, i * 3 + 3]]),
    y: y.slice([[i * 3, i * 3 + 3]]),
  }));

/** A run with everything that is resumed. */
function start(seed: number, data: FitOptions<Sequential, Batch>["data"] | null = null) {
  manualSeed(seed);
  const model = new Sequential(
    new Linear(3, 4, { rng: new Rng(2) }),
    new BatchNorm1d(4),
    new Dropout(0.3),
    new Linear(4, 1, { rng: new Rng(3) }),
  );
  const update = optimizer(model, adamw({ lr: 0.02 }));
  const slower = schedule(update, plateau({ patience: 1, factor: 0.5 }), "weightDecay");
  const rng = new Rng(5);
  const settings: FitOptions<Sequential, Batch> = {
    data: data ?? loader({ x, y }, { batch: 4, shuffle: true, rng: new Rng(4) }),
    loss: (m, batch) => mseLoss(m.forward(batch.x.add(randn(batch.x.shape, { rng }).mul(0.1))), batch.y),
    optimizer: update,
    schedule: cosine({ warmup: 2, total: 40 }),
    accumulate: 3,
    epochs: 4,
    validation: { data: [{ x, y }] },
    earlyStopping: { patience: 20 },
  };
  return { model, settings, update, slower, rng };
}

const bits = (model: object) => Object.values(stateDict(model)).map((t) => Array.from(t.data));
const told = ({ aborted, ...rest }: FitHistory) => rest;

describe("a run of fit with a checkpoint", () => {
  /** Runs once whole, and once interrupted in micro-batch `at`. */
  async function both(at: number, more: Partial<FitOptions<Sequential, Batch>>, data: () => Batch[] | null) {
    const path = newPath();
    const go = async (seed: number, stop?: AbortController, resume = false) => {
      const { model, settings, slower, rng } = start(seed, data());
      const reports: unknown[] = [];
      let seen = 0;
      const history = await training.fit(model, {
        ...settings,
        ...more,
        loss: (m, batch) => {
          if ((m[1] as BatchNorm1d).training && ++seen === at) stop?.abort();
          return settings.loss(m, batch);
        },
        signal: stop?.signal,
        onStep: ({ loss }) => slower.step(loss),
        onEpoch: (report) => reports.push(report),
        checkpoint: { path: stop || resume ? path : newPath(), resume, rng, scheduler: slower },
      });
      return { history, reports, bits: bits(model), slower: slower.stateDict() };
    };
    const whole = await go(7);
    const first = await go(7, new AbortController());
    expect(first.history.aborted).toBe(true);
    const second = await go(8, undefined, true);
    expect(told(second.history)).toEqual(told(whole.history));
    expect([...first.reports, ...second.reports]).toEqual(whole.reports);
    expect(second.bits).toEqual(whole.bits);
    expect(second.slower).toEqual(whole.slower);
  }

  it.each([1, 3, 4, 5, 8, 11, 15, 16])(
    "is resumed bit for bit, aborted in micro-batch %i of 16",
    async (at) => {
      await both(at, {}, () => null);
    },
  );

  it.each([2, 4, 9])("is resumed with a list of batches, aborted in micro-batch %i", async (at) => {
    await both(at, { validation: { data: [{ x, y }], every: 2 } }, list);
  });

  it("is resumed where it was aborted between a step and its validation", async () => {
    const path = newPath();
    const go = async (stop?: AbortController, resume = false) => {
      const { model, settings, rng } = start(7);
      return training.fit(model, {
        ...settings,
        accumulate: 1,
        signal: stop?.signal,
        onStep: ({ step }) => step === 4 && stop?.abort(),
        checkpoint: { path: stop || resume ? path : newPath(), resume, rng },
      });
    };
    const whole = await go();
    expect(await go(new AbortController())).toMatchObject({ epochs: 1, validations: [] });
    expect(told(await go(undefined, true))).toEqual(told(whole));
  });

  it("says the epoch of a validation that it was aborted before, at the end of that epoch", async () => {
    const path = newPath();
    const go = async (stop?: AbortController, resume = false) => {
      const { model, settings, rng } = start(7, list());
      const reports: unknown[] = [];
      const told: unknown[] = [];
      const { validations } = await training.fit(model, {
        ...settings,
        accumulate: 1,
        validation: { data: [{ x, y }], every: 2 },
        signal: stop?.signal,
        onStep: ({ step }) => step === 4 && stop?.abort(),
        onEpoch: (report) => reports.push(report),
        logger: { log: (record) => told.push(record) },
        checkpoint: { path: stop || resume ? path : newPath(), resume, rng },
      });
      return { validations, reports, told };
    };
    const whole = await go();
    const first = await go(new AbortController());
    const second = await go(undefined, true);
    expect(second.validations).toEqual(whole.validations);
    expect([...first.reports, ...second.reports]).toEqual(whole.reports);
    expect([...first.told, ...second.told]).toEqual(whole.told);
  });

  it.each([1, 2, 3, 4, 5])("is resumed from a file written every %i steps, after an error", async (every) => {
    const whole = start(7);
    const wanted = await training.fit(whole.model, {
      ...whole.settings,
      checkpoint: { path: newPath(), rng: whole.rng },
    });
    const path = newPath();
    const first = start(7);
    const failing = training.fit(first.model, {
      ...first.settings,
      checkpoint: { path, every, rng: first.rng },
      onStep: ({ step }) => {
        if (step === 6) throw new Error("a fault");
      },
    });
    await expect(failing).rejects.toThrow("a fault");
    const second = start(8);
    const checkpoint = { path, resume: true, rng: second.rng };
    const found = await training.fit(second.model, { ...second.settings, checkpoint });
    expect(told(found)).toEqual(told(wanted));
    expect(bits(second.model)).toEqual(bits(whole.model));
  });

  it("that has ended goes on with more epochs, from the last weights and not from the best", async () => {
    const path = newPath();
    const whole = start(7);
    const wanted = await training.fit(whole.model, {
      ...whole.settings,
      checkpoint: { path: newPath(), rng: whole.rng },
    });
    const first = start(7);
    await training.fit(first.model, { ...first.settings, epochs: 2, checkpoint: { path, rng: first.rng } });
    const second = start(7);
    const found = await training.fit(second.model, {
      ...second.settings,
      checkpoint: { path, resume: true, rng: second.rng },
    });
    expect(told(found)).toEqual(told(wanted));
    expect(bits(second.model)).toEqual(bits(whole.model));
  });

  it("begins where there is no file yet, and writes one", async () => {
    const path = newPath();
    const { model, settings, rng } = start(1);
    const { losses } = await training.fit(model, {
      ...settings,
      epochs: 1,
      checkpoint: { path, resume: true, rng },
    });
    expect(losses).toHaveLength(2);
    expect(existsSync(path)).toBe(true);
  });

  it("refuses a checkpoint that fit did not write", async () => {
    const path = newPath();
    const { model, settings, update, rng } = start(1);
    const scheduler = schedule(update, cosine({ total: 4 }));
    const saved = { model, optimizer: update, rng, scheduler, loader: settings.data as never, step: 1 };
    await training.saveCheckpoint(path, saved);
    const resumed = training.fit(model, { ...settings, checkpoint: { path, resume: true, rng } });
    await expect(resumed).rejects.toThrow(/a checkpoint that fit has written is needed/);
    await expect(
      training.fit(model, { ...settings, checkpoint: { path, resume: true, rng } }),
    ).rejects.toThrow(FormatError);
  });
});
