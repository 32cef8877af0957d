/** Switches over whole models: training or evaluation, trainable or not. */

import { isBuiltIn, isFunction, OptionError, show, synchronous } from "../errors.ts";
import { shared } from "../state.ts";
import { isLayer } from "./layer.ts";
import { isParameter, type Parameter, type Transform } from "./parameter.ts";
import { type PathPattern, pathMatcher } from "./pattern.ts";
import { findParameters, walk } from "./tree.ts";

/** By part, what `evaluate` was called on to put it into evaluation. */
const held = shared("held", () => new WeakMap<object, object>());

/**
 * Puts everything in a model that has a `training` flag into training mode. Returns the model.
 *
 * @example
 * ```ts
 * import { Dropout, evaluate, Sequential, train } from "bitgrad/nn";
 *
 * const drop = new Dropout(0.5);
 * evaluate(new Sequential(drop));
 * console.log(drop.training, train(drop).training); // false true
 * ```
 */
export const train = <M extends object>(model: M): M => setTraining("train", model, true);

/**
 * Puts a model into evaluation mode: no dropout, running statistics. Returns the model. `fit` puts its model back into
 * training, except for parts on which `evaluate` was called themselves, as in `evaluate(model.backbone)` or
 * `evaluate([model.a, model.b])`: these stay in evaluation until `train` is called on them or on what holds them.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 * import { Dropout, evaluate } from "bitgrad/nn";
 *
 * console.log(evaluate(new Dropout(0.9)).forward(ones([3])).toArray()); // [1, 1, 1]
 * ```
 */
export const evaluate = <M extends object>(model: M): M => setTraining("evaluate", model, false);

function setTraining<M extends object>(op: string, model: M, on: boolean): M {
  if (typeof model !== "object" || model === null) {
    throw new OptionError(`${op}: expected a model, got ${show(model)}`);
  }
  walk(model, (item) => {
    if (hasMode(item)) item.training = on;
    if (on) held.delete(item);
    return true;
  });
  if (on) return model;
  // A list that is no layer stands for its items.
  if (Array.isArray(model) && !isLayer(model)) {
    for (const part of model) if (Object(part) === part && !held.has(part)) held.set(part, model);
  }
  held.set(model, model);
  return model;
}

const hasMode = (item: object): item is { training: boolean } =>
  typeof (item as { training?: unknown }).training === "boolean";

/** Puts a model into training mode, but for the parts that were put into evaluation by themselves. */
export function trainAgain(model: object): void {
  walk(model, (item) => {
    if (item !== model && (held.get(item) ?? model) !== model) return false;
    if (hasMode(item)) item.training = true;
    return true;
  });
}

/** Everything in a model that is in evaluation. */
export function evaluating(model: object): { training: boolean }[] {
  const found: { training: boolean }[] = [];
  walk(model, (item) => {
    if (hasMode(item) && !item.training) found.push(item);
    return true;
  });
  return found;
}

/** Lets the copies of a model's parts stay in evaluation where the parts do. */
export function holdCopies(copies: ReadonlyMap<object, unknown>): void {
  for (const [part, copy] of copies) {
    const root = held.get(part);
    if (root) held.set(copy as object, (copies.get(root) as object | undefined) ?? (copy as object));
  }
}

/**
 * Runs `fn` with everything in a model in evaluation mode, then puts each part back into the mode it was in. Throws
 * StageError for an async `fn`.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 * import { Dropout, whileEvaluating } from "bitgrad/nn";
 *
 * const drop = new Dropout(0.5);
 * console.log(whileEvaluating(drop, () => drop.forward(ones([3])).toArray()), drop.training); // [1, 1, 1] true
 * ```
 */
export function whileEvaluating<R>(model: object, fn: () => R): R {
  if (!isFunction(fn)) throw new OptionError(`whileEvaluating: expected a function, got ${show(fn)}`);
  const training: { training: boolean }[] = [];
  walk(model, (item) => {
    if (hasMode(item) && item.training) training.push(item);
    return true;
  });
  for (const part of training) part.training = false;
  try {
    return synchronous("whileEvaluating", fn());
  } finally {
    for (const part of training) part.training = true;
  }
}

