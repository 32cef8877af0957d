/** Training runs as files, from which they go on as if nothing had interrupted them. */

import { undoing } from "../changes.ts";
import { FormatError, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { readSource } from "../io/read.ts";
import { joinDraft, layOut, readDefaults } from "../io/safetensors.ts";
import { type Sink, type Source, writeSink } from "../io/source.ts";
import { loadStateDict, stateDict } from "../nn/state.ts";
import type { Optimizer, OptimizerState } from "../optim/optimizer.ts";
import { defaultRng } from "../random/default.ts";
import type { RngState } from "../random/rng.ts";
import { readJsonObject } from "../safetensors/json.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { fromJson, toJson } from "./exact.ts";
import { checkParts, generatorsOf, noParts, type RunParts, rulesOf } from "./parts.ts";

/** A run and how far it has come. */
export interface Checkpoint extends RunParts {
  /** Optimizer steps done. */
  step: number;
  /** Further values by name: plain data and tensors, in objects and lists. */
  extra?: Readonly<Record<string, unknown>>;
}

/** How far a run had come when it was saved. */
export interface Progress {
  readonly step: number;
  readonly extra: Record<string, unknown>;
}

/** Metadata key of the JSON that says what a checkpoint holds beside tensors; docs/formats.md describes it. */
const NOTE = "bitgrad.checkpoint";
const VERSION = 1;

/**
 * Writes a run as one safetensors file, from which `loadCheckpoint` goes on bit for bit: parameters and buffers, what the
 * optimizer and its schedules remember, the place in the data, and where every generator stands. A path is replaced whole or
 * not at all; with null for the sink the bytes are returned, for a page to keep. Nothing may be trained until the promise
 * has settled: StageError says what changed. Throws OptionError for parts that are none, and for an `extra` of other things
 * than plain data and tensors.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { adamw, optimizer } from "bitgrad/optim";
 * import { loadCheckpoint, saveCheckpoint } from "bitgrad/train";
 *
 * const model = new Linear(2, 1);
 * const update = optimizer(model, adamw());
 * const bytes = await saveCheckpoint(null, { model, optimizer: update, step: 7 });
 * console.log((await loadCheckpoint(bytes, { model, optimizer: update })).step); // 7
 * ```
 */
export async function saveCheckpoint(sink: Sink, run: Checkpoint): Promise<void>;
export async function saveCheckpoint(sink: null, run: Checkpoint): Promise<Uint8Array>;
export async function saveCheckpoint(sink: Sink | null, run: Checkpoint): Promise<unknown> {
  const op = "saveCheckpoint";
  const {
    step,
    extra = {},
    ...rest
  } = readOptions<Checkpoint>(op, run, { ...noParts, step: undefined as never, extra: undefined });
  const { model, optimizer, schedulers, loader, rng } = checkParts(op, rest);
  if (!isCount(step)) throw new OptionError(`${op}: step must be a count of steps, got ${show(step)}`);
  if (!isPlainObject(extra)) throw new OptionError(`${op}: extra must be values by name, got ${show(extra)}`);
  const tensors: Record<string, Tensor> = Object.create(null);
  for (const [name, value] of Object.entries(stateDict(model))) tensors[`model.${name}`] = value;
  const numbers: Record<string, number> = {};
  for (const [name, value] of Object.entries(optimizer?.stateDict() ?? {})) {
    if (isTensor(value)) tensors[`optimizer.${name}`] = value;
    else numbers[name] = value;
  }
  const plain = (value: unknown, path: string) => toJson(op, value, path, tensors);
  const note = {
    version: VERSION,
    step,
    ...(optimizer && { optimizer: { rules: rulesOf(optimizer), numbers: plain(numbers, "optimizer") } }),
    ...(schedulers && { scheduler: schedulers.map((s, i) => plain(s.stateDict(), `scheduler.${i}`)) }),
    ...(loader && { loader: plain(loader.state, "loader") }),
    ...(rng && { rng: plain(rng.state, "rng") }),
    generators: {
      default: defaultRng().state,
      model: Object.fromEntries(generatorsOf(model).map(([path, { state }]) => [path, state])),
    },
    extra: plain(extra, "extra"),
  };
  const draft = layOut(op, tensors, { metadata: { [NOTE]: JSON.stringify(note) } });
  if (sink === null) return joinDraft(draft);
  await writeSink(op, sink, draft.chunks());
}

/**
 * Puts a run, built as it was before, where it was when it was saved, and tells how far that is: the steps that follow are
 * those of an uninterrupted run, bit for bit. Parts that are not given are left as they are. Throws FormatError for a file
 * that is damaged, of a later version, lacks a part, or holds another model, other rules or other generators; everything is
 * then as before.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { optimizer, sgd } from "bitgrad/optim";
 * import { loadCheckpoint, saveCheckpoint } from "bitgrad/train";
 *
 * const build = () => {
 *   const model = new Linear(2, 1);
 *   return { model, optimizer: optimizer(model, sgd({ lr: 0.1, momentum: 0.9 })) };
 * };
 * const bytes = await saveCheckpoint(null, { ...build(), step: 100, extra: { best: 0.25 } });
 * const { step, extra } = await loadCheckpoint(bytes, build());
 * console.log(step, extra); // 100 { best: 0.25 }
 * ```
 */
export async function loadCheckpoint(source: Source, run: RunParts): Promise<Progress> {
  const op = "loadCheckpoint";
  const parts = checkParts(op, readOptions(op, run, noParts));
  const { tensors, metadata } = await readSource(source, readDefaults, undefined);
  const note = readNote(op, metadata[NOTE], tensors);
  const read = (name: string) => fromJson(op, note[name], tensors);
  const extra = read("extra");
  if (!isPlainObject(extra)) throw new FormatError(`${op}: extra must be values by name, got ${show(extra)}`);
  const step = note.step as number;
  const { model, optimizer, schedulers, loader, rng } = parts;
  const given = { optimizer, scheduler: schedulers, loader, rng };
  for (const [name, part] of Object.entries(given)) {
    if (part === undefined || Object.hasOwn(note, name)) continue;
    throw new FormatError(
      `${op}: the checkpoint lacks a part, got no ${name}; leave it out of the call, or save it with the run`,
    );
  }
  const rates = optimizer && optimizerState(op, optimizer, note.optimizer, tensors);
  const states = schedulers && (read("scheduler") as unknown[]);
  if (states && (!Array.isArray(states) || states.length !== schedulers.length)) {
    throw new FormatError(
      `${op}: the checkpoint holds other schedules, got ${show(states)} for ${schedulers.length}; pass those of the run that was saved`,
    );
  }
  const generators = note.generators as Generators;
  checkGenerators(op, model, generators);

  const undo: (() => void)[] = [];
  const put = (what: string, change: () => unknown) => {
    try {
      change();
    } catch (error) {
      throw new FormatError(`${op}: the ${what} does not fit, got ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  try {
    undoing(() => {
      put("state of the generators", () => {
        defaultRng().state = generators.default;
        for (const [path, found] of generatorsOf(model)) found.state = generators.model[path];
        if (rng) rng.state = note.rng as RngState;
      });
      if (loader) {
        const before = loader.state;
        undo.push(() => Object.assign(loader, { state: before }));
        put("state of the loader", () => Object.assign(loader, { state: read("loader") }));
      }
      // Schedules set the rates of the optimizer, so that its state is put back behind theirs, there and here.
      const before = optimizer?.stateDict();
      if (before) undo.push(() => optimizer!.loadStateDict(before));
      for (const [i, scheduler] of (schedulers ?? []).entries()) {
        const state = scheduler.stateDict() as never;
        undo.push(() => scheduler.loadStateDict(state));
        put("state of a schedule", () => scheduler.loadStateDict(states![i] as never));
      }
      if (optimizer) put("state of the optimizer", () => optimizer.loadStateDict(rates!));
      put("model", () => loadStateDict(model, below("model.", tensors)));
    });
  } catch (error) {
    for (const back of undo.reverse()) back();
    throw error;
  }
  return { step, extra };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const below = (prefix: string, tensors: Readonly<Record<string, Tensor>>): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
    ),
  );

/** The state of the optimizer in the file. Throws FormatError where that was of other rules. */
function optimizerState(
  op: string,
  optimizer: Optimizer,
  given: unknown,
  tensors: Readonly<Record<string, Tensor>>,
): OptimizerState {
  const { rules, numbers } = (isPlainObject(given) ? given : {}) as { rules?: unknown; numbers?: unknown };
  const lists = isPlainObject(rules) ? Object.entries(rules) : [];
  const values = fromJson(op, numbers, tensors);
  if (!isPlainObject(rules) || !isPlainObject(values) || !lists.every(([, paths]) => Array.isArray(paths)))
    throw new FormatError(`${op}: an optimizer's note must be { rules, numbers }, got ${show(given)}`);
  const was = new Map(lists.flatMap(([rule, paths]) => (paths as unknown[]).map((path) => [path, rule])));
  for (const { rule, parameters } of optimizer.groups) {
    for (const { path } of parameters) {
      const saved = was.get(path);
      if (saved === undefined || saved === rule.name) continue;
      throw new FormatError(
        `${op}: the checkpoint is of another rule, got ${saved} for ${show(path)}, which ${rule.name} updates; make the optimizer by the rows it was saved with`,
      );
    }
  }
  return { ...(values as Record<string, number>), ...below("optimizer.", tensors) };
}

/** Where generators stand: the default one, and those in the model by their paths. */
interface Generators {
  readonly default: RngState;
  readonly model: Readonly<Record<string, RngState>>;
}

function checkGenerators(op: string, model: object, { model: saved }: Generators): void {
  const [names, wanted] = [Object.keys(saved), generatorsOf(model).map(([path]) => path)];
  if ([...names].sort().join("\n") === [...wanted].sort().join("\n")) return;
  throw new FormatError(
    `${op}: the generators in the model stand elsewhere, got ${show(names)} for ${show(wanted)}; build the model as it was`,
  );
}

function readNote(op: string, text: string | undefined, tensors: object): Record<string, unknown> {
  if (text === undefined) {
    throw new FormatError(
      `${op}: a file that saveCheckpoint wrote is needed, got ${Object.keys(tensors).length} tensors without ${NOTE} in the metadata; read weights by load of bitgrad/io`,
    );
  }
  const note = readJsonObject(op, new TextEncoder().encode(text));
  const { version, step, generators } = note;
  const isVersion = isCount(version) && version > 0;
  if (isVersion && version > VERSION) {
    throw new FormatError(
      `${op}: the file is of a later version, got ${version}; this library reads 1 to ${VERSION}, update it`,
    );
  }
  if (!isVersion || !isCount(step) || !isPlainObject(generators) || !isPlainObject(generators.model)) {
    throw new FormatError(
      `${op}: a checkpoint's note must have version, step and generators, got ${[version, step, generators].map(show).join(", ")}`,
    );
  }
  return note;
}
