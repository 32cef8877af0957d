import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { FormatError, manualSeed, OptionError, Rng, randn, StageError, tensor } from "bitgrad";
import { readSafetensors, writeSafetensors } from "bitgrad/io";
import { Dropout, Linear, Sequential } from "bitgrad/nn";
import { adamw, constant, optimizer, schedule, sgd } from "bitgrad/optim";
import { type Checkpoint, loadCheckpoint, saveCheckpoint } from "bitgrad/train";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { advance, digest, type Run, runs } from "./runs.ts";

const folder = mkdtempSync(join(tmpdir(), "bitgrad-checkpoint-"));
afterAll(() => rmSync(folder, { recursive: true }));
const fixture = fileURLToPath(new URL("../fixtures/checkpoint.ts", import.meta.url));

const parts = ({ after, ...rest }: Run) => rest;
const names = Object.keys(runs);
/** Within the second epoch of four batches. */
const [before, behind] = [6, 7];
const fresh = (name: string) => {
  manualSeed(5);
  return runs[name]();
};

describe("a run goes on from its checkpoint bit for bit:", () => {
  const wholes = new Map<string, { losses: number[]; sum: string }>();

  it.each(names)("%s", async (name) => {
    const whole = await fresh(name);
    const losses = await advance(whole, before + behind);
    wholes.set(name, { losses, sum: digest(whole) });

    const first = await fresh(name);
    const begun = await advance(first, before);
    const path = join(folder, `${names.indexOf(name)}.safetensors`);
    await saveCheckpoint(path, { ...parts(first), step: before, extra: { begun } });

    // Another run in between, which draws, and then one that has trained elsewhere.
    manualSeed(99);
    const second = await runs[name]();
    await advance(second, 2);
    const { step, extra } = await loadCheckpoint(path, parts(second));
    expect(step).toBe(before);
    expect([...(extra.begun as number[]), ...(await advance(second, behind))]).toEqual(losses);
    expect(digest(second)).toBe(digest(whole));
  });

  it("in another process", async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--import",
      "tsx",
      fixture,
      "resume",
      folder,
      String(behind),
    ]);
    const found = JSON.parse(stdout) as Record<string, { losses: number[]; sum: string }>;
    expect(Object.keys(found)).toEqual(names);
    for (const [name, { losses, sum }] of wholes) {
      expect(found[name].losses, name).toEqual(losses.slice(before));
      expect(found[name].sum, name).toBe(sum);
    }
  }, 60_000);
});

const simple = () => {
  const model = new Sequential(new Linear(6, 4, { rng: new Rng(1) }), new Dropout(0.5, { rng: new Rng(2) }));
  const update = optimizer(model, adamw({ lr: 0.01 }));
  return { model, optimizer: update, scheduler: schedule(update, constant()) };
};
const layer = ({ model }: { model: Sequential }) => model[0] as Linear;
const saved = (more: Partial<Checkpoint> = {}) => saveCheckpoint(null, { ...simple(), step: 3, ...more });
const noted = (change: (note: Record<string, never>) => void) => async () => {
  const { tensors, metadata } = readSafetensors(await saved());
  const note = JSON.parse(metadata["bitgrad.checkpoint"]);
  change(note);
  return writeSafetensors(tensors, { metadata: { "bitgrad.checkpoint": JSON.stringify(note) } });
};

describe("a checkpoint", () => {
  it("keeps plain data and tensors, and every number as it is", async () => {
    const extra = {
      list: [1, null, "a", { deep: true }],
      odd: [-0, Number.NaN, Infinity, -Infinity, 5e-324, 0.1],
      best: { "a.weight": tensor([1, 2]), count: tensor(Int32Array.of(3)) },
    };
    const { step, extra: read } = await loadCheckpoint(await saved({ extra, step: 12 }), simple());
    expect(step).toBe(12);
    expect({ ...read, best: null }).toEqual({ ...extra, best: null });
    const best = read.best as typeof extra.best;
    expect(best["a.weight"].toArray()).toEqual([1, 2]);
    expect([best.count.dtype, best.count.toArray()]).toEqual(["int32", [3]]);
  });

  it("is one safetensors file, which other programs read", async () => {
    const { tensors } = readSafetensors(await saved());
    expect(Object.keys(tensors)).toEqual(expect.arrayContaining(["model.0.weight", "model.0.bias"]));
  });

  it("leaves alone what is not asked for", async () => {
    const run = simple();
    run.optimizer.lr = 0.5;
    const bytes = await saved();
    await loadCheckpoint(bytes, { model: run.model });
    expect(run.optimizer.lr).toBe(0.5);
  });

  it("keeps rates that were set by hand under a schedule", async () => {
    const run = simple();
    run.optimizer.lr = 0.25;
    const bytes = await saveCheckpoint(null, { ...run, step: 0 });
    const other = simple();
    await loadCheckpoint(bytes, other);
    expect(other.optimizer.lr).toBe(0.25);
  });
});

