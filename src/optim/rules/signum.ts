import { signStep } from "../../backend.ts";
import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkDecay } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface SignumOptions {
  readonly lr: number;
  readonly momentum: number;
  readonly weightDecay: number;
}

type State = { mean: FloatArray };

/**
 * m ← βm + (1 − β)g; w ← w(1 − lr·λ) − lr·sign(m); sign(0) = 0. Bernstein et al., 2018, arXiv:1802.04434. Throws OptionError
 * for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { optimizer, signum } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, signum({ lr: 0.01, momentum: 0.9 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function signum(options?: Partial<SignumOptions>): UpdateRule<State> {
  const all = readOptions<SignumOptions>("signum", options, { lr: 1e-3, momentum: 0.9, weightDecay: 0 });
  const { lr, momentum, weightDecay } = all;
  checkAtLeast("signum", "lr", lr, 0);
  checkDecay("signum", "momentum", momentum);
  checkAtLeast("signum", "weightDecay", weightDecay, 0);
  return {
    name: "signum",
    options: all,
    with: (changes) => signum({ ...all, ...changes }),
    init: (size, weight) => ({ mean: zeros(size, weight) }),
    update(weight, grad, { mean }, lr) {
      signStep(weight, grad, mean, { lr, decay: lr * weightDecay, momentum });
    },
  };
}
