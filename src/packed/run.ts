/** What a run of a packed layer is given, checked. */

import { OptionError, show } from "../errors.ts";
import type { PackedKind, PackedLayer, PackedStep } from "./file/layer.ts";
import { checkFinite } from "./products/input.ts";
import { budgetOf, checkValues, type Ids, readCall, steady, type Values } from "./values.ts";

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
