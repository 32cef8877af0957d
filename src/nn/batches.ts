/** What runs batches through a model: calibration, statistics. */

import { isFunction, OptionError, show, synchronous } from "../errors.ts";
import { inside } from "./inside.ts";
import { isLayer } from "./layer.ts";

const isIterable = (value: unknown): boolean => {
  const { [Symbol.iterator]: each, [Symbol.asyncIterator]: eachAsync } = Object(value);
  return typeof each === "function" || typeof eachAsync === "function";
};

/**
 * How a batch is run: by `forward`, or by the model's own where it is null. Throws OptionError where neither can be; a run
 * throws StageError for an async one, and its errors name the layer that threw.
 */
export function batchRunner<B>(
  op: string,
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  forward: ((batch: B) => unknown) | null,
): (batch: B) => unknown {
  if (forward !== null && !isFunction(forward)) {
    throw new OptionError(`${op}: option forward must be a function, got ${show(forward)}`);
  }
  if (!isIterable(batches)) {
    throw new OptionError(`${op}: batches must be iterable: put one in a list, got ${show(batches)}`);
  }
  const checked = (given: unknown) => synchronous(op, given, "forward");
  if (forward !== null) return (batch) => inside(model, () => checked(forward(batch)));
  if (!isLayer(model)) {
    throw new OptionError(`${op}: the model must have forward, got ${show(model)}; pass { forward }`);
  }
  return (batch) => inside(model, () => checked((model as { forward(x: B): unknown }).forward(batch)));
}
