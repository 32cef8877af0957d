import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkBetas } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface NadamOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly momentumDecay: number;
}

type State = { step: number; product: number; mean: FloatArray; square: FloatArray };

/**
 * Adam with Nesterov's momentum: μₜ = β₁(1 − ½·0.96^(tψ)), ψ the momentum decay, and Πₜ = μ₁…μₜ;
 * w ← w − lr·[(1 − μₜ)g / (1 − Πₜ) + μₜ₊₁m / (1 − Πₜμₜμₜ₊₁)] / (√v̂ + ε). As torch.optim.NAdam of PyTorch 1.13, where the
 * paper's last product is Πₜμₜ₊₁; the difference fades as the products do. Dozat, 2016, "Incorporating
 * Nesterov momentum into Adam". Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { nadam, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, nadam({ lr: 0.1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function nadam(options?: Partial<NadamOptions>): UpdateRule<State> {
  const all = readOptions<NadamOptions>("nadam", options, {
    lr: 2e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0,
    momentumDecay: 4e-3,
  });
  const { lr, betas, eps, weightDecay, momentumDecay } = all;
  checkAtLeast("nadam", "lr", lr, 0);
  checkBetas("nadam", betas);
  checkAtLeast("nadam", "eps", eps, 0);
  checkAtLeast("nadam", "weightDecay", weightDecay, 0);
  checkAtLeast("nadam", "momentumDecay", momentumDecay, 0);
  const [beta1, beta2] = betas;
  const momentumAt = (step: number) => beta1 * (1 - 0.5 * 0.96 ** (step * momentumDecay));
  return {
    name: "nadam",
    options: all,
    with: (changes) => nadam({ ...all, ...changes }),
    init: (size, weight) => ({
      step: 0,
      product: 1,
      mean: zeros(size, weight),
      square: zeros(size, weight),
    }),
    update(weight, grad, state, lr) {
      const { mean, square } = state;
      const step = ++state.step;
      const now = momentumAt(step);
      const next = momentumAt(step + 1);
      state.product *= now;
      const ofGrad = (lr * (1 - now)) / (1 - state.product);
      const ofMean = (lr * next) / (1 - state.product * now * next);
      const correction = 1 - beta2 ** step;
      for (let i = 0; i < weight.length; i++) {
        const g = grad[i] + weightDecay * weight[i];
        mean[i] = beta1 * mean[i] + (1 - beta1) * g;
        square[i] = beta2 * square[i] + (1 - beta2) * g * g;
        weight[i] -= (ofGrad * g + ofMean * mean[i]) / (Math.sqrt(square[i] / correction) + eps);
      }
    },
  };
}
