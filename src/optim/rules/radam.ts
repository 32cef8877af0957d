import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkBetas } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface RadamOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

type State = { step: number; mean: FloatArray; square: FloatArray };

/**
 * Adam whose adaptive step is rectified by the variance it has: with ρ∞ = 2 / (1 − β₂) − 1 and
 * ρₜ = ρ∞ − 2tβ₂ᵗ / (1 − β₂ᵗ), w ← w − lr·m̂·√[(ρₜ − 4)(ρₜ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρₜ)] / √v̂ where ρₜ > 5, and
 * w ← w − lr·m̂ before. As torch.optim.RAdam; Liu et al., 2019, arXiv:1908.03265. Throws OptionError for options out of
 * range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { optimizer, radam } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, radam({ lr: 0.1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function radam(options?: Partial<RadamOptions>): UpdateRule<State> {
  const all = readOptions<RadamOptions>("radam", options, {
    lr: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0,
  });
  const { lr, betas, eps, weightDecay } = all;
  checkAtLeast("radam", "lr", lr, 0);
  checkBetas("radam", betas);
  checkAtLeast("radam", "eps", eps, 0);
  checkAtLeast("radam", "weightDecay", weightDecay, 0);
  const [beta1, beta2] = betas;
  const limit = 2 / (1 - beta2) - 1;
  return {
    name: "radam",
    options: all,
    with: (changes) => radam({ ...all, ...changes }),
    init: (size, weight) => ({ step: 0, mean: zeros(size, weight), square: zeros(size, weight) }),
    update(weight, grad, state, lr) {
      const { mean, square } = state;
      const step = ++state.step;
      const correction = 1 - beta2 ** step;
      const length = limit - (2 * step * beta2 ** step) / correction;
      const rectified = length > 5;
      const rectifier = rectified
        ? Math.sqrt(((length - 4) * (length - 2) * limit * correction) / ((limit - 4) * (limit - 2) * length))
        : 1;
      const size = (lr * rectifier) / (1 - beta1 ** step);
      for (let i = 0; i < weight.length; i++) {
        const g = grad[i] + weightDecay * weight[i];
        mean[i] = beta1 * mean[i] + (1 - beta1) * g;
        square[i] = beta2 * square[i] + (1 - beta2) * g * g;
        weight[i] -= rectified ? (size * mean[i]) / (Math.sqrt(square[i]) + eps) : size * mean[i];
      }
    },
  };
}
