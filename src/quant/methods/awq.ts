/** AWQ: scales of input channels, and ranges of weights, by what they do to the outputs of layers. */

import { checkInteger, isFunction, OptionError, readOptions, show } from "../../errors.ts";
import { whileFloat } from "../../nn/modes.ts";
import { type PathPattern, pathMatcher } from "../../nn/pattern.ts";
import { gather } from "../../nn/statistics.ts";
import { clippedCodes } from "./awq-ranges.ts";
import { searchFactors } from "./awq-scales.ts";
import { type Pair, readerOf, readersOf, withoutReader } from "./pairs.ts";
import { type PairProgress, Scaling, type ScalingOptions } from "./scaling.ts";
import { type CalibrationOptions, checkAgain, sitesOf, visitInOrder } from "./sites.ts";

export interface AwqProgress extends PairProgress {
  /** Mean squared error of the outputs for every ratio r = 0, 1/grid, …; null for a pair that is left as it is. */
  readonly errors: readonly number[] | null;
}

export interface AwqOptions<B> extends CalibrationOptions<B>, Omit<ScalingOptions, "onPair"> {
  /** How many ratios are tried: r = k/grid for k below it. Default 20. */
  grid: number;
  /** Whether ranges of weights are searched for too. Default true. */
  clip: boolean;
  /** Paths of layers, or patterns, whose ranges stay: by default queries and keys, whose product softmax sees. */
  unclipped: PathPattern | readonly PathPattern[];
  /** Hears of each pair when its scales are found, and of those that are left as they are, with the reason. */
  onPair: ((progress: AwqProgress) => void) | null;
}

/** Numbers of Hessians that are gathered in one pass over the batches: 256 MiB. */
const room = 2 ** 25;

/** Parts of a list of pairs, the Hessians of each of which find room together. */
function* inParts(pairs: readonly Pair[]): Generator<Pair[]> {
  let part: Pair[] = [];
  let size = 0;
  for (const pair of pairs) {
    const own = readerOf(pair)!.channelOf.length ** 2;
    if (part.length > 0 && size + own > room) {
      yield part;
      [part, size] = [[], 0];
    }
    part.push(pair);
    size += own;
  }
  if (part.length > 0) yield part;
}

/** Of pairs whose consumers cannot be scored by one matrix of inputs. */
const withoutMatrix = (pair: Pair): string | null => {
  const missing = withoutReader(pair);
  if (missing) return missing;
  const columns = readerOf(pair)!.channelOf.length;
  const odd = pair.consumers.find(({ along, inner, axis }) => axis !== 1 || along.length * inner !== columns);
  return odd ? `${show(odd.layer)} reads other columns than ${show(pair.consumers[0].layer)}` : null;
};

/**
 * Activation-aware quantization of the weights of a prepared model. First, of every pair of the model's `scalePairs()`, the
 * columns that read a channel are multiplied by s and what makes it is divided: s = max(a^r, 1e-4) / √(max s · min s) for
 * a = mean|X| of each channel, with the ratio r that leaves the least squared error of the consumers' outputs, ‖X(Q(W·s)/s −
 * W)ᵀ‖², by the weights' own quantizers; r = 0 is rounding as it was. (The published code takes the output of the whole
 * attention or network for layers that share an input; here the error of each layer's own output counts, summed over them.)
 * The float function stays the same. Then the weights of each scale are clamped to max|W|·(1 − i/20), i = 0 … 9, whichever
 * leaves the least error of what they add to the output, with the codes of earlier layers in place; the transforms hold the
 * codes until a weight is written. Channels that are 0 in every batch stay as they are. Pairs that cannot be scaled are
 * left as they are, and told to `onPair`. Static inputs are calibrated afterwards. Batches are run through several times:
 * for the scales as often as the Hessians of all pairs fill 256 MiB, and for the ranges once per group of layers that share
 * an input.
 * Returns the model. Rejects with StageError for a model that is not prepared, frozen or calibrated before, without batches
 * and for a layer that none reached; with OptionError for a model without pairs, or none of which can be scaled, and for
 * inputs and weights that are not finite. The model is then as it was. Lin et al., 2023, arXiv:2306.00978.
 *
 * @example
 * ```ts
 * import { randint, Rng } from "bitgrad";
 * import { Gpt } from "bitgrad/models";
 * import { awq, freeze, int4WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const gpt = new Gpt({ vocabulary: 11, context: 8, dim: 8, layers: 1, heads: 2, rng: new Rng(1) });
 * const config = int4WeightOnly({ group: 8, scheme: "affine" });
 * const rules = [["blocks.*.{attention,mlp}.*.weight", config]] as const;
 * const model = prepare(gpt, plan({ default: null, rules }));
 * await awq(model, [randint(0, 11, [4, 8], { rng: new Rng(2) })]);
 * freeze(model);
 * ```
 */
export async function awq<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<AwqOptions<B>>,
): Promise<M> {
  const op = "awq";
  const { grid, clip, unclipped, layers, forward, onLayer, onPair } = readOptions<AwqOptions<B>>(
    op,
    options,
    {
      grid: 20,
      clip: true,
      unclipped: ["**.query", "**.key"],
      layers: null,
      forward: null,
      onLayer: null,
      onPair: null,
    },
  );
  checkInteger(op, "grid", grid, 1);
  for (const [name, hear] of Object.entries({ onLayer, onPair })) {
    if (hear === null || isFunction(hear)) continue;
    throw new OptionError(`${op}: option ${name} must be a function, got ${show(hear)}`);
  }
  const patterns = (Array.isArray(unclipped) ? unclipped : [unclipped]) as readonly PathPattern[];
  const kept = patterns.map((pattern) => pathMatcher(pattern));
  let errors: readonly number[] | null = null;
  const hear = onPair && ((progress: PairProgress) => onPair({ ...progress, errors }));
  const scaling = new Scaling(op, model, { layers, onPair: hear }, withoutMatrix);
  checkAgain(op, batches);
  // What the ranges would refuse is refused before the long search.
  if (clip) sitesOf(op, model, layers);
  for (const part of inParts(scaling.pairs)) {
    const found = await gather(op, model, readersOf(part), batches, {
      keep: ["meanAbs", "hessian"],
      forward,
      around: (fn) => whileFloat(model, fn),
      until: null,
    });
    for (const pair of part) {
      const best = searchFactors(pair, scaling, found.get(readerOf(pair)!.layer)!, grid);
      scaling.scale(pair, best.factors);
      errors = best.errors;
      scaling.tell(pair);
    }
  }
  const back = scaling.write();
  if (!clip) return model;
  try {
    await visitInOrder(op, model, batches, { layers, forward, onLayer }, ["hessian"], (site, { hessian }) =>
      kept.some((fits) => fits(site.layer)) ? null : clippedCodes(site, hessian),
    );
  } catch (error) {
    back();
    throw error;
  }
  return model;
}
