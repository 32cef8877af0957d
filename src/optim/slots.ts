/** What rules remember: checked when it is made, copied out under names, read back in. */

import { dtypeOfArray, type FloatArray, type TypedArray } from "../dtype.ts";
import { FormatError, isPlainObject, OptionError, show, synchronous } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import type { Rng } from "../random/rng.ts";
import { type Shape, sameShape } from "../shape.ts";
import { own, pinArray, Storage } from "../storage.ts";
import { isTensor, Tensor } from "../tensor.ts";
import type { RuleState, UpdateRule } from "./rule.ts";

type Slot = TypedArray | number;

/** The state of a parameter before its first step. Throws OptionError for a slot that could not be saved. */
export function makeState(rule: UpdateRule, path: string, { value }: Parameter, rng: Rng): RuleState {
  const made = rule.init(value.size, value.data as FloatArray, { shape: value.shape, rng });
  const state = synchronous("step", made, "init of a rule");
  if (!isPlainObject(state)) {
    throw new OptionError(
      `step: init of a rule must give its slots by name, { … }, got ${show(state)} of ${show(rule.name)} for ${path}`,
    );
  }
  for (const [slot, held] of Object.entries(state)) checkSlot(`${path}.${slot}`, held);
  return state;
}

/** Arrays of a state go where kernels read. */
export function pinState(state: RuleState): RuleState {
  for (const [slot, held] of Object.entries(state)) {
    if (typeof held !== "number") state[slot] = pinArray(held, dtypeOfArray(held)!);
  }
  return state;
}

/** A copy of a slot: a number, or a tensor of its dtype, in the parameter's shape where it is as long as that. */
export function savedSlot(key: string, held: Slot, parameter: Parameter): Tensor | number {
  checkSlot(key, held);
  if (typeof held === "number") return held;
  const dtype = dtypeOfArray(held)!;
  return own(new Tensor(new Storage(held.slice(), dtype), shapeOf(held, parameter), dtype));
}

/** The saved slot in the place of `fresh`, which says what it must be. Throws FormatError where it is something else. */
export function readSlot(
  key: string,
  fresh: Slot,
  saved: Tensor | number | undefined,
  parameter: Parameter,
): Slot {
  if (typeof fresh === "number") {
    if (typeof saved !== "number" || Number.isNaN(saved)) throw mismatch(key, "a number", saved);
    return saved;
  }
  const dtype = dtypeOfArray(fresh);
  const shape = shapeOf(fresh, parameter);
  if (!isTensor(saved) || saved.dtype !== dtype || !sameShape(saved.shape, shape)) {
    throw mismatch(key, `a ${dtype} tensor of shape ${show(shape)}`, saved);
  }
  return saved.data.slice();
}

const shapeOf = ({ length }: TypedArray, { size, shape }: Parameter): Shape =>
  length === size ? shape : [length];

function checkSlot(name: string, held: unknown): void {
  if (typeof held === "number" || (ArrayBuffer.isView(held) && dtypeOfArray(held) !== null)) return;
  throw new OptionError(
    `step: a slot of a rule must be a number or a typed array of a dtype, got ${show(held)} for ${name}`,
  );
}

export const mismatch = (key: string, wanted: string, found: unknown): FormatError =>
  new FormatError(
    `loadStateDict: ${key} must be ${wanted}, got ${found === undefined ? "nothing" : isTensor(found) ? `${found.dtype} ${show(found)}` : show(found)}`,
  );
