/** Which parameters of a model are quantized, and how. */

import type { Quantizer } from "../codes/quantizer.ts";
import { OptionError, readOptions, show, synchronous } from "../errors.ts";
import type { Layer } from "../nn/layer.ts";
import type { Parameter } from "../nn/parameter.ts";
import { matchPath } from "../nn/pattern.ts";
import { findParameters, namedParameters } from "../nn/tree.ts";
import { planTable } from "./labels.ts";
import { type PresetCall, presetCall, presetFrom, type QuantConfig } from "./presets.ts";

/** A path pattern or a test, and what becomes of the parameters it matches; null leaves them alone. */
export type PlanRule = readonly [
  match: string | RegExp | ((path: string, parameter: Parameter, owner: object) => boolean),
  config: QuantConfig | PresetCall | null,
];

export interface PlanOptions {
  /**
   * For parameters that no rule matches. It only ever touches weight matrices: two axes or more, named `weight`, not of a
   * norm, and of layers that can quantize their input where the config wants it.
   */
  default: QuantConfig | PresetCall | null;
  /** The first match wins. */
  rules: readonly PlanRule[];
}

export interface PlannedParameter {
  readonly path: string;
  readonly parameter: Parameter;
  readonly config: QuantConfig | null;
}

export interface Plan {
  /**
   * What becomes of each parameter of a model: a list, which `String` makes a table of. Throws OptionError for a rule that
   * matches none.
   */
  explain(model: object): PlannedParameter[];
  /** What `plan` makes the same plan of, for `JSON.stringify`. Throws OptionError for all but presets and path patterns. */
  toJSON(): PlanJson;
}

export interface PlanJson {
  readonly default: PresetCall | null;
  readonly rules: readonly (readonly [match: string, config: PresetCall | null])[];
}

/** Whether a layer takes codes for its input; a table of rows has ids, where there is nothing to quantize. */
export const servesInput = (owner: object): boolean =>
  "inputQuantizer" in owner || (owner as Layer).kind === "embedding";

type Rule = readonly [PlanRule[0], QuantConfig | null];

const matches = ([match]: Rule, path: string, parameter: Parameter, owner: object): boolean =>
  typeof match === "function"
    ? synchronous("plan", match(path, parameter, owner), "the test of a rule")
    : matchPath(match, path);

const fields = { weight: undefined, input: undefined };

function checked(what: string, given: QuantConfig | PresetCall | null): QuantConfig | null {
  const config = presetFrom<QuantConfig | null>(given);
  if (config === null) return null;
  const { weight } = Object(config) as Partial<QuantConfig>;
  if (typeof weight === "function" || typeof weight?.params === "function") {
    readOptions<{ weight?: unknown; input?: unknown }>(`plan: ${what} a config`, { ...config }, fields);
    return config;
  }
  if (typeof (config as Partial<Quantizer> | null)?.params === "function") {
    throw new OptionError(`plan: ${what} a config, got a quantizer; put it in one: { weight: … }`);
  }
  const hint = typeof config === "function" ? "; call it" : "";
  throw new OptionError(
    `plan: ${what} a preset such as int8WeightOnly() or null, got ${show(config)}${hint}`,
  );
}

function jsonOf(what: string, config: QuantConfig | null): PresetCall | null {
  const call = config && presetCall(config);
  if (config === null || call) return call;
  throw new OptionError(
    `plan: JSON holds presets, got ${show(config)} of ${what}; name a preset such as int8WeightOnly(), without functions`,
  );
}

/**
 * A plan of quantization by path. A tied parameter follows the first of its names that a rule matches.
 * Takes what `JSON.stringify` made of a plan, parsed.
 *
 * @example
 * ```ts
 * import { Linear, Sequential } from "bitgrad/nn";
 * import { binaryWeightOnly, int8Dynamic, plan } from "bitgrad/quant";
 *
 * const model = new Sequential({ body: new Linear(8, 8), head: new Linear(8, 2) });
 * const mixed = plan({ default: binaryWeightOnly(), rules: [["head.weight", int8Dynamic()]] });
 * console.log(mixed.explain(model).filter(({ config }) => config !== null).map(({ path }) => path));
 * // ["body.weight", "head.weight"]
 * console.log(String(mixed.explain(model)).split("\n")[2]); // body.weight  (8, 8)  binaryWeightOnly          64     1
 * ```
 */
export function plan(options: Partial<PlanOptions> | PlanJson): Plan {
  const given = readOptions<PlanOptions>("plan", options, { default: null, rules: [] });
  const fallback = checked("default must be", given.default);
  if (!Array.isArray(given.rules))
    throw new OptionError(`plan: rules must be a list of pairs [match, config], got ${show(given.rules)}`);
  const rules = given.rules.map((rule, i): Rule => {
    if (!Array.isArray(rule) || rule.length !== 2)
      throw new OptionError(`plan: a rule must be a pair [match, config], got ${show(rule)}`);
    return [rule[0], checked(`rule ${i} must give`, rule[1])];
  });
  return {
    explain(model) {
      const used = new Set<Rule>();
      const names = findParameters(model);
      const planned = namedParameters(model).map(([path, parameter]): PlannedParameter => {
        const aliases = names.filter(({ item }) => item === parameter);
        for (const rule of rules) {
          if (!aliases.some((a) => matches(rule, a.path, parameter, a.owner))) continue;
          used.add(rule);
          return { path, parameter, config: rule[1] };
        }
        const isMatrix = parameter.shape.length >= 2 && path.split(".").at(-1) === "weight";
        const isNorm = aliases.some(({ owner }) => (owner as Layer).kind === "norm");
        const isServed = !fallback?.input || aliases.every(({ owner }) => servesInput(owner));
        return { path, parameter, config: isMatrix && !isNorm && isServed ? fallback : null };
      });
      const idle = rules.findIndex((rule) => !used.has(rule));
      if (idle >= 0) {
        throw new OptionError(
          `plan: rule ${idle} matches no parameter, got ${show(rules[idle][0])}; the first names are ${planned
            .slice(0, 6)
            .map((p) => p.path)
            .join(", ")}`,
        );
      }
      // Lists that are made of it print as lists do.
      return Object.defineProperty(planned, "toString", { value: () => planTable(planned) });
    },
    toJSON: () => ({
      default: jsonOf("the default", fallback),
      rules: rules.map(([match, config], i) => {
        if (typeof match === "string") return [match, jsonOf(`rule ${i}`, config)];
        throw new OptionError(
          `plan: JSON holds path patterns, got ${show(match)} in rule ${i}; write a string`,
        );
      }),
    }),
  };
}
