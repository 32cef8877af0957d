/** allocateBits: a plan that gives each layer the config that serves the whole model best within a number of bytes. */

import { checkChoice, isFunction, OptionError, readOptions, show, synchronous } from "../../errors.ts";
import { exactly } from "../../nn/statistics.ts";
import { brief, grouped, tableOf } from "../../printing.ts";
import { nameOf } from "../labels.ts";
import { checkAgain } from "../methods/sites.ts";
import { type Plan, plan } from "../plan.ts";
import { chooseUnderBudget } from "./budget.ts";
import { gapsOf, isGap, type Measure, measures } from "./costs.ts";
import { whileOn } from "./parts.ts";
import { type SensitivityOptions, sensitivityDefaults } from "./sensitivity.ts";
import { type Candidate, type Subject, studyOf } from "./study.ts";

export interface AllocateOptions<B> extends SensitivityOptions<B> {
  /** What the weights of all layers may take together as they are packed; null where `bits` is given. */
  bytes: number | null;
  /** The same in bits per weight, scales and zero points included. */
  bits: number | null;
  /** The layers for which it gives one text share a choice, such as query, key and value; null: each has its own. */
  share: ((layer: string) => string) | null;
}

export interface AllocatedLayer {
  readonly layer: string;
  readonly path: string;
  readonly choice: string;
  readonly bytes: number;
  readonly cost: number;
}

export interface Allocation {
  /** For `prepare`: one rule per layer that is quantized. Written as JSON where the choices are presets. */
  readonly plan: Plan;
  readonly measure: Measure;
  /** In the order of the model. */
  readonly layers: readonly AllocatedLayer[];
  readonly bytes: number;
  /** The sum of the layers' costs, which is least within the budget. */
  readonly cost: number;
  /** What the measure gives with all choices in place together; null for a measure that is not of outputs. */
  readonly joint: number | null;
  /** A table: one row per layer, and sums. */
  toString(): string;
}

const defaults: AllocateOptions<unknown> = { ...sensitivityDefaults, bytes: null, bits: null, share: null };

/** What shares a choice, and the choices that all of it can have: one candidate for each subject. */
interface Group {
  readonly subjects: readonly Subject[];
  readonly options: readonly (readonly Candidate[])[];
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0);
const total = (candidates: readonly Candidate[], key: "bytes" | "cost"): number =>
  sumOf(candidates.map((each) => each[key]));

function groupsOf(op: string, subjects: readonly Subject[], share: AllocateOptions<never>["share"]): Group[] {
  const byKey = new Map<string, Subject[]>();
  for (const subject of subjects) {
    const key = share === null ? subject.path : synchronous(op, share(subject.layer), "share");
    if (typeof key !== "string") {
      throw new OptionError(
        `${op}: share must give a text for each layer, got ${show(key)} for ${show(subject.layer)}`,
      );
    }
    byKey.set(key, [...(byKey.get(key) ?? []), subject]);
  }
  return [...byKey.values()].map((members) => {
    const options = members[0].candidates.flatMap(({ choice }) => {
      const of = members.flatMap(({ candidates }) => candidates.filter((each) => each.choice === choice));
      return of.length === members.length ? [of] : [];
    });
    // Not empty: what quantizes weights alone serves every layer.
    return { subjects: members, options };
  });
}

function checkBudget(op: string, { bytes, bits }: AllocateOptions<never>): void {
  const given = bytes ?? bits;
  if ((bytes === null) !== (bits === null) && typeof given === "number" && given >= 0) return;
  throw new OptionError(
    `${op}: needs a budget as { bytes } or { bits } per weight, got bytes ${show(bytes)} and bits ${show(bits)}`,
  );
}

/** The budget in bytes. Throws OptionError where not even the smallest choices fit into it. */
function budgetOf(op: string, { bytes, bits }: AllocateOptions<never>, groups: readonly Group[]): number {
  const weights = groups.flatMap(({ subjects }) => subjects.map(({ parameter }) => parameter.size));
  const budget = bytes ?? Math.floor((bits! * sumOf(weights)) / 8);
  const least = sumOf(groups.map(({ options }) => Math.min(...options.map((of) => total(of, "bytes")))));
  if (least <= budget) return budget;
  throw new OptionError(
    `${op}: the budget must be at least ${least} bytes, got ${budget}; allow more, or add smaller choices`,
  );
}

