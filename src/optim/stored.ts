/** Steps of parameters whose stores do not hold every number: computed over copies before anything is written. */

import type { FloatArray } from "../dtype.ts";
import { OptionError } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import type { RuleState } from "./rule.ts";

/**
 * Runs `update` over the numbers of a parameter with a store and a copy of its state, and gives what writes both: the weight
 * to the parameter, the state to the one that is kept. Throws OptionError, beginning with `op`, for what the store does not
 * hold.
 */
export function staged(
  op: string,
  parameter: Parameter,
  state: RuleState,
  update: (weight: FloatArray, state: RuleState) => void,
): (kept: RuleState) => void {
  // Unpacked for this call.
  const weight = parameter.value.data as FloatArray;
  const next: RuleState = {};
  for (const [slot, held] of Object.entries(state)) {
    next[slot] = typeof held === "number" ? held : held.slice();
  }
  update(weight, next);
  const wrong = parameter.value.storage.refuses(weight);
  if (wrong) throw new OptionError(`${op}: ${wrong}`);
  return (kept) => {
    parameter.update((data) => data.set(weight), op);
    for (const [slot, held] of Object.entries(next)) {
      const there = kept[slot];
      // Into the array that is pinned.
      if (typeof held !== "number" && typeof there !== "number" && there?.length === held.length)
        there.set(held);
      else kept[slot] = held;
    }
  };
}
