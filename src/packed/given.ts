/** What layers of kinds from outside give, checked at one place before others read it. */

import { isBuiltIn, OptionError, show } from "../errors.ts";
import type { PackedStep } from "./file/layer.ts";
import { checkValues } from "./values.ts";

const checked = new WeakSet<object>();

/**
 * Lets `forward` of a layer throw ShapeError, naming its kind and its path, for what is no float32 array of its shape.
 * Throws OptionError for a layer that is frozen.
 */
export function checkGiven(layer: PackedStep, path: string): void {
  if (checked.has(layer)) return;
  const { kind, forward } = layer;
  const op = `forward: the layer ${show(kind)} at ${path || "the root"}`;
  const put = Reflect.defineProperty(layer, "forward", {
    configurable: true,
    writable: true,
    value(this: PackedStep, ...args: Parameters<PackedStep["forward"]>) {
      const given: unknown = forward.apply(this, args);
      // Nobody else hears of its rejection.
      if (isBuiltIn("Promise", given)) (given as Promise<unknown>).then(undefined, () => {});
      return checkValues(op, given as ReturnType<PackedStep["forward"]>);
    },
  });
  if (!put)
    throw new OptionError(
      `PackedModel: a layer must not be frozen, got ${show(kind)} at ${path || "the root"}`,
    );
  checked.add(layer);
}
