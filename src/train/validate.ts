/** What a model is worth on data that it is not trained on. */

import { undoable } from "../changes.ts";
import { OptionError, show } from "../errors.ts";
import { whileEvaluating } from "../nn/modes.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { breather } from "./breathe.ts";
import type { Measures, Metric } from "./options.ts";
import { placeOf, read } from "./read.ts";
import { lossOf, type StepLoss } from "./step.ts";

/**
 * Means over `data` of the loss and of every metric, by what batches count. Modes, generators, running statistics and the
 * place of a loader are left as they are. Rejects with the reason of the signal.
 */
export async function measure<M extends object, B>(
  model: M,
  data: AsyncIterable<B> | Iterable<B>,
  loss: (model: M, batch: B) => StepLoss,
  metrics: Readonly<Record<string, Metric<M, B>>>,
  signal: AbortSignal | undefined,
): Promise<Measures> {
  const place = placeOf(data);
  const breathe = breather();
  const sums = new Map(["loss", ...Object.keys(metrics)].map((name) => [name, { sum: 0, count: 0 }]));
  let batches = 0;
  const add = (name: string, value: number, count: number) => {
    const sum = sums.get(name)!;
    // What counts nothing may be NaN.
    sum.sum += count > 0 ? value * count : 0;
    sum.count += count;
  };
  const take = (batch: B) => {
    const { result, count } = lossOf("fit", () => loss(model, batch));
    add("loss", result.item(), count);
    for (const [name, metric] of Object.entries(metrics)) {
      const given = metric(model, batch);
      const { value, count: counts = 1 } = typeof given === "number" ? { value: given } : Object(given);
      if (typeof value !== "number" || !(counts >= 0 && counts < Infinity)) {
        throw new OptionError(
          `fit: a metric must be a number, or { value, count }, got ${show(given)} from ${show(name)}`,
        );
      }
      add(name, value, counts);
    }
  };
  try {
    for await (const batch of read(data, signal, () => () => {})) {
      signal?.throwIfAborted();
      const [, back] = undoable(() => whileEvaluating(model, () => noGrad(() => scope(() => take(batch)))));
      back();
      batches++;
      await breathe();
    }
  } finally {
    if (place) Object.assign(data, { state: place });
  }
  if (batches === 0) throw new OptionError(`fit: validation.data gave no batch, got ${show(data)}`);
  return Object.fromEntries([...sums].map(([name, { sum, count }]) => [name, sum / (count || 1)]));
}
