import { lion as lionKernel } from "../../backend.ts";
import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkBetas } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface LionOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly weightDecay: number;
}

type State = { mean: FloatArray };

/**
 * w ← w(1 − lr·λ) − lr·sign(β₁m + (1 − β₁)g), then m ← β₂m + (1 − β₂)g; sign(0) = 0. Learning rates are 3 to 10 times below
 * AdamW's and decays as much above. Chen et al., 2023, arXiv:2302.06675. Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { lion, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, lion({ lr: 0.01, weightDecay: 0.1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function lion(options?: Partial<LionOptions>): UpdateRule<State> {
  const all = readOptions<LionOptions>("lion", options, { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0 });
  const { lr, betas, weightDecay } = all;
  checkAtLeast("lion", "lr", lr, 0);
  checkBetas("lion", betas);
  checkAtLeast("lion", "weightDecay", weightDecay, 0);
  const [beta1, beta2] = betas;
  return {
    name: "lion",
    options: all,
    with: (changes) => lion({ ...all, ...changes }),
    init: (size, weight) => ({ mean: zeros(size, weight) }),
    update(weight, grad, { mean }, lr) {
      lionKernel(weight, grad, mean, { lr, decay: lr * weightDecay, beta1, beta2 });
    },
  };
}
