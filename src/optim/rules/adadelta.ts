import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkDecay } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface AdadeltaOptions {
  readonly lr: number;
  readonly rho: number;
  readonly eps: number;
  readonly weightDecay: number;
}

type State = { square: FloatArray; moved: FloatArray };

/**
 * v ← ρv + (1 − ρ)g²; Δ = g·√(u + ε) / √(v + ε); u ← ρu + (1 − ρ)Δ²; w ← w − lr·Δ, with λw added to g. As
 * torch.optim.Adadelta; Zeiler, 2012, arXiv:1212.5701. Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { adadelta, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, adadelta({ lr: 1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function adadelta(options?: Partial<AdadeltaOptions>): UpdateRule<State> {
  const all = readOptions<AdadeltaOptions>("adadelta", options, {
    lr: 1,
    rho: 0.9,
    eps: 1e-6,
    weightDecay: 0,
  });
  const { lr, rho, eps, weightDecay } = all;
  checkAtLeast("adadelta", "lr", lr, 0);
  checkDecay("adadelta", "rho", rho);
  checkAtLeast("adadelta", "eps", eps, 0);
  checkAtLeast("adadelta", "weightDecay", weightDecay, 0);
  return {
    name: "adadelta",
    options: all,
    with: (changes) => adadelta({ ...all, ...changes }),
    init: (size, weight) => ({ square: zeros(size, weight), moved: zeros(size, weight) }),
    update(weight, grad, { square, moved }, lr) {
      for (let i = 0; i < weight.length; i++) {
        const g = grad[i] + weightDecay * weight[i];
        square[i] = rho * square[i] + (1 - rho) * g * g;
        const delta = (g * Math.sqrt(moved[i] + eps)) / Math.sqrt(square[i] + eps);
        moved[i] = rho * moved[i] + (1 - rho) * delta * delta;
        weight[i] -= lr * delta;
      }
    },
  };
}
