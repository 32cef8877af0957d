/** Which parameters a row of an optimizer takes. */

import type { Parameter } from "../nn/parameter.ts";
import { type PathPattern, pathMatcher } from "../nn/pattern.ts";

/**
 * Sees a parameter's path (the first, of one that is shared), the parameter, and the layer that holds it (not known for
 * parameters given as a list).
 */
export type Predicate = (path: string, parameter: Parameter, owner?: object) => boolean;

/** Takes every parameter: for the last row of an optimizer. */
export const everything: Predicate = () => true;

/** Parameters of one bit: marked `binary`, with a store of one bit, or with a transform of `bits` 1. */
export const isBinary: Predicate = (_path, parameter) =>
  (parameter as { binary?: boolean }).binary === true ||
  parameter.store?.bits === 1 ||
  parameter.transforms.some(({ bits }) => bits === 1);

/** Parameters of a normalisation layer, one whose `kind` is "norm". */
export const isNorm: Predicate = (_path, _parameter, owner) =>
  (owner as { kind?: unknown } | undefined)?.kind === "norm";

/** Parameters named `bias`, or with a name that ends in `Bias`. */
export const isBias: Predicate = (path) => /(^|\.)bias$|Bias$/.test(path);

/** Parameters whose path fits a pattern of `matchPath`. */
export const matching = (pattern: PathPattern): Predicate => {
  const fits = pathMatcher(pattern);
  return (path) => fits(path);
};
