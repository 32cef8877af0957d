/** Cross-layer equalization: weights that follow one another get equal ranges, channel by channel. */

import { checkInteger, readOptions } from "../../errors.ts";
import type { Pair } from "./pairs.ts";
import { Scaling, type ScalingOptions } from "./scaling.ts";

export interface EqualizeOptions extends ScalingOptions {
  /** How often all pairs are gone through at most, since those that share a weight depend on one another. Default 20. */
  iterations: number;
}

/** Pairs whose channels a weight makes, not gains alone. */
const withoutRows = ({ producer }: Pair): string | null =>
  producer.some(({ parameter }) => parameter.shape.length > 1)
    ? null
    : "its producer is a normalisation, whose gains have no range to equalize";

/**
 * Gives each channel between two weights of a prepared model the same largest magnitude in the rows that make it and in the
 * columns that read it, r₁ and r₂: the columns are multiplied by √(r₁/r₂), the rows and the bias divided, so that the
 * float function stays the same and one scale for all channels fits better. It needs no data. Pairs are those of the
 * model's `scalePairs()` that a weight makes: what a ReLU follows, values of attention, `up` beside a gate. Channels with
 * a range of 0 stay as they are. Pairs that cannot be scaled are left as they are, and told to `onPair`. Codes that scaled
 * weights hold are let go. Returns the model. Rejects with StageError for a model that is not prepared, frozen or calibrated
 * before, OptionError for one without pairs, or none of which can be scaled, and for weights that are not finite; the model
 * is then as it was. Nagel et al., 2019, arXiv:1906.04721, section 4.1.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { MnistCnn } from "bitgrad/models";
 * import { equalize, int8WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const config = int8WeightOnly({ granularity: "tensor" });
 * const model = prepare(new MnistCnn({ channels: [2, 3, 4], hidden: 5, rng: new Rng(1) }), plan({ default: config }));
 * await equalize(model);
 * const rows = model.fc1.weight.value.abs().max({ axis: 1 });
 * const columns = model.fc2.weight.value.abs().max({ axis: 0 });
 * console.log(rows.sub(columns).abs().max().item() < 1e-6); // true
 * ```
 */
export async function equalize<M extends object>(model: M, options?: Partial<EqualizeOptions>): Promise<M> {
  const op = "equalize";
  const { iterations, layers, onPair } = readOptions<EqualizeOptions>(op, options, {
    iterations: 20,
    layers: null,
    onPair: null,
  });
  checkInteger(op, "iterations", iterations, 1);
  const scaling = new Scaling(op, model, { layers, onPair }, withoutRows);
  for (let i = 0, furthest = Infinity; i < iterations && furthest > 1e-7; i++) {
    furthest = 0;
    for (const pair of scaling.pairs) {
      const rows = pair.producer.filter(({ parameter }) => parameter.shape.length > 1);
      const made = scaling.absmax(pair, rows);
      const read = scaling.absmax(pair, pair.consumers);
      const factors = made.map((most, c) => (most > 0 && read[c] > 0 ? Math.sqrt(most / read[c]) : 1));
      for (const factor of factors) furthest = Math.max(furthest, Math.abs(factor - 1));
      scaling.scale(pair, factors);
    }
  }
  for (const pair of scaling.pairs) scaling.tell(pair);
  scaling.write();
  return model;
}
