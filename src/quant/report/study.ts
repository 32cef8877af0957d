/** What bit allocation measures: the weights of a float model, each with the configs that it could have. */

import { isFunction, isPlainObject, OptionError, StageError, show } from "../../errors.ts";
import { batchRunner } from "../../nn/batches.ts";
import type { Parameter } from "../../nn/parameter.ts";
import { findParameters, namedParameters } from "../../nn/tree.ts";
import type { Tensor } from "../../tensor.ts";
import { labelOf } from "../labels.ts";
import { seenBy } from "../methods/rounded.ts";
import { type CalibrationOptions, calibrationDefaults, checkAgain } from "../methods/sites.ts";
import { plan } from "../plan.ts";
import { prepare, unprepare, weightsOf } from "../prepare.ts";
import { type PresetCall, presetFrom, type QuantConfig } from "../presets.ts";
import { calibrate } from "../steps.ts";
import { bytesOf, ownerPath, type Part, partsOf, whileOn } from "./parts.ts";
import { chooser } from "./patterns.ts";

/** Configs to choose from; null leaves a weight float32. */
export type Choices =
  | Readonly<Record<string, QuantConfig | PresetCall | null>>
  | readonly (QuantConfig | PresetCall | null)[];

export interface StudyOptions<B> extends CalibrationOptions<B> {
  /** Configs by name, or a list of them, which are named by their presets. */
  choices: Choices;
  /**
   * The loss of a batch, for measures by gradients: a number, or a tensor in which each element is the loss of one sample.
   * The model is in evaluation then.
   */
  loss: ((batch: B) => Tensor) | null;
}

export const studyDefaults: StudyOptions<unknown> = {
  ...calibrationDefaults,
  choices: null as never,
  loss: null,
};

/** A config that a weight could have. */
export interface Candidate {
  readonly choice: string;
  readonly config: QuantConfig | null;
  /** Null where it stays float32. */
  readonly part: Part | null;
  readonly bytes: number;
  cost: number;
}

export interface Subject {
  readonly layer: string;
  readonly path: string;
  readonly parameter: Parameter;
  readonly candidates: Candidate[];
}

export interface Study<B> {
  readonly op: string;
  readonly model: object;
  readonly batches: Iterable<B> | AsyncIterable<B>;
  readonly options: StudyOptions<B>;
  readonly run: (batch: B) => unknown;
  readonly subjects: readonly Subject[];
}

function namedChoices(op: string, given: unknown): [name: string, config: QuantConfig | null][] {
  if (!Array.isArray(given) && !isPlainObject(given)) {
    throw new OptionError(`${op}: choices must be configs by name, or a list, got ${show(given)}`);
  }
  const named = Object.entries(given as Record<string, QuantConfig | PresetCall | null>).map(
    ([name, choice]): [string, QuantConfig | null] => {
      if (choice === undefined)
        throw new OptionError(`${op}: a choice must be a config or null, got undefined for ${show(name)}`);
      const config = choice === null ? null : presetFrom<QuantConfig>(choice);
      plan({ default: config });
      return [Array.isArray(given) ? labelOf(config) : name, config];
    },
  );
  if (named.every(([, config]) => config === null)) {
    throw new OptionError(
      `${op}: choices must have a config that quantizes, got ${show(named.map(([name]) => name))}; add one such as int8WeightOnly()`,
    );
  }
  const names = named.map(([name]) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice === undefined) return named;
  throw new OptionError(
    `${op}: choices must have names of their own, got ${show(twice)} twice; use { name: config }`,
  );
}

/** Those of some parameters that patterns of paths of layers fit. */
function chosen(
  op: string,
  model: object,
  served: ReadonlySet<Parameter>,
  layers: CalibrationOptions<never>["layers"],
): Set<Parameter> {
  const named = findParameters(model).filter(({ item }) => served.has(item));
  const names = named.map(({ path }) => ownerPath(path));
  const fits = chooser(op, "layer that a choice quantizes", names, layers);
  return new Set(named.filter((_, i) => fits(names[i])).map(({ item }) => item));
}

/** Quantizes weights by a config, has static inputs calibrated, and takes all off again. */
async function candidates<B>(
  op: string,
  model: object,
  weights: ReadonlySet<Parameter>,
  config: QuantConfig,
  batches: Study<B>["batches"],
  run: Study<B>["run"],
): Promise<[part: Part, bytes: number][]> {
  prepare(model, plan({ rules: [[(_path, parameter) => weights.has(parameter), config]] }));
  try {
    const parts = partsOf(model);
    for (const { path, transform } of parts) seenBy(op, { layer: ownerPath(path), transform });
    // Ranges that follow the batches of training stay where they are found.
    for (const { inputs } of parts) for (const input of inputs.values()) input.training = false;
    if (parts.some(hasStatic)) {
      checkAgain(op, batches);
      // Weights are float meanwhile: inputs of a layer are those that it has where it alone is quantized.
      const bare = parts.map((part) => ({
        ...part,
        transforms: part.transforms.filter((transform) => transform !== part.transform),
      }));
      await calibrate(model, batches, { forward: (batch: B) => whileOn(bare, () => run(batch)) });
    }
    return parts.map((part) => [part, bytesOf(part)]);
  } finally {
    unprepare(model);
  }
}

const hasStatic = ({ inputs }: Part): boolean =>
  [...inputs.values()].some(({ observer }) => observer !== null);

/** Reads the options that name weights and choices, and makes every candidate. The model is as it was afterwards. */
export async function studyOf<B>(
  op: string,
  model: object,
  batches: Study<B>["batches"],
  options: StudyOptions<B>,
): Promise<Study<B>> {
  const { layers, forward, onLayer, loss } = options;
  for (const [name, given] of Object.entries({ onLayer, loss })) {
    if (given === null || isFunction(given)) continue;
    throw new OptionError(`${op}: option ${name} must be a function, got ${show(given)}`);
  }
  const choices = namedChoices(op, options.choices);
  const prepared = weightsOf(model);
  if (prepared.length > 0) {
    throw new StageError(
      `${op}: the model must be float, got ${prepared[0][0]} prepared; unprepare it, or take a clone`,
    );
  }
  const run = batchRunner(op, model, batches, forward);
  const served = choices.map(([, config]) =>
    plan({ default: config })
      .explain(model)
      .flatMap((planned) => (planned.config ? [planned.parameter] : [])),
  );
  const weights = chosen(op, model, new Set(served.flat()), layers);
  if (weights.size === 0) {
    throw new OptionError(`${op}: the model has no weight that a choice quantizes, got ${show(model)}`);
  }
  const subjects = namedParameters(model)
    .filter(([, parameter]) => weights.has(parameter))
    .map(([path, parameter]): Subject => ({ layer: ownerPath(path), path, parameter, candidates: [] }));
  for (const [i, [choice, config]] of choices.entries()) {
    const taken = new Set(served[i].filter((parameter) => weights.has(parameter)));
    const made = config && taken.size > 0 ? await candidates(op, model, taken, config, batches, run) : [];
    const of = new Map(made.map((pair) => [pair[0].parameter, pair]));
    for (const { parameter, candidates } of subjects) {
      const [part, bytes] = of.get(parameter) ?? [null, floatBytes(parameter)];
      if (part || config === null) candidates.push({ choice, config, part, bytes, cost: 0 });
    }
  }
  return { op, model, batches, options, run, subjects };
}

/** Bytes of a weight that no config quantizes, as it is packed. */
export const floatBytes = ({ size, store }: Parameter): number => Math.ceil((size * (store?.bits ?? 32)) / 8);
