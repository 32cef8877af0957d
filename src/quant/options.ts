/** What presets and quantizers can be told of a weight: the one reader of it. */

import { checkGranularity, type Granularity, type ScaleDtype, scaleDtypes } from "../codes/spec.ts";
import { checkChoice, checkInteger, OptionError, readOptions, show } from "../errors.ts";

export interface ScaleOptions {
  /** Which weights share a scale. */
  granularity: Granularity;
  /** The type that scales are rounded to before anything is computed with them. Default "float16". */
  scaleDtype: ScaleDtype;
}

export interface WeightOptions extends ScaleOptions {
  /** One scale for every `group` weights of a row: short for `granularity: { group }`, and refused beside it. */
  group: number;
  /** "symmetric", the default, or "affine": with zero points. */
  scheme: "symmetric" | "affine";
}

const defaults = { group: null, granularity: null, scheme: "symmetric", scaleDtype: "float16" } as const;

export const schemes = ["symmetric", "affine"] as const;

/**
 * Those options of a weight that `op` takes, and more of its own, by their defaults; `fallback` says which weights share a
 * scale where neither `granularity` nor `group` does. Throws OptionError that begins with `op`.
 */
export function readWeight<K extends keyof WeightOptions, M extends object = object>(
  op: string,
  given: object | undefined,
  takes: readonly K[],
  fallback: Granularity,
  more?: M,
): Pick<WeightOptions, Exclude<K, "group">> & Pick<WeightOptions, "granularity"> & M {
  const known = Object.fromEntries(takes.map((name) => [name, defaults[name]]));
  const { group, granularity, ...rest } = readOptions<Partial<Record<string, unknown>>>(op, given, {
    ...known,
    ...more,
  });
  const grouped = (group ?? null) !== null;
  if (grouped) checkInteger(op, "group", group, 1);
  if (grouped && (granularity ?? null) !== null) {
    throw new OptionError(
      `${op}: group and granularity say the same, got ${show(group)} and ${show(granularity)}; leave one out`,
    );
  }
  if (rest.scheme !== undefined) checkChoice(op, "scheme", rest.scheme, schemes);
  checkChoice(op, "scaleDtype", rest.scaleDtype, scaleDtypes);
  const shared = grouped ? { group } : (granularity ?? fallback);
  return { ...rest, granularity: checkGranularity(op, shared as Granularity) } as never;
}
