import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface AdagradOptions {
  readonly lr: number;
  readonly lrDecay: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** What `s` begins with; written later, it counts for parameters whose state has not begun. */
  readonly initialAccumulator: number;
}

type State = { step: number; sum: FloatArray };

/**
 * s ← s + g²; w ← w − lr / (1 + (t − 1)·lrDecay)·g / (√s + ε), with λw added to g. As torch.optim.Adagrad; Duchi et al.,
 * 2011, "Adaptive subgradient methods for online learning and stochastic optimization". Throws OptionError for options out
 * of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { adagrad, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, adagrad({ lr: 0.1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function adagrad(options?: Partial<AdagradOptions>): UpdateRule<State> {
  const all = readOptions<AdagradOptions>("adagrad", options, {
    lr: 1e-2,
    lrDecay: 0,
    eps: 1e-10,
    weightDecay: 0,
    initialAccumulator: 0,
  });
  const { lr, lrDecay, eps, weightDecay, initialAccumulator } = all;
  checkAtLeast("adagrad", "lr", lr, 0);
  checkAtLeast("adagrad", "lrDecay", lrDecay, 0);
  checkAtLeast("adagrad", "eps", eps, 0);
  checkAtLeast("adagrad", "weightDecay", weightDecay, 0);
  checkAtLeast("adagrad", "initialAccumulator", initialAccumulator, 0);
  return {
    name: "adagrad",
    options: all,
    with: (changes) => adagrad({ ...all, ...changes }),
    init: (size, weight) => ({ step: 0, sum: zeros(size, weight).fill(initialAccumulator) }),
    update(weight, grad, state, lr) {
      const { sum } = state;
      const size = lr / (1 + state.step++ * lrDecay);
      for (let i = 0; i < weight.length; i++) {
        const g = grad[i] + weightDecay * weight[i];
        sum[i] += g * g;
        weight[i] -= (size * g) / (Math.sqrt(sum[i]) + eps);
      }
    },
  };
}
