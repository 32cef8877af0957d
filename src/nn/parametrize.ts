/** Transforms put on parameters by path, and taken off again. */

import { isFunction, OptionError, readOptions, ShapeError, show, synchronous } from "../errors.ts";
import { sameShape } from "../shape.ts";
import { noGrad } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { noMatch } from "./modes.ts";
import { isParameter, type Parameter, type Transform } from "./parameter.ts";
import { type PathPattern, pathMatcher } from "./pattern.ts";
import { type Found, findParameters, walk } from "./tree.ts";

/** Makes the transform of one parameter, for transforms with a state or parameters of their own. */
export type TransformFactory = (parameter: Parameter, path: string) => Transform;

/**
 * Appends transforms to every parameter whose path fits, in the order given: what layers use is then
 * `parameter.effective()`. A transform is shared by all that fit, a factory makes one for each. A tied parameter fits by any
 * of its names and is transformed once; parameters inside transforms are left alone. Returns the parameters with their
 * paths. Throws OptionError where the pattern fits none, and what a transform throws that cannot serve several.
 *
 * @example
 * ```ts
 * import type { Tensor } from "bitgrad";
 * import { Linear, parametrize } from "bitgrad/nn";
 *
 * const layer = new Linear(4, 2);
 * parametrize(layer, "weight", { apply: (weight: Tensor) => weight.abs() });
 * console.log(layer.weight.effective().min().item() >= 0); // true
 * ```
 */
export function parametrize(
  model: object,
  pattern: PathPattern,
  ...transforms: (Transform | TransformFactory)[]
): Found<Parameter>[] {
  if (transforms.length === 0) throw new OptionError("parametrize: needs a transform, got none");
  const found = fitting("parametrize", model, pattern);
  // All are made before the first is put in place, so that a factory that throws leaves the model as it was.
  const made = found.map(({ item, path }) =>
    transforms.map((given) => {
      const transform = isFunction(given)
        ? synchronous("parametrize", given(item, path), "a factory")
        : given;
      if (typeof transform !== "object" || typeof transform?.apply !== "function") {
        throw new OptionError(
          `parametrize: a transform needs an apply function, got ${show(transform)} for ${show(path)}`,
        );
      }
      return transform;
    }),
  );
  found.forEach(({ item }, i) => {
    item.transforms.push(...made[i]);
  });
  try {
    found.forEach(({ item, path }, i) => {
      for (const transform of made[i]) transform.attach?.(item, path);
    });
  } catch (error) {
    found.forEach(({ item }, i) => {
      item.transforms.length -= made[i].length;
    });
    throw error;
  }
  return found;
}

/**
 * Takes all transforms off the parameters whose path fits. What they computed becomes the value, unless `bake` is false:
 * then the latent value remains. Returns the paths. Throws OptionError where the pattern fits no transformed parameter, and
 * where a store cannot hold what would be baked in, ShapeError where transforms change a shape; the model is then as it was.
 *
 * @example
 * ```ts
 * import type { Tensor } from "bitgrad";
 * import { Linear, parametrize, removeParametrization } from "bitgrad/nn";
 *
 * const layer = new Linear(4, 2);
 * parametrize(layer, "weight", { apply: (weight: Tensor) => weight.abs() });
 * removeParametrization(layer, "weight");
 * console.log(layer.weight.transforms.length); // 0
 * ```
 */
export function removeParametrization(
  model: object,
  pattern: PathPattern,
  options?: { bake?: boolean },
): string[] {
  const op = "removeParametrization";
  const { bake } = readOptions(op, options, { bake: true });
  const isTransformed = (parameter: Parameter): boolean => parameter.transforms.length > 0;
  const found = fitting(op, model, pattern).filter(({ item }) => isTransformed(item));
  if (found.length === 0) {
    const paths = findParameters(model).filter(({ item }) => isTransformed(item));
    throw noMatch(
      op,
      "transformed parameter",
      pattern,
      paths.map(({ path }) => path),
    );
  }
  const values = found.map(({ item, path }) => {
    if (!bake) return null;
    const value = noGrad(() => item.effective());
    checkBaked(op, path, item, value);
    return value;
  });
  found.forEach(({ item }, i) => {
    item.transforms.length = 0;
    const value = values[i];
    if (value) item.assign(value);
  });
  return found.map(({ path }) => path);
}

/** Throws where a parameter cannot take over what it is read as: ShapeError for another shape, OptionError for its store. */
export function checkBaked(op: string, path: string, { value, shape }: Parameter, baked: Tensor): void {
  if (!sameShape(baked.shape, shape)) {
    throw new ShapeError(
      `${op}: the transforms change the shape of ${show(path)}, got ${show(baked.shape)} for ${show(shape)}; use { bake: false }`,
    );
  }
  const wrong = value.storage.refuses(baked.data);
  if (wrong) throw new OptionError(`${op}: ${show(path)} cannot be baked in: ${wrong}; use { bake: false }`);
}

function fitting(op: string, model: object, pattern: PathPattern): Found<Parameter>[] {
  const fits = pathMatcher(pattern);
  const found = new Map<Parameter, Found<Parameter>>();
  const names: string[] = [];
  walk(model, (item, path, owner) => {
    if (!isParameter(item)) return true;
    names.push(path);
    if (fits(path) && !found.has(item)) found.set(item, { path, item, owner });
    return false;
  });
  if (found.size === 0) throw noMatch(op, "parameter", pattern, names);
  return [...found.values()];
}