/** A rule's match of one path, which JSON holds but for paths that a pattern cannot write. */
const ruleFor = (path: string): string | RegExp => (/[*{}]/.test(path) ? exactly(path) : path);

/**
 * Gives each layer of a float model one of the `choices`, so that the sum of their costs is least and their weights take at
 * most `bytes`, or `bits` per weight: a plan for `prepare`. Costs are those of `sensitivity`, whose options it takes;
 * `chooseUnderBudget` chooses, exactly. `share: (layer) => text` has layers share a choice. Costs are measured of each layer
 * alone and added up: beside the sum stands `joint`, that of all choices together. What a plan's default would not quantize,
 * such as biases, is not counted.
 *
 * Throws what `sensitivity` does, and OptionError without one budget, for one that is too small, which says the least bytes
 * there are, and for batches that run once. The model is then as it was, as afterwards.
 *
 * @example
 * ```ts
 * import { randn, relu, Rng } from "bitgrad";
 * import { Linear, Sequential } from "bitgrad/nn";
 * import { allocateBits, binaryWeightOnly, int4WeightOnly, int8WeightOnly, prepare } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const model = new Sequential(new Linear(32, 64, { rng }), relu, new Linear(64, 10, { rng }));
 * const { plan, bytes } = await allocateBits(model, [randn([16, 32], { rng })], {
 *   choices: [int8WeightOnly(), int4WeightOnly(), binaryWeightOnly()],
 *   bits: 5,
 * });
 * prepare(model, plan);
 * console.log(bytes <= (5 * (32 * 64 + 64 * 10)) / 8); // true
 * ```
 */
export async function allocateBits<B>(
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options: Partial<AllocateOptions<B>> & Pick<AllocateOptions<B>, "choices">,
): Promise<Allocation> {
  const op = "allocateBits";
  const read = readOptions<AllocateOptions<B>>(op, options, defaults);
  const { share, measure } = read;
  if (share !== null && !isFunction(share)) {
    throw new OptionError(`${op}: option share must be a function, got ${show(share)}`);
  }
  checkBudget(op, read);
  checkChoice(op, "measure", measure, Object.keys(measures));
  checkAgain(op, batches);
  const study = await studyOf(op, model, batches, read);
  const groups = groupsOf(op, study.subjects, share);
  const budget = budgetOf(op, read, groups);
  await measures[measure](study);
  const { choice, bytes, cost } = chooseUnderBudget(
    groups.map(({ options }) =>
      options.map((of) => ({ bytes: total(of, "bytes"), cost: total(of, "cost") })),
    ),
    budget,
  );
  const chosen = new Map<Subject, Candidate>();
  for (const [i, { subjects, options: of }] of groups.entries()) {
    for (const [k, subject] of subjects.entries()) chosen.set(subject, of[choice[i]][k]);
  }
  const picked = study.subjects.map((subject) => [subject, chosen.get(subject)!] as const);
  const parts = picked.flatMap(([, { part }]) => part ?? []);
  const together = { within: (fn: () => void) => whileOn(parts, fn), of: "all choices", key: null };
  const joint = isGap(measure) ? (await gapsOf(study, measure, [together], () => {}))[0] : null;
  const layers = picked.map(([{ layer, path }, each]) => ({
    ...{ layer, path, choice: each.choice, bytes: each.bytes, cost: each.cost },
  }));
  const rules = picked.flatMap(([{ path }, { config }]) =>
    config ? [[ruleFor(path), config] as const] : [],
  );
  const made = { plan: plan({ rules }), measure, layers, bytes, cost, joint };
  return { ...made, toString: () => allocationTable(made) };
}

function allocationTable({
  layers,
  bytes,
  cost,
  joint,
  measure,
}: Omit<Allocation, "toString" | "plan">): string {
  const cells = layers.map((each) => [
    nameOf(each.layer),
    each.choice,
    brief(each.cost),
    grouped(each.bytes),
  ]);
  const table = tableOf(
    ["layer", "choice", measure, "bytes"],
    cells,
    ["sum", "", brief(cost), grouped(bytes)],
    2,
  );
  return joint === null ? table : `${table}\nmeasured together: ${measure} ${brief(joint)}`;
}
