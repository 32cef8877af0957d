/** The groups of an optimizer: which parameters each rule takes. */

import { OptionError, show, synchronous } from "../errors.ts";
import { isParameter, type Parameter } from "../nn/parameter.ts";
import { findParameters } from "../nn/tree.ts";
import { checkRule, type HyperParameters, hyperOf, withHyper, writable } from "./hyper.ts";
import { everything, type Predicate } from "./predicates.ts";
import type { UpdateRule } from "./rule.ts";

/** The parameters that one rule updates, and the learning rate and hyper-parameters it does so with. */
export interface Group {
  /** With the hyper-parameters that are in force. */
  readonly rule: UpdateRule;
  readonly parameters: readonly { readonly path: string; readonly parameter: Parameter }[];
  /** The learning rate of the rule's options; 1 for a rule without one. */
  readonly initialLr: number;
  lr: number;
  /** The hyper-parameters that the rule was made with. */
  readonly initialHyper: Readonly<HyperParameters>;
  /**
   * The numbers of the rule's options other than `lr`, to be written at any time: `group.hyper.weightDecay = 0`, items of
   * lists by their place: `group.hyper["betas.0"] = 0.8`. A write throws what the rule throws for the value, and OptionError
   * for a name that it does not have; nothing is changed then. Empty for a rule without `with`.
   */
  readonly hyper: HyperParameters;
}

export class RuleGroup implements Group {
  rule: UpdateRule;
  readonly parameters: Group["parameters"];
  readonly initialLr: number;
  lr: number;
  readonly initialHyper: Readonly<HyperParameters>;
  readonly hyper: HyperParameters;
  private readonly values: HyperParameters;

  constructor(rule: UpdateRule, parameters: Group["parameters"]) {
    this.rule = rule;
    this.parameters = parameters;
    this.initialLr = rule.options.lr ?? 1;
    this.lr = this.initialLr;
    this.initialHyper = Object.freeze(hyperOf(rule));
    this.values = hyperOf(rule);
    this.hyper = writable(this.values, (key, value) => this.use(withHyper(this.rule, { [key]: value })));
  }

  /** Puts the rule made with other hyper-parameters in force. */
  use(rule: UpdateRule): void {
    this.rule = rule;
    Object.assign(this.values, hyperOf(rule));
  }
}

export type OptimizerRows = readonly (readonly [Predicate, UpdateRule])[];

/** Throws OptionError for a parameter that no row takes and for a row that takes none. */
export function makeGroups(
  model: object | readonly Parameter[],
  rules: UpdateRule | OptimizerRows,
): RuleGroup[] {
  const rows: OptimizerRows = Array.isArray(rules) ? rules : [[everything, rules as UpdateRule]];
  for (const row of rows) checkRow(row, rules);
  const members = rows.map((): { path: string; parameter: Parameter }[] => []);
  const lost: string[] = [];
  const seen = new Set<Parameter>();
  for (const { path, item: parameter, owner } of listParameters(model)) {
    if (seen.has(parameter)) continue;
    seen.add(parameter);
    const row = rows.findIndex(([takes]) =>
      synchronous("optimizer", takes(path, parameter, owner), "a predicate"),
    );
    if (row < 0) lost.push(path);
    else members[row].push({ path, parameter });
  }
  if (lost.length > 0) {
    throw new OptionError(
      `optimizer: no row takes some parameters, got ${show(lost)}; end with [everything, rule]`,
    );
  }
  if (seen.size === 0) {
    throw new OptionError(`optimizer: needs a model with parameters, got none in ${show(model)}`);
  }
  const idle = members.findIndex((list) => list.length === 0);
  if (idle >= 0) {
    throw new OptionError(
      `optimizer: a row takes no parameter, got row ${idle} (${show(rows[idle][1].name)}) of ${rows.length}; rows above it take what they match first`,
    );
  }
  return rows.map(([, rule], i) => new RuleGroup(rule, members[i]));
}

function checkRow(row: unknown, given: unknown): void {
  const [takes, rule] = Array.isArray(row) ? row : [];
  if (typeof takes === "function" && typeof (rule as Partial<UpdateRule> | null)?.update === "function") {
    checkRule(rule);
    return;
  }
  const hint = typeof given === "function" ? `; call it: ${show(given)}({ lr: 0.01 })` : "";
  throw new OptionError(
    `optimizer: needs an update rule or rows of [predicate, rule], got ${show(given)}${hint}`,
  );
}

/** Parameters with their first path and owner; those of a list are named by their place in it. */
function listParameters(
  model: object | readonly Parameter[],
): { path: string; item: Parameter; owner?: object }[] {
  if (Array.isArray(model) && model.every(isParameter)) {
    return model.map((item, i) => ({ path: String(i), item }));
  }
  return findParameters(model);
}
