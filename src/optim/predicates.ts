/** Which parameters a row of an optimizer takes. */

import type { Parameter } from "../nn/parameter.ts";
import { type PathPattern, pathMatcher } from "../nn/pattern.ts";

/**
 * Sees a parameter's path (the first, of one that is shared), the parameter, and the layer that holds it (not known for
 * parameters given as a list).
 */
export type Predicate = (path: string, parameter: Parameter, owner?: object) => boolean;

/**
 * Takes every parameter: for the last row of an optimizer.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { everything, isBias, optimizer, sgd } from "bitgrad/optim";
 *
 * const opt = optimizer(new Linear(4, 2), [
 *   [isBias, sgd({ lr: 0.1 })],
 *   [everything, sgd({ lr: 0.01 })],
 * ]);
 * console.log(opt.groups.length); // 2
 * ```
 */
export const everything: Predicate = () => true;

/**
 * Parameters of one bit: marked `binary`, with a store of one bit, or with a transform of `bits` 1.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { isBinary } from "bitgrad/optim";
 * import { binaryWeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const { weight } = prepare(new Linear(4, 2), plan({ default: binaryWeightOnly() }));
 * console.log(isBinary("weight", weight)); // true
 * ```
 */
export const isBinary: Predicate = (_path, parameter) =>
  (parameter as { binary?: boolean }).binary === true ||
  parameter.store?.bits === 1 ||
  parameter.transforms.some(({ bits }) => bits === 1);

/**
 * Parameters of a normalisation layer, one whose `kind` is "norm".
 *
 * @example
 * ```ts
 * import { LayerNorm, Sequential, Linear } from "bitgrad/nn";
 * import { adamw, everything, isNorm, optimizer } from "bitgrad/optim";
 *
 * const opt = optimizer(new Sequential(new Linear(4, 2), new LayerNorm(2)), [
 *   [isNorm, adamw({ weightDecay: 0 })],
 *   [everything, adamw()],
 * ]);
 * console.log(opt.groups[0].parameters.length); // 2
 * ```
 */
export const isNorm: Predicate = (_path, _parameter, owner) =>
  (owner as { kind?: unknown } | undefined)?.kind === "norm";

/**
 * Parameters named `bias`, or with a name that ends in `Bias`.
 *
 * @example
 * ```ts
 * import { isBias } from "bitgrad/optim";
 * import { Linear } from "bitgrad/nn";
 *
 * const { bias } = new Linear(4, 2);
 * console.log(isBias("layers.0.bias", bias!), isBias("layers.0.weight", bias!)); // true false
 * ```
 */
export const isBias: Predicate = (path) => /(^|\.)bias$|Bias$/.test(path);

/**
 * Parameters whose path fits a pattern of `matchPath`.
 *
 * @example
 * ```ts
 * import { LayerNorm, Linear, Sequential } from "bitgrad/nn";
 * import { everything, matching, optimizer, sgd } from "bitgrad/optim";
 *
 * const model = new Sequential({ body: new Linear(4, 8), norm: new LayerNorm(8), head: new Linear(8, 2) });
 * const opt = optimizer(model, [
 *   [matching("head.*"), sgd({ lr: 0.1 })],
 *   [everything, sgd({ lr: 0.01 })],
 * ]);
 * console.log(opt.groups.map(({ parameters }) => parameters.length)); // [2, 4]
 * ```
 */
export const matching = (pattern: PathPattern): Predicate => {
  const fits = pathMatcher(pattern);
  return (path) => fits(path);
};
