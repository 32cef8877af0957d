/** The parts of a training run: what they are, and what is found in them. */

import type { LoaderState } from "../data/loader.ts";
import { isPlainObject, OptionError, show } from "../errors.ts";
import { findAll } from "../nn/tree.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { defaultRng, saveDefault } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { defaultStream } from "../random/threefry.ts";

/** What has a state of plain data and tensors: schedules and plateaus at work, or an object of one's own. */
export interface Resumable {
  stateDict(): object;
  loadStateDict(state: never): void;
}

/** What a training run consists of, as the program has built it. */
export interface RunParts {
  /** Its parameters and buffers are saved, and the generators in it, such as those of dropout. */
  model: object;
  optimizer?: Optimizer;
  /** The schedules and plateaus that drive the optimizer: one, or a list. */
  scheduler?: Resumable | readonly Resumable[];
  /** The loader, or whatever has a `state` of plain data that may be assigned. */
  loader?: { state: LoaderState };
  /** A further generator that the run draws from, such as one of augmentation. The default one is always saved. */
  rng?: Rng;
}

export const noParts: RunParts = {
  model: undefined as never,
  optimizer: undefined,
  scheduler: undefined,
  loader: undefined,
  rng: undefined,
};

export function checkParts(op: string, { model, optimizer, scheduler, loader, rng }: RunParts) {
  if (typeof model !== "object" || model === null)
    throw new OptionError(`${op}: expected a model, got ${show(model)}`);
  if (optimizer !== undefined && !(isResumable(optimizer) && Array.isArray(optimizer.groups)))
    throw new OptionError(`${op}: needs an optimizer, got ${show(optimizer)}`);
  const schedulers: readonly Resumable[] | undefined =
    scheduler && (Array.isArray(scheduler) ? scheduler : [scheduler as Resumable]);
  if (scheduler === null || schedulers?.some((item) => !isResumable(item))) {
    throw new OptionError(
      `${op}: scheduler must be what schedule returned, or a list of such, got ${show(scheduler)}`,
    );
  }
  if (loader !== undefined && !isPlainObject((loader as { state?: unknown } | null)?.state))
    throw new OptionError(`${op}: loader must have a state, got ${show(loader)}`);
  return { model, optimizer, schedulers, loader, rng };
}

export const isResumable = (value: unknown): value is Resumable =>
  typeof (value as Resumable | null)?.stateDict === "function" &&
  typeof (value as Resumable).loadStateDict === "function";

/** By its methods: another copy of the library may have made it. */
const isRng = (item: object): item is Rng =>
  typeof (item as Rng).fork === "function" && typeof (item as Rng).fillNormal === "function";

export const generatorsOf = (model: object): [path: string, rng: Rng][] =>
  findAll(model, isRng).map(({ path, item }) => [path, item]);

/** The names of the parameters by that of their rule. */
export function rulesOf({ groups }: Optimizer): Record<string, string[]> {
  const rules: Record<string, string[]> = {};
  for (const { rule, parameters } of groups)
    rules[rule.name] = [...(rules[rule.name] ?? []), ...parameters.map(({ path }) => path)];
  return rules;
}

/** What takes the default generator, and `rng`, back to where they are now. */
export function heldDraws(rng: Rng | undefined): () => void {
  const states = [defaultRng(), ...(rng ? [rng] : [])].map((each) => [each, each.state] as const);
  const back = saveDefault(defaultStream);
  return () => {
    back();
    for (const [each, state] of states) each.state = state;
  };
}
