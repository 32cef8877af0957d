import type { FloatArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { checkAtLeast, checkDecay, checkKept } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface RmspropOptions {
  readonly lr: number;
  readonly alpha: number;
  readonly eps: number;
  readonly momentum: number;
  readonly centered: boolean;
  readonly weightDecay: number;
}

type State = { square: FloatArray; momentum?: FloatArray; mean?: FloatArray };

/**
 * v ← αv + (1 − α)g²; d = g / (√v + ε), where `centered` subtracts the square of the gradient's running mean from v; with
 * momentum b ← μb + d and d ← b; w ← w − lr·d. λw is added to g. As torch.optim.RMSprop; Tieleman and Hinton, 2012,
 * "Lecture 6.5: rmsprop"; centred form Graves, 2013, arXiv:1308.0850. Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { optimizer, rmsprop } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, rmsprop({ lr: 0.01, momentum: 0.9 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function rmsprop(options?: Partial<RmspropOptions>): UpdateRule<State> {
  const all = readOptions<RmspropOptions>("rmsprop", options, {
    lr: 1e-2,
    alpha: 0.99,
    eps: 1e-8,
    momentum: 0,
    centered: false,
    weightDecay: 0,
  });
  const { lr, alpha, eps, momentum, centered, weightDecay } = all;
  checkAtLeast("rmsprop", "lr", lr, 0);
  checkDecay("rmsprop", "alpha", alpha);
  checkAtLeast("rmsprop", "eps", eps, 0);
  checkAtLeast("rmsprop", "momentum", momentum, 0);
  checkAtLeast("rmsprop", "weightDecay", weightDecay, 0);
  return {
    name: "rmsprop",
    options: all,
    with(changes: Partial<RmspropOptions>) {
      const next = rmsprop({ ...all, ...changes });
      checkKept("rmsprop", "momentum", momentum, changes.momentum ?? momentum);
      return next;
    },
    init(size, weight) {
      const state: State = { square: zeros(size, weight) };
      if (momentum > 0) state.momentum = zeros(size, weight);
      if (centered) state.mean = zeros(size, weight);
      return state;
    },
    update(weight, grad, { square, momentum: buffer, mean }, lr) {
      for (let i = 0; i < weight.length; i++) {
        const g = grad[i] + weightDecay * weight[i];
        square[i] = alpha * square[i] + (1 - alpha) * g * g;
        let variance = square[i];
        if (mean) {
          mean[i] = alpha * mean[i] + (1 - alpha) * g;
          // Rounding may take a vanishing variance below zero.
          variance = Math.max(0, variance - mean[i] * mean[i]);
        }
        let d = g / (Math.sqrt(variance) + eps);
        if (buffer) {
          buffer[i] = momentum * buffer[i] + d;
          d = buffer[i];
        }
        weight[i] -= lr * d;
      }
    },
  };
}
