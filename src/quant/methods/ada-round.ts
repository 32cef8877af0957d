/** adaRound: for each weight, whether it is rounded down or up, so that layers or blocks compute what they did. */

import { checkInteger, checkShare, OptionError, readOptions, show } from "../../errors.ts";
import { checkAtLeast, checkPositive } from "../../optim/options.ts";
import { type LearningOptions, learningDefaults, learnRoundings } from "./learn-roundings.ts";
import { type SoftOptions, SoftRounding } from "./soft-rounding.ts";

export interface AdaRoundOptions<B> extends LearningOptions<B>, Omit<SoftOptions, "lr"> {
  /** Steps of Adam for each layer, or block. Default 1000. */
  iterations: number;
  /** Adam's learning rate. Default null: 10 / iterations, with which a rounding has the time to change its side. */
  lr: number | null;
}

/**
 * Learns for each weight whether it is rounded down or up, by Adam on a soft rounding, so that each layer changes least
 * in what it computes of the batches: ‖WX − ŴX‖², one layer after the other, with the codes of earlier layers in place.
 * Only XᵀX is kept of the inputs, so that memory does not depend on the number of batches. With `blocks` the layers of a
 * block are learned together, from what the block computes, which errs less and takes longer. Scales are those of the
 * codes that a weight holds, as another algorithm may have left them, or else those of its quantizer. A layer whose error
 * on the batches does not become smaller keeps the codes it began with. Specs of every kind are served, codebooks and
 * signs too. What a mask has made 0 stays 0. Holds the codes (`QuantizedTransform.hold`) and resolves to the model; after
 * an error the model is as it was. AdaRound, Nagel et al., 2020, arXiv:2004.10568, and with `blocks` BRECQ, Li et al.,
 * 2021, arXiv:2102.05426, which weighs the outputs of a block by a `loss`; but the error counts relative to that of the
 * codes at the start, so that one `lambda` serves weights and inputs of any scale. Throws StageError for a model that is
 * not prepared, or is frozen, and for a layer or block that no batch reaches; OptionError for options out of range, for
 * blocks that share a weight, and for a weight or an input that is not finite.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { Linear, whileFloat } from "bitgrad/nn";
 * import { adaRound, int4WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const x = randn([256, 16], { rng }).matmul(randn([16, 16], { rng }));
 * const model = prepare(new Linear(16, 8, { rng }), plan({ default: int4WeightOnly({ group: 16 }) }));
 * const error = () => model.forward(x).sub(whileFloat(model, () => model.forward(x))).square().sum().item();
 * const nearest = error();
 * await adaRound(model, [x], { iterations: 300 });
 * console.log(error() < 0.8 * nearest); // true
 * ```
 */
export async function adaRound<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<AdaRoundOptions<B>>,
): Promise<M> {
  const op = "adaRound";
  const all = readOptions<AdaRoundOptions<B>>(op, options, {
    ...learningDefaults,
    iterations: 1000,
    lr: null,
    lambda: 0.01,
    beta: [20, 2],
    warmup: 0.2,
  });
  const { iterations, lambda, beta, warmup } = all;
  checkInteger(op, "iterations", iterations, 1);
  const lr = all.lr ?? 10 / iterations;
  checkPositive(op, "lr", lr);
  checkAtLeast(op, "lambda", lambda, 0);
  checkShare(op, "warmup", warmup);
  checkEnds(op, beta);
  await learnRoundings(
    op,
    model,
    batches,
    all,
    (start) => new SoftRounding(start, { lr, lambda, beta, warmup }),
  );
  return model;
}

function checkEnds(op: string, beta: readonly [number, number]): void {
  if (!Array.isArray(beta) || beta.length !== 2) {
    throw new OptionError(`${op}: beta must be two numbers, got ${show(beta)}`);
  }
  for (const end of beta) checkPositive(op, "each of beta", end);
}
