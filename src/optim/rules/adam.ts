import { adam as adamKernel } from "../../backend.ts";
import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkBetas } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface AdamOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly amsgrad: boolean;
}

export type AdamState = { step: number; mean: FloatArray; square: FloatArray; largest?: FloatArray };

/**
 * m ← β₁m + (1 − β₁)g and v ← β₂v + (1 − β₂)g²; w ← w − lr·m̂ / (√v̂ + ε), m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ). The
 * decay λw is added to g; `amsgrad` divides by the largest v so far. As torch.optim.Adam; Kingma and Ba, 2014,
 * arXiv:1412.6980; Reddi et al., 2018, arXiv:1904.09237. Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { adam, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, adam({ lr: 0.1 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export const adam = (options?: Partial<AdamOptions>): UpdateRule<AdamState> =>
  adamRule("adam", options, 0, false);

/** Adam in both forms; `decoupled` decays the weight instead of adding the decay to the gradient. */
export function adamRule(
  name: string,
  options: Partial<AdamOptions> | undefined,
  defaultDecay: number,
  decoupled: boolean,
): UpdateRule<AdamState> {
  const all = readOptions<AdamOptions>(name, options, {
    lr: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: defaultDecay,
    amsgrad: false,
  });
  const { lr, betas, eps, weightDecay, amsgrad } = all;
  checkAtLeast(name, "lr", lr, 0);
  checkBetas(name, betas);
  checkAtLeast(name, "eps", eps, 0);
  checkAtLeast(name, "weightDecay", weightDecay, 0);
  const [beta1, beta2] = betas;
  return {
    name,
    options: all,
    with: (changes) => adamRule(name, { ...all, ...changes }, defaultDecay, decoupled),
    init(size, weight) {
      const state: AdamState = { step: 0, mean: zeros(size, weight), square: zeros(size, weight) };
      if (amsgrad) state.largest = zeros(size, weight);
      return state;
    },
    update(weight, grad, state, lr) {
      const step = ++state.step;
      adamKernel(weight, grad, state.mean, state.square, state.largest ?? null, {
        decay: decoupled ? lr * weightDecay : 0,
        coupled: decoupled ? 0 : weightDecay,
        beta1,
        beta2,
        size: lr / (1 - beta1 ** step),
        rootCorrection: Math.sqrt(1 - beta2 ** step),
        eps,
      });
    },
  };
}
