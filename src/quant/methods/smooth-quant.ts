/** SmoothQuant: outliers of inputs are moved into weights, channel by channel. */

import { checkShare, readOptions } from "../../errors.ts";
import { whileFloat } from "../../nn/modes.ts";
import { gather } from "../../nn/statistics.ts";
import { readerOf, readersOf, withoutReader } from "./pairs.ts";
import { Scaling, type ScalingOptions } from "./scaling.ts";

export interface SmoothQuantOptions<B> extends ScalingOptions {
  /** How much of the range of inputs moves into the weights: 0 to 1. Default 0.5. */
  alpha: number;
  /** How a batch is run, where it is not what the model's `forward` takes. */
  forward: ((batch: B) => unknown) | null;
}

/** What maxima of weights and factors are kept above, as the published code has it. */
const least = 1e-5;

/**
 * Divides the channels that layers of a prepared model read by s = max|X|^α / max|W|^(1 − α), and multiplies their columns
 * by it, so that both keep few outliers: the float function stays the same, and quantized inputs lose less. Maxima are over
 * all batches, with the model in float, and over all weights that read a channel. Factors are folded into what makes the
 * channels, by the pairs of the model's `scalePairs()`: gains of normalisations, values of attention, `up` beside a gate,
 * and what a ReLU follows. Channels that are 0 in every batch stay as they are. Pairs that cannot be scaled are left as
 * they are, and told to `onPair`. Codes that scaled weights hold are let go, and static inputs are calibrated afterwards.
 * Returns the model. Rejects with StageError for a model that is not prepared, frozen or calibrated before, without batches
 * and for a layer that none reached; with OptionError for a model without pairs, or none of which can be scaled, and for
 * inputs and weights that are not finite. The model is then as it was. Xiao et al., 2022, arXiv:2211.10438, who scale
 * normalisations alone.
 *
 * @example
 * ```ts
 * import { randint, Rng } from "bitgrad";
 * import { Gpt } from "bitgrad/models";
 * import { calibrate, int8Static, plan, prepare, smoothQuant } from "bitgrad/quant";
 *
 * const gpt = new Gpt({ vocabulary: 11, context: 8, dim: 8, layers: 1, heads: 2, rng: new Rng(1) });
 * const batches = [randint(0, 11, [4, 8], { rng: new Rng(2) })];
 * const rules = [["blocks.*.{attention,mlp}.*.weight", int8Static()]] as const;
 * const model = prepare(gpt, plan({ default: null, rules }));
 * const left: unknown[] = [];
 * await smoothQuant(model, batches, {
 *   onPair: ({ consumers, skipped }) => {
 *     if (skipped) left.push([...consumers, skipped]);
 *   },
 * });
 * console.log(left); // [["blocks.0.mlp.down", "no pair reads into it"]]
 * await calibrate(model, batches);
 * ```
 */
export async function smoothQuant<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<SmoothQuantOptions<B>>,
): Promise<M> {
  const op = "smoothQuant";
  const { alpha, layers, forward, onPair } = readOptions<SmoothQuantOptions<B>>(op, options, {
    alpha: 0.5,
    layers: null,
    forward: null,
    onPair: null,
  });
  checkShare(op, "alpha", alpha);
  const scaling = new Scaling(op, model, { layers, onPair }, withoutReader);
  const found = await gather(op, model, readersOf(scaling.pairs), batches, {
    keep: ["absmax"],
    forward,
    around: (fn) => whileFloat(model, fn),
    until: null,
  });
  for (const pair of scaling.pairs) {
    const { layer, channelOf } = readerOf(pair)!;
    const inputs = new Float64Array(pair.channels);
    found.get(layer)!.absmax.data.forEach((most, column) => {
      const c = channelOf[column];
      inputs[c] = Math.max(inputs[c], most);
    });
    const weights = scaling.absmax(pair, pair.consumers);
    const factors = inputs.map((most, c) => {
      if (most === 0) return 1;
      return Math.max(least, most ** alpha / Math.max(least, weights[c]) ** (1 - alpha));
    });
    scaling.scale(pair, factors);
    scaling.tell(pair);
  }
  scaling.write();
  return model;
}
