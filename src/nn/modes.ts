/** Switches over whole models: training or evaluation, trainable or not. */

import { OptionError, show } from "../errors.ts";
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

/**
 * Sets whether the parameters whose path fits a pattern get gradients; a tied parameter fits by any of its names. Returns
 * the paths that fit. Throws OptionError where none does.
 */
export function setTrainable(model: object, pattern: PathPattern, on: boolean): string[] {
  if (typeof on !== "boolean") {
    throw new OptionError(`setTrainable: expected true or false, got ${show(on)}`);
  }
  const fits = pathMatcher(pattern);
  const found = findParameters(model).filter(({ path }) => fits(path));
  if (found.length === 0) throw noMatch("setTrainable", "parameter", pattern);
  for (const { item } of found) item.trainable = on;
  return found.map(({ path }) => path);
}

export const noMatch = (op: string, what: string, pattern: PathPattern): OptionError =>
  new OptionError(
    `${op}: the pattern fits no ${what}, got ${pattern instanceof RegExp ? pattern : show(pattern)}`,
  );
