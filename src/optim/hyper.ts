/** Hyper-parameters: the numbers of a rule's options, by name, and the rule made anew with others. */

import { isFunction, isPlainObject, OptionError, show, synchronous } from "../errors.ts";
import type { UpdateRule } from "./rule.ts";

export type HyperParameters = Record<string, number>;

const isNumber = (value: unknown): value is number => typeof value === "number";

/**
 * The numbers of a rule's options, items of lists as `betas.0`. The learning rate is not among them: the group holds it.
 * None of a rule without `with`.
 */
export function hyperOf(rule: UpdateRule): HyperParameters {
  if (!rule.with) return {};
  const named = Object.entries<unknown>(rule.options).flatMap(([name, value]): [string, number][] => {
    if (name === "lr") return [];
    if (isNumber(value)) return [[name, value]];
    if (!Array.isArray(value) || !value.every(isNumber)) return [];
    return value.map((item, i) => [`${name}.${i}`, item]);
  });
  return Object.fromEntries(named);
}

/** The rule with other hyper-parameters. Throws OptionError for an unknown name, and what the rule throws for a value. */
export function withHyper(rule: UpdateRule, numbers: Readonly<HyperParameters>): UpdateRule {
  const known = hyperOf(rule);
  const options = rule.options as Readonly<Record<string, unknown>>;
  const changes: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(numbers)) {
    if (!Object.hasOwn(known, key)) throw unknownHyper("hyper", key, [rule]);
    if (!isNumber(value) || Number.isNaN(value)) {
      throw new OptionError(`hyper: ${key} of ${rule.name} must be a number, got ${show(value)}`);
    }
    const dot = Object.hasOwn(options, key) ? -1 : key.lastIndexOf(".");
    const name = dot < 0 ? key : key.slice(0, dot);
    const list = (changes[name] ?? options[name]) as readonly number[];
    changes[name] = dot < 0 ? value : list.with(Number(key.slice(dot + 1)), value);
  }
  return rule.with ? checkRule(synchronous("hyper", rule.with(changes), "with of a rule")) : rule;
}

/** Throws OptionError for what has an `update`, and lacks another part of a rule. */
export function checkRule(given: unknown): UpdateRule {
  const { init, update, options } = Object(given) as Partial<UpdateRule>;
  const lr = isPlainObject(options) ? (options as { lr?: unknown }).lr : null;
  if (
    isFunction(init) &&
    isFunction(update) &&
    (lr === undefined || (isNumber(lr) && lr >= 0 && lr < Infinity))
  )
    return given as UpdateRule;
  const { name } = Object(given) as { name?: unknown };
  const wrong = !isFunction(init)
    ? `init, a function, got ${show(init)}`
    : !isFunction(update)
      ? `update, a function, got ${show(update)}`
      : !isPlainObject(options)
        ? `options, { lr, … }, got ${show(options)}`
        : `a rate in its options that is finite and not negative, got ${show(lr)}`;
  throw new OptionError(`optimizer: a rule must have ${wrong} of ${show(name ?? given)}`);
}

/** `values` to be written one by one: `write` is told first, and other names are refused. */
export function writable(
  values: HyperParameters,
  write: (key: string, value: number) => void,
): HyperParameters {
  const refuse = (_: HyperParameters, key: string | symbol): never => {
    throw new OptionError(
      `hyper: its names are fixed, got ${show(String(key))}; write one of ${Object.keys(values).join(", ") || "none"}`,
    );
  };
  return new Proxy(values, {
    set(_, key, value) {
      write(String(key), value);
      return true;
    },
    defineProperty: refuse,
    deleteProperty: refuse,
  });
}

/** The error for a name that no rule has. */
export function unknownHyper(op: string, key: unknown, rules: readonly UpdateRule[]): OptionError {
  const named = rules.map((rule) => {
    const names = Object.keys(hyperOf(rule)).join(", ");
    return `${rule.name} has ${names || "none"}${rule.with ? "" : ", since it lacks the method with"}`;
  });
  return new OptionError(
    `${op}: no such hyper-parameter, got ${show(key)}; ${[...new Set(named)].join("; ")}`,
  );
}
