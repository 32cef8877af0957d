/** Where numbers that are not finite come from. */

import { anyNonFinite } from "../backend.ts";
import { type FloatArray, isFloat } from "../dtype.ts";
import { show } from "../errors.ts";
import { taps } from "../nn/taps.ts";
import { namedLayers, namedParameters } from "../nn/tree.ts";
import { noGrad } from "../tape.ts";
import { isTensor } from "../tensor.ts";

const isBad = (value: unknown): boolean =>
  isTensor(value) && isFloat(value.dtype) && anyNonFinite(value.data as FloatArray, value.size);

/**
 * What of a model makes the result of `run` not finite, as the rest of a sentence: a parameter that is not finite, or the
 * innermost layer that makes such numbers of finite ones. `run` runs again for that; "" where nothing is found.
 */
export function culprit(model: object, run: () => unknown): string {
  const broken = namedParameters(model).find(([, { value }]) => isBad(value));
  if (broken) return ` as is the parameter ${show(broken[0])}`;
  if (namedLayers(model).length === 0) return "";
  const heard = taps(model, "**");
  try {
    const { calls } = noGrad(() => heard.collect(run));
    const found = [...calls].flatMap(([path, list]) =>
      list.some(({ inputs, output }) => isBad(output) && !inputs.some(isBad)) ? [path] : [],
    );
    const inner = found.find((path) => !found.some((other) => other !== path && isWithin(other, path)));
    return inner === undefined ? "" : ` from the output of layer ${show(inner)} on`;
  } catch {
    // What runs once need not run twice.
    return "";
  } finally {
    heard.dispose();
  }
}

const isWithin = (path: string, outer: string): boolean => outer === "" || path.startsWith(`${outer}.`);