describe("a write that fails", () => {
  let path: string;
  beforeEach(() => {
    path = join(mkdtempSync(join(folder, "write-")), "run.safetensors");
  });

  it("leaves the former file, and nothing beside it", async () => {
    const run = simple();
    await saveCheckpoint(path, { ...run, step: 1 });
    const was = readFileSync(path);
    const writing = saveCheckpoint(path, { ...run, step: 2 });
    layer(run).weight.update((data) => data.fill(1));
    await expect(writing).rejects.toThrow(StageError);
    expect(readFileSync(path)).toEqual(was);
    expect(readdirSync(join(path, ".."))).toEqual(["run.safetensors"]);
  });

  it("leaves the former file where the writer is killed", async () => {
    const writer = spawn(process.execPath, ["--import", "tsx", fixture, "write", path]);
    let told = "";
    await new Promise<void>((resolve, reject) => {
      writer.stdout.on("data", (text) => {
        told += text;
        // It is in the middle of one of its writes at almost any time.
        if (told.split("\n").length > 3) resolve();
      });
      writer.on("exit", reject);
    });
    writer.removeAllListeners("exit");
    const ended = new Promise((resolve) => writer.on("exit", resolve));
    writer.kill("SIGKILL");
    await ended;
    const model = new Linear(1024, 1024);
    const { step, extra } = await loadCheckpoint(path, { model });
    expect(model.weight.value.data.every((value) => value === step)).toBe(true);
    expect(extra).toEqual({ step });
  }, 30_000);
});

