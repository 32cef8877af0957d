import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkBetas } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface AdamaxOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

type State = { step: number; mean: FloatArray; largest: FloatArray };

/**
 * Adam in the infinity norm: u ← max(β₂u, |g| + ε); w ← w − lr·m̂ / u, with λw added to g. As torch.optim.Adamax; Kingma and
 * Ba, 2014, arXiv:1412.6980, section 7. Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { adamax, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, adamax({ lr: 0.1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function adamax(options?: Partial<AdamaxOptions>): UpdateRule<State> {
  const all = readOptions<AdamaxOptions>("adamax", options, {
    lr: 2e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0,
  });
  const { lr, betas, eps, weightDecay } = all;
  checkAtLeast("adamax", "lr", lr, 0);
  checkBetas("adamax", betas);
  checkAtLeast("adamax", "eps", eps, 0);
  checkAtLeast("adamax", "weightDecay", weightDecay, 0);
  const [beta1, beta2] = betas;
  return {
    name: "adamax",
    options: all,
    with: (changes) => adamax({ ...all, ...changes }),
    init: (size, weight) => ({ step: 0, mean: zeros(size, weight), largest: zeros(size, weight) }),
    update(weight, grad, state, lr) {
      const { mean, largest } = state;
      const size = lr / (1 - beta1 ** ++state.step);
      for (let i = 0; i < weight.length; i++) {
        const g = grad[i] + weightDecay * weight[i];
        mean[i] = beta1 * mean[i] + (1 - beta1) * g;
        largest[i] = Math.max(beta2 * largest[i], Math.abs(g) + eps);
        weight[i] -= (size * mean[i]) / largest[i];
      }
    },
  };
}
