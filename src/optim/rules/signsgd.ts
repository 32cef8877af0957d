import { signStep } from "../../backend.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast } from "../options.ts";
import type { UpdateRule } from "../rule.ts";

export interface SignSgdOptions {
  readonly lr: number;
  readonly weightDecay: number;
}

/**
 * w ← w(1 − lr·λ) − lr·sign(g); sign(0) = 0. Bernstein et al., 2018, arXiv:1802.04434. Throws OptionError for options out of
 * range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { optimizer, signSgd } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, signSgd({ lr: 0.01 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function signSgd(options?: Partial<SignSgdOptions>): UpdateRule<Record<never, never>> {
  const all = readOptions<SignSgdOptions>("signSgd", options, { lr: 1e-3, weightDecay: 0 });
  const { lr, weightDecay } = all;
  checkAtLeast("signSgd", "lr", lr, 0);
  checkAtLeast("signSgd", "weightDecay", weightDecay, 0);
  return {
    name: "signSgd",
    options: all,
    with: (changes) => signSgd({ ...all, ...changes }),
    init: () => ({}),
    update(weight, grad, _state, lr) {
      signStep(weight, grad, null, { lr, decay: lr * weightDecay, momentum: 0 });
    },
  };
}
