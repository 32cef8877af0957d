/** What a run of a packed layer is given, checked. */

import { isPlainObject, OptionError, show } from "../errors.ts";
import type { PackedKind, PackedLayer, PackedStep } from "./file/layer.ts";
import type { PackedLanguage, PackedSeq2Seq } from "./layers/language.ts";
import { checkFinite } from "./products/input.ts";
import { budgetOf, checkValues, type Ids, readCall, steady, type Values } from "./values.ts";

/** How much a run may take. */
export interface PackedBudget {
  /**
   * The numbers, of four bytes, that a run may make, and 1024 products for each. Default: 2^16 for each number of its input,
   * an id counting as the row that it becomes, but at least 2^24, and above 2^30 in all 2^12 for each. It is for files that
   * nobody vouches for; more than that throws ShapeError before it is allocated.
   */
  readonly budget?: number | null;
}

/** What a model with an encoder generates from: ids (1, S), and (1, S): 1 where they may be read. */
export interface PackedSource extends PackedBudget {
  readonly source?: Ids | null;
  readonly sourceMask?: Ids | null;
}

export const readsIds = (layer: PackedLayer): boolean => (layer.idWidth ?? null) !== null;

export interface Run {
  readonly root: PackedStep;
  readonly given: Values | Ids;
  readonly told: Record<string, unknown>;
  /** The names of float32 arrays that it is told. */
  readonly values: readonly string[];
  readonly budget: number;
}

/** Throws as `PackedModel.forward` does for what a run cannot be given. */
export function readRun(layer: PackedLayer, x: Values | Ids, options: object | undefined): Run {
  const root = layer as PackedStep & { constructor: Partial<PackedKind> };
  const arrays = root.constructor.options ?? {};
  const isArray = (name: string): boolean => arrays[name] === "ids" || arrays[name] === "values";
  const { budget, ...told } = readCall<{ budget: number | null } & Record<string, unknown>>(
    "forward",
    options as { budget: number | null } | undefined,
    arrays,
    { budget: null },
  );
  const values: string[] = [];
  for (const name of Object.keys(told).filter((name) => told[name] !== null && isArray(name))) {
    told[name] = steady(told[name] as Values);
    if (arrays[name] === "values") values.push(name);
  }
  const ids = readsIds(root);
  const given = steady(checkValues("forward", x, ids));
  for (const { data } of [...(ids ? [] : [given as Values]), ...values.map((name) => told[name] as Values)])
    checkFinite("forward", data, data.length);
  const inputs = [given, ...Object.values(told)].map((read) => (read as Ids | null)?.data?.length ?? 0);
  return { root, given, told, values, budget: budgetFor("forward", budget, root, ...inputs) };
}

/** The budget of a run of `layer` on so many numbers or ids. Throws OptionError for one that is none. */
export function budgetFor(
  op: string,
  given: number | null | undefined,
  layer: PackedLayer,
  ...inputs: number[]
): number {
  if ((given ?? null) === null) return budgetOf(inputs.reduce((a, b) => a + b, 0) * (layer.idWidth ?? 1));
  if (!(typeof given === "number" && given > 0)) {
    throw new OptionError(`${op}: budget must be a positive number, got ${show(given)}`);
  }
  return given;
}

/** A copy of options of `generate`, of which those that say what is read can be told apart from those of the loop. */
export function plainOptions<O extends object>(options: O): O {
  if (options !== undefined && !isPlainObject(options))
    throw new OptionError(`generate: options must be a plain object, got ${show(options)}`);
  return { ...options };
}

/** What makes a text. */
export interface Text {
  readonly encoder: PackedLanguage | null;
  readonly decoder: PackedLanguage;
  readonly source: Ids | null;
  readonly sourceMask: Ids | null;
  /** That of a run on so many numbers or ids. */
  readonly budget: (...inputs: number[]) => number;
}

/** Throws OptionError for a model that makes no text, and where a source goes without an encoder, or the reverse. */
export function readText(
  root: PackedLayer,
  { source = null, sourceMask = null, budget = null }: PackedSource,
): Text {
  const pair = root.kind === "seq2seq" ? (root as PackedSeq2Seq) : null;
  const decoder = (pair?.decoder ?? root) as PackedLanguage;
  const isText = decoder.kind === "language";
  if (!isText || !decoder.causal)
    throw new OptionError(
      `generate: needs a ${isText ? "causal " : ""}language model, got ${show(root.kind)}`,
    );
  if ((pair !== null) !== (source !== null))
    throw new OptionError(
      `generate: a source goes with an encoder, got ${source ? "one" : "none"} for ${show(root.kind)}`,
    );
  return {
    encoder: pair?.encoder ?? null,
    decoder,
    source: source && checkValues("generate", source, true),
    sourceMask,
    budget: (...inputs) => budgetFor("generate", budget, root, ...inputs),
  };
}
