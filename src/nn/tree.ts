/**
 * Models as trees: parameters, buffers and layers found by walking properties, named by their path joined with dots.
 * Own enumerable properties, array items, map values and a parameter's transforms are walked; a property whose name begins
 * with "_" is private to its owner and skipped. A tensor property is a buffer. Names are of one thing each.
 */

import { isBuiltIn, OptionError, show } from "../errors.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { isLayer, type Layer } from "./layer.ts";
import { isParameter, type Parameter } from "./parameter.ts";

/** Something found in a model: its path, itself, and the object that holds it. */
export interface Found<T> {
  readonly path: string;
  readonly item: T;
  readonly owner: object;
}

/** Calls `visit` for every object below `root`, itself included, parents first. `visit` returns false to stay out. */
export function walk(root: object, visit: (item: object, path: string, owner: object) => boolean): void {
  if (typeof root !== "object" || root === null) {
    const hint = typeof root === "function" ? "; a class must be called with new" : "";
    throw new OptionError(`model: expected an object such as a layer, got ${show(root)}${hint}`);
  }
  const ancestors = new Set<object>();
  const step = (item: unknown, path: string, owner: object): void => {
    if (typeof item !== "object" || item === null || ArrayBuffer.isView(item) || ancestors.has(item)) return;
    if (!visit(item, path, owner)) return;
    ancestors.add(item);
    for (const [key, child] of children(item)) step(child, path === "" ? key : `${path}.${key}`, item);
    ancestors.delete(item);
  };
  step(root, "", root);
}

/** What lies below an object, by name, but for numbers and the like: every training step walks its model. */
function children(item: object): [key: string, child: unknown][] {
  if (isParameter(item)) return item.transforms.length > 0 ? [["transforms", item.transforms]] : [];
  if (isTensor(item)) return [];
  if (isBuiltIn("Map", item)) return Array.from(item, ([key, child]) => [String(key), child]);
  const entries: [key: string, child: unknown][] = [];
  for (const key of Object.keys(item)) {
    const child: unknown = item[key as keyof typeof item];
    if (typeof child === "object" && key[0] !== "_") entries.push([key, child]);
  }
  return entries;
}

/** What `is` takes, each with its path and owner. Throws OptionError where two different things have one path. */
export function findAll<T extends object>(model: object, is: (item: object) => item is T): Found<T>[] {
  const found: Found<T>[] = [];
  const names = new Map<string, object>();
  walk(model, (item, path, owner) => {
    if (!is(item)) return true;
    if ((names.get(path) ?? item) !== item) {
      throw new OptionError(`model: two parts have one name, got ${show(path)}; rename a key`);
    }
    names.set(path, item);
    found.push({ path, item, owner });
    return true;
  });
  return found;
}

/**
 * Every parameter with its path and owner. A tied parameter comes once for each of its names.
 *
 * @example
 * ```ts
 * import { findParameters, Linear, Sequential } from "bitgrad/nn";
 *
 * const model = new Sequential(new Linear(4, 2));
 * console.log(findParameters(model).map(({ path, owner }) => [path, owner === model[0]]));
 * // [["0.weight", true], ["0.bias", true]]
 * ```
 */
export const findParameters = (model: object): Found<Parameter>[] => findAll(model, isParameter);

/**
 * Parameters by name; a tied parameter comes once, under its first name.
 *
 * @example
 * ```ts
 * import { Linear, namedParameters } from "bitgrad/nn";
 *
 * console.log(namedParameters(new Linear(4, 2)).map(([name, { shape }]) => [name, shape]));
 * // [["weight", [2, 4]], ["bias", [2]]]
 * ```
 */
export function namedParameters(model: object): [name: string, parameter: Parameter][] {
  const named: [name: string, parameter: Parameter][] = [];
  const seen = new Set<Parameter>();
  for (const { path, item } of findParameters(model)) {
    if (!seen.has(item)) named.push([path, item]);
    seen.add(item);
  }
  return named;
}

/**
 * The parameters of a model, each once.
 *
 * @example
 * ```ts
 * import { Linear, parameters } from "bitgrad/nn";
 *
 * console.log(parameters(new Linear(4, 2)).length); // 2
 * ```
 */
export const parameters = (model: object): Parameter[] =>
  namedParameters(model).map(([, parameter]) => parameter);

/**
 * Tensors that are not parameters, such as running statistics, by name.
 *
 * @example
 * ```ts
 * import { BatchNorm1d, namedBuffers } from "bitgrad/nn";
 *
 * console.log(namedBuffers(new BatchNorm1d(4)).map(([name]) => name));
 * // ["runningMean", "runningVar", "numBatchesTracked"]
 * ```
 */
export const namedBuffers = (model: object): [name: string, buffer: Tensor][] =>
  findAll(model, isTensor).map(({ path, item }) => [path, item]);

/**
 * Every layer below a model with its path, the model itself under "".
 *
 * @example
 * ```ts
 * import { Linear, namedLayers, Sequential } from "bitgrad/nn";
 *
 * console.log(namedLayers(new Sequential({ body: new Linear(4, 2) })).map(([path]) => path)); // ["", "body"]
 * ```
 */
export const namedLayers = (model: object): [path: string, layer: Layer][] =>
  findAll(model, isLayer).map(({ path, item }) => [path, item]);