/**
 * Runs `fn` with the quantizers of a model switched off: layers take their inputs as they are, and weights pass only through
 * the transforms that do not quantize (without `bits`), such as masks; what corrects a quantized weight is left out. Then
 * puts all of them back. Throws StageError for an async `fn`.
 *
 * @example
 * ```ts
 * import { Linear, whileFloat } from "bitgrad/nn";
 * import { binaryWeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const model = prepare(new Linear(16, 1), plan({ default: binaryWeightOnly() }));
 * const levels = () => new Set(model.weight.effective().abs().data).size;
 * console.log(levels(), whileFloat(model, levels) > 1); // 1 true
 * ```
 */
export function whileFloat<R>(model: object, fn: () => R): R {
  if (!isFunction(fn)) throw new OptionError(`whileFloat: expected a function, got ${show(fn)}`);
  return whileFloatBut(model, () => false, fn);
}

/** The same, but for the quantizers of weights that `keep` picks. */
export function whileFloatBut<R>(model: object, keep: (parameter: Parameter) => boolean, fn: () => R): R {
  const weights: [transforms: Transform[], before: readonly Transform[]][] = [];
  const layers: [layer: { inputQuantizer: unknown }, before: unknown][] = [];
  const isOff = (item: unknown): item is Parameter =>
    isParameter(item) && item.transforms.some(quantizes) && !keep(item);
  const putBack = takeCorrections(model, isOff);
  walk(model, (item) => {
    if (isOff(item)) weights.push([item.transforms, [...item.transforms]]);
    const { inputQuantizer } = item as { inputQuantizer?: unknown };
    if (inputQuantizer) layers.push([item as { inputQuantizer: unknown }, inputQuantizer]);
    return true;
  });
  for (const [transforms, before] of weights) {
    transforms.splice(0, transforms.length, ...before.filter((transform) => !quantizes(transform)));
  }
  for (const [layer] of layers) layer.inputQuantizer = null;
  try {
    return synchronous("whileFloat", fn());
  } finally {
    for (const [transforms, before] of weights) transforms.splice(0, transforms.length, ...before);
    for (const [layer, before] of layers) layer.inputQuantizer = before;
    putBack();
  }
}

/** Takes the corrections off the layers whose weight `of` picks; returns what puts them back. */
export function takeCorrections(model: object, of: (weight: unknown) => boolean): () => void {
  const found: [layer: { correction: unknown }, before: unknown][] = [];
  walk(model, (item) => {
    const { correction, weight } = item as { correction?: unknown; weight?: unknown };
    if (correction && of(weight)) found.push([item as { correction: unknown }, correction]);
    return true;
  });
  for (const [layer] of found) layer.correction = null;
  return () => {
    for (const [layer, before] of found) layer.correction = before;
  };
}

const quantizes = ({ bits }: Transform): boolean => bits !== undefined;

/**
 * Sets whether the parameters whose path fits a pattern get gradients; a tied parameter fits by any of its names. Returns
 * the paths that fit. Throws OptionError where none does.
 *
 * @example
 * ```ts
 * import { Linear, Sequential, setTrainable } from "bitgrad/nn";
 *
 * const model = new Sequential({ body: new Linear(4, 8), head: new Linear(8, 2) });
 * console.log(setTrainable(model, "body.*", false)); // ["body.weight", "body.bias"]
 * ```
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
  const some =
    names
      .slice(0, 6)
      .map((name) => name || '""')
      .join(", ") + (names.length > 6 ? ", …" : "");
  return new OptionError(
    `${op}: the pattern fits no ${what}, got ${isBuiltIn("RegExp", pattern) ? pattern : show(pattern)}; there ${names.length > 0 ? `are ${some}` : "is none"}`,
  );
}
