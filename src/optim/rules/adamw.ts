import type { UpdateRule } from "../rule.ts";
import { type AdamOptions, type AdamState, adamRule } from "./adam.ts";

/**
 * Adam whose decay acts on the weight alone: w ← w(1 − lr·λ) before Adam's step, λ = 0.01 by default. As torch.optim.AdamW;
 * Loshchilov and Hutter, 2017, arXiv:1711.05101. Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { adamw, optimizer } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, adamw({ lr: 0.1, weightDecay: 0.01 }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export const adamw = (options?: Partial<AdamOptions>): UpdateRule<AdamState> =>
  adamRule("adamw", options, 0.01, true);
