/** chooseUnderBudget: one of several options for each of many things, at the least cost that fits into a number of bytes. */

import { OptionError, show } from "../../errors.ts";

/** Something that may be chosen. */
export interface BudgetOption {
  readonly bytes: number;
  readonly cost: number;
}

export interface BudgetChoice {
  /** Index of the option for each thing. */
  readonly choice: readonly number[];
  readonly bytes: number;
  readonly cost: number;
}

/** Options for the first things that no other beats in both bytes and cost. */
interface State extends BudgetOption {
  readonly pick: number;
  readonly before: State | null;
}

function checked(op: string, groups: readonly (readonly BudgetOption[])[], budget: number): void {
  if (!Array.isArray(groups))
    throw new OptionError(`${op}: needs a list of lists of options, got ${show(groups)}`);
  if (typeof budget !== "number" || !(budget >= 0)) {
    throw new OptionError(`${op}: the budget must be a number of bytes, got ${show(budget)}`);
  }
  for (const [i, options] of groups.entries()) {
    if (!Array.isArray(options) || options.length === 0) {
      throw new OptionError(`${op}: needs options for each, got ${show(options)} at index ${i}`);
    }
    for (const option of options) {
      const { bytes, cost } = Object(option) as Partial<BudgetOption>;
      const isSize = typeof bytes === "number" && bytes >= 0 && bytes < Infinity;
      if (isSize && typeof cost === "number" && cost > -Infinity) continue;
      throw new OptionError(
        `${op}: an option must have { bytes, cost }, got ${show(bytes)} and ${show(cost)} at index ${i}`,
      );
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** What is best at a price of `price` a byte. */
const pricedAt = (options: readonly BudgetOption[], price: number): BudgetOption =>
  options.reduce((best, each) => {
    const [a, b] = [best.cost + price * best.bytes, each.cost + price * each.bytes];
    return b < a || (b === a && each.bytes < best.bytes) ? each : best;
  });

/** Whether all fits at a price, with bytes and cost of it. */
function at(groups: readonly (readonly BudgetOption[])[], price: number): { bytes: number; cost: number } {
  const best = groups.map((options) => pricedAt(options, price));
  return { bytes: sum(best.map(({ bytes }) => bytes)), cost: sum(best.map(({ cost }) => cost)) };
}

/**
 * A price a byte at which all fits, as low as bisection finds it, and the cost of what fits then: no solution needs to cost
 * more.
 */
function priced(
  groups: readonly (readonly BudgetOption[])[],
  budget: number,
): { price: number; cost: number } {
  const fits = (price: number): boolean => at(groups, price).bytes <= budget;
  if (fits(0)) return { price: 0, cost: at(groups, 0).cost };
  let high = 1e-300;
  while (high < 1e200 && !fits(high)) high *= 1e10;
  if (!fits(high)) return { price: 0, cost: Infinity };
  let low = high / 1e10;
  for (let i = 0; i < 60; i++) {
    const middle = low + (high - low) / 2;
    if (fits(middle)) high = middle;
    else low = middle;
  }
  return { price: high, cost: at(groups, high).cost };
}

/**
 * The least that things from `i` on can cost with so many bytes, for every i: what they cost at a price, less what the bytes
 * would. Everett, 1963, Generalized Lagrange multiplier method.
 */
function bounds(groups: readonly (readonly BudgetOption[])[], price: number): number[] {
  const least = [0];
  for (const options of groups.toReversed()) {
    const { bytes, cost } = pricedAt(options, price);
    least.unshift(least[0] + cost + price * bytes);
  }
  return least;
}

/**
 * Chooses one of the options of each thing so that the sum of costs is least and the sum of bytes within a budget; of equal
 * ones the one of fewer bytes. Exact: by dynamic programming over what no other choice beats in both bytes and cost, without
 * what cannot lead to the least any more. What must be chosen together is one thing, whose options are sums. A cost may be
 * Infinity. Throws OptionError for a budget that is too small, which says the least there is, and for options that are none.
 *
 * @example
 * ```ts
 * import { chooseUnderBudget } from "bitgrad/quant";
 *
 * const layers = [
 *   [{ bytes: 2, cost: 10 }, { bytes: 7, cost: 4 }],
 *   [{ bytes: 2, cost: 10 }, { bytes: 8, cost: 3 }],
 * ];
 * console.log(chooseUnderBudget(layers, 10)); // { choice: [0, 1], bytes: 10, cost: 13 }
 * ```
 */
export function chooseUnderBudget(
  options: readonly (readonly BudgetOption[])[],
  budget: number,
): BudgetChoice {
  const op = "chooseUnderBudget";
  checked(op, options, budget);
  const least = [0];
  for (const group of options.toReversed())
    least.unshift(least[0] + Math.min(...group.map(({ bytes }) => bytes)));
  if (least[0] > budget) {
    throw new OptionError(`${op}: the budget must be at least ${least[0]} bytes, got ${show(budget)}`);
  }
  const { price, cost: reachable } = priced(options, budget);
  const bound = bounds(options, price);
  const largest = options.map((group) =>
    Math.max(...group.map(({ bytes, cost }) => (Number.isFinite(cost) ? Math.abs(cost) : 0) + price * bytes)),
  );
  // Room for the rounding of sums in another order.
  const slack = 1e-9 * sum(largest);
  let states: State[] = [{ bytes: 0, cost: 0, pick: -1, before: null }];
  for (const [i, group] of options.entries()) {
    const next: State[] = [];
    for (const before of states) {
      for (const [pick, option] of group.entries()) {
        const bytes = before.bytes + option.bytes;
        const cost = before.cost + option.cost;
        if (bytes + least[i + 1] > budget) continue;
        if (cost + bound[i + 1] - price * (budget - bytes) > reachable + slack) continue;
        next.push({ bytes, cost, pick, before });
      }
    }
    states = unbeaten(next);
  }
  const last = states[states.length - 1];
  const choice: number[] = [];
  for (let state: State = last; state.before; state = state.before) choice.unshift(state.pick);
  return { choice, bytes: last.bytes, cost: last.cost };
}

/** Those that cost strictly less than all of fewer bytes, by bytes. */
function unbeaten(states: State[]): State[] {
  states.sort((a, b) => a.bytes - b.bytes || a.cost - b.cost);
  let best = Infinity;
  return states.filter(({ cost }, i) => {
    if (i > 0 && !(cost < best)) return false;
    best = cost;
    return true;
  });
}
