/** Switches over whole models: training or evaluation, trainable or not. */

import { isBuiltIn, isFunction, OptionError, StageError, show } from "../errors.ts";
import { isThenable } from "../storage.ts";
import { type PathPattern, pathMatcher } from "./pattern.ts";
import { findParameters, walk } from "./tree.ts";

/** Puts everything in a model that has a `training` flag into training mode. Returns the model. */
export const train = <M extends object>(model: M): M => setTraining(model, true);

/** Puts a model into evaluation mode: no dropout, running statistics. Returns the model. */
export const evaluate = <M extends object>(model: M): M => setTraining(model, false);

function setTraining<M extends object>(model: M, on: boolean): M {
  walk(model, (item) => {
    if (typeof (item as { training?: unknown }).training === "boolean") {
      (item as { training: boolean }).training = on;
    }
    return true;
  });
  return model;
}

/** Runs `fn` with everything in a model in evaluation mode, then puts each part back into the mode it was in. Throws StageError for an async `fn`. */
export function whileEvaluating<R>(model: object, fn: () => R): R {
  if (!isFunction(fn)) throw new OptionError(`whileEvaluating: expected a function, got ${show(fn)}`);
  const training: { training: boolean }[] = [];
  walk(model, (item) => {
    const part = item as { training?: unknown };
    if (part.training === true) training.push(part as { training: boolean });
    return true;
  });
  for (const part of training) part.training = false;
  try {
    const result = fn();
    if (isThenable(result)) {
      throw new StageError("whileEvaluating: the callback must be synchronous, got a promise");
    }
    return result;
  } finally {
    for (const part of training) part.training = true;
  }
}

/**
 * Sets whether the parameters whose path fits a pattern get gradients; a tied parameter fits by any of its names. Returns
 * the paths that fit. Throws OptionError where none does.
 */
export function setTrainable(model: object, pattern: PathPattern, on: boolean): string[] {
  if (typeof on !== "boolean") {
    throw new OptionError(`setTrainable: expected true or false, got ${show(on)}`);
  }
  const fits = pathMatcher(pattern);
  const all = findParameters(model);
  const found = all.filter(({ path }) => fits(path));
  if (found.length === 0) {
    throw noMatch(
      "setTrainable",
      "parameter",
      pattern,
      all.map(({ path }) => path),
    );
  }
  for (const { item } of found) item.trainable = on;
  return found.map(({ path }) => path);
}

/** `names` are those that the pattern could have fitted. */
export function noMatch(
  op: string,
  what: string,
  pattern: PathPattern,
  names: readonly string[],
): OptionError {
  const some = names.slice(0, 6).join(", ") + (names.length > 6 ? ", …" : "");
  return new OptionError(
    `${op}: the pattern fits no ${what}, got ${isBuiltIn("RegExp", pattern) ? pattern : show(pattern)}; there ${names.length > 0 ? `are ${some}` : "is none"}`,
  );
}
