/** signRound: offsets of rounding and factors of ranges, learned by the signs of their gradients. */

import { isSigns } from "../../codes/spec.ts";
import { checkInteger, OptionError, readOptions, show } from "../../errors.ts";
import { checkPositive } from "../../optim/options.ts";
import { type LearningOptions, learningDefaults, learnRoundings } from "./learn-roundings.ts";
import { OffsetRounding } from "./offset-rounding.ts";
import { type Site, sitesOf } from "./sites.ts";

export interface SignRoundOptions<B> extends LearningOptions<B> {
  /** Steps for each layer, or block. Default 200. */
  iterations: number;
  /** How far the first step moves each number; later ones move it less, on a line to 0. Default null: 1 / iterations. */
  lr: number | null;
  /** Whether the ranges that scales are found from may shrink; where not, scales stay as they are. Default true. */
  ranges: boolean;
}

/**
 * Learns an offset V within −1/2 … 1/2 for each weight, which is added before it is rounded, and factors of at most 1 for
 * the two ends of the range that each scale is found from, so that each layer changes least in what it computes of the
 * batches: ‖WX − ŴX‖², one layer after the other, with the codes of earlier layers in place. Every step moves each number
 * by the sign of its gradient. The codes of the least error of all steps are taken, and those of the start where none is
 * less. Only XᵀX is kept of the inputs, so that memory does not depend on the number of batches, and nothing is drawn at
 * random. With `blocks` the layers of a block are learned together, from what the block computes, which errs less and
 * takes longer; errors are compared each time that all batches have served. The ranges are those that the scales of the
 * codes cover that a weight holds, as another algorithm may have left them, or else those of its quantizer. What a mask
 * has made 0 stays 0. Holds the codes (`QuantizedTransform.hold`) and resolves to the model; after an error the model is
 * as it was. SignRound, Cheng et al., 2023, arXiv:2309.05516, which learns blocks. Throws StageError for a model that is
 * not prepared, or is frozen, and for a layer or block that no batch reaches; OptionError for codes that are not uniform,
 * for options out of range, for blocks that share a weight, and for a weight or an input that is not finite.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { Linear, whileFloat } from "bitgrad/nn";
 * import { plan, prepare, signRound, ste } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const x = randn([256, 64], { rng }).matmul(randn([64, 64], { rng }));
 * const model = prepare(new Linear(64, 16, { rng }), plan({ default: { weight: ste({ bits: 2 }) } }));
 * const error = () => model.forward(x).sub(whileFloat(model, () => model.forward(x))).square().sum().item();
 * const nearest = error();
 * await signRound(model, [x]);
 * console.log(error() < 0.7 * nearest); // true
 * ```
 */
export async function signRound<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<SignRoundOptions<B>>,
): Promise<M> {
  const op = "signRound";
  const all = readOptions<SignRoundOptions<B>>(op, options, {
    ...learningDefaults,
    iterations: 200,
    lr: null,
    ranges: true,
  });
  const { iterations, ranges } = all;
  checkInteger(op, "iterations", iterations, 1);
  const lr = all.lr ?? 1 / iterations;
  checkPositive(op, "lr", lr);
  for (const site of sitesOf(op, model, all.layers)) checkUniform(op, site);
  await learnRoundings(op, model, batches, all, (start) => new OffsetRounding(start, lr, ranges));
  return model;
}

function checkUniform(op: string, { layer, quantizer }: Site): void {
  const { name, spec } = quantizer;
  if (spec.scheme !== "codebook" && !isSigns(spec)) return;
  throw new OptionError(
    `${op}: codes must be uniform, of two bits or more, got ${show(name)} of layer ${show(layer)}; take adaRound, or leave the layer out by { layers }`,
  );
}