describe("loadCheckpoint refuses", () => {
  const file = (change: (bytes: Uint8Array) => Uint8Array) => async () => change(await saved());
  const state = (run: ReturnType<typeof simple>) =>
    JSON.stringify([
      [...layer(run).weight.value.data],
      Object.entries(run.optimizer.stateDict()).map(([name, value]) => [
        name,
        typeof value === "number" ? value : [...value.data],
      ]),
      run.scheduler.count,
      (run.model[1] as Dropout).rng!.state,
    ]);
  const other = (make: () => object) => ({ bytes: saved, run: make });
  const damaged = (bytes: () => Promise<Uint8Array>) => ({ bytes, run: simple });

  it.each([
    ["a file cut off", damaged(file((bytes) => bytes.subarray(0, 200))), /got /],
    ["no file of safetensors", damaged(async () => Uint8Array.of(1, 2, 3)), /got 3 bytes/],
    [
      "weights alone",
      damaged(async () => writeSafetensors({ a: tensor([1]) })),
      /a file that saveCheckpoint wrote is needed, got 1 tensors/,
    ],
    [
      "a later version",
      damaged(noted((note) => Object.assign(note, { version: 2 }))),
      /of a later version, got 2; this library reads 1 to 1, update it/,
    ],
    ["a note without a step", damaged(noted((note) => delete note.step)), /version, step and generators/],
    [
      "a step that is none",
      damaged(noted((note) => Object.assign(note, { step: -1 }))),
      /version, step and generators, got 1, -1/,
    ],
    [
      "generators that are none",
      damaged(noted((note) => Object.assign(note.generators, { default: { key: [1] } }))),
      /state of the generators does not fit, got Rng: a state must be/,
    ],
    [
      "a tag of a number that is none",
      damaged(noted((note) => Object.assign(note, { extra: { a: { "bitgrad.number": "1" } } }))),
      /a number of a tag must be -0, NaN or infinite, got "1"/,
    ],
    [
      "a tag of a tensor that is not there",
      damaged(noted((note) => Object.assign(note, { extra: { a: { "bitgrad.tensor": "b" } } }))),
      /lacks a tensor, got "b"/,
    ],
    [
      "an optimizer's note that is none",
      damaged(noted((note) => Object.assign(note, { optimizer: { rules: 1 } }))),
      /an optimizer's note must be { rules, numbers }/,
    ],
    [
      "a model of other shapes",
      other(() => ({ model: new Sequential(new Linear(6, 5), new Dropout(0.5, { rng: new Rng(2) })) })),
      /the model does not fit, got loadStateDict: .*0\.weight: \(4, 6\) where the model has \(5, 6\)/,
    ],
    [
      "a model whose generators are elsewhere",
      other(() => ({ model: new Sequential(new Linear(6, 4), new Dropout(0.5)) })),
      /generators in the model stand elsewhere, got \("1\.rng"\) for \(\)/,
    ],
    [
      "an optimizer of another rule",
      other(() => {
        const { model } = simple();
        return { model, optimizer: optimizer(model, sgd()) };
      }),
      /of another rule, got adamw for "0\.weight", which sgd updates; make the optimizer by the rows/,
    ],
    [
      "a part that was not saved",
      other(() => ({ model: simple().model, rng: new Rng(1) })),
      /lacks a part, got no rng; leave it out of the call, or save it with the run/,
    ],
    [
      "another number of schedules",
      other(() => {
        const run = simple();
        return { ...run, scheduler: [run.scheduler, schedule(run.optimizer, constant())] };
      }),
      /holds other schedules, got .* for 2/,
    ],
  ])("%s", async (_, { bytes, run }, message) => {
    await expect(loadCheckpoint(await bytes(), run() as ReturnType<typeof simple>)).rejects.toThrow(message);
    await expect(loadCheckpoint(await bytes(), run() as ReturnType<typeof simple>)).rejects.toThrow(
      FormatError,
    );
  });

  it("a path without a file", async () => {
    await expect(loadCheckpoint(join(folder, "none"), simple())).rejects.toThrow("there is no such file");
  });

  it.each([
    ["a schedule", (note: Record<string, never>) => Object.assign(note, { scheduler: [{ count: -1 }] })],
    [
      "the optimizer",
      (note: Record<string, never>) =>
        Object.assign((note.optimizer as { numbers: object }).numbers, { "lr.0.bias": 3 }),
    ],
  ])("%s that does not fit, and leaves everything as before", async (_, change) => {
    const run = simple();
    run.scheduler.step();
    run.optimizer.lr = 0.3;
    (run.model[1] as Dropout).forward(randn([3, 4]));
    const was = state(run);
    await expect(loadCheckpoint(await noted(change)(), run)).rejects.toThrow(/does not fit/);
    expect(state(run)).toBe(was);
  });

  it("a model that does not fit, and leaves the rest of the run as before", async () => {
    const run = simple();
    run.scheduler.step();
    const bytes = await saved();
    layer(run).weight.replace(randn([4, 7]));
    const was = state(run);
    await expect(loadCheckpoint(bytes, run)).rejects.toThrow(/does not fit/);
    expect(state(run)).toBe(was);
  });
});

describe("saveCheckpoint refuses", () => {
  const bare = () => ({ model: new Linear(2, 1), step: 0 });
  it.each([
    [{ fn: () => 1 }, /only plain data and tensors can be saved, got fn for extra\.fn/],
    [{ at: new Date() }, /got Date for extra\.at/],
    [{ list: Float32Array.of(1) }, /got Float32Array for extra\.list/],
    [{ list: [undefined] }, /got undefined for extra\.list\.0/],
    [{ [Symbol("key")]: 1 }, /keys must be strings, got Symbol\(key\) in extra/],
    [
      { deep: { [Symbol.iterator]: 1 } },
      /keys must be strings, got Symbol\(Symbol.iterator\) in extra\.deep/,
    ],
    [{ "bitgrad.number": 1 }, /reserved key in what is saved, got "bitgrad.number" in extra/],
    [
      { a: { "b.c": tensor([1]) }, "a.b": { c: tensor([1]) } },
      /two tensors have one name, got "extra\.a\.b\.c"/,
    ],
  ])("an extra of %o", async (extra, message) => {
    await expect(saveCheckpoint(null, { ...bare(), extra })).rejects.toThrow(message);
    await expect(saveCheckpoint(null, { ...bare(), extra })).rejects.toThrow(OptionError);
  });

  it("what holds itself", async () => {
    const extra: Record<string, unknown> = {};
    extra.extra = extra;
    await expect(saveCheckpoint(null, { ...bare(), extra })).rejects.toThrow("32 levels deep");
  });
});
