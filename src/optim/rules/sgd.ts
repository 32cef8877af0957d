import { sgd as sgdKernel } from "../../backend.ts";
import type { FloatArray } from "../../dtype.ts";
import { OptionError, readOptions } from "../../errors.ts";
import { checkAtLeast, checkKept } from "../options.ts";
import { type UpdateRule, zeros } from "../rule.ts";

export interface SgdOptions {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  readonly maximize: boolean;
}

type State = { step: number; momentum?: FloatArray };

/**
 * Gradient descent: d = g + λw; with momentum m ← μm + (1 − dampening)d (m = d at the first step) and d ← m, or d + μm for
 * Nesterov's form; w ← w − lr·d. `maximize` climbs instead. As torch.optim.SGD; Sutskever et al., 2013, "On the importance
 * of initialization and momentum in deep learning". Throws OptionError for options out of range.
 *
 * @example
 * ```ts
 * import { ones, zeros } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { optimizer, sgd } from "bitgrad/optim";
 *
 * const model = new Linear(2, 1);
 * const opt = optimizer(model, sgd({ lr: 0.1, momentum: 0.9, nesterov: true }));
 * mseLoss(model.forward(ones([8, 2])), zeros([8, 1])).backward();
 * opt.step();
 * ```
 */
export function sgd(options?: Partial<SgdOptions>): UpdateRule<State> {
  const all = readOptions<SgdOptions>("sgd", options, {
    lr: 1e-3,
    momentum: 0,
    dampening: 0,
    nesterov: false,
    weightDecay: 0,
    maximize: false,
  });
  const { lr, momentum, dampening, nesterov, weightDecay, maximize } = all;
  checkAtLeast("sgd", "lr", lr, 0);
  checkAtLeast("sgd", "momentum", momentum, 0);
  checkAtLeast("sgd", "dampening", dampening, 0);
  checkAtLeast("sgd", "weightDecay", weightDecay, 0);
  if (nesterov && (momentum === 0 || dampening !== 0)) {
    throw new OptionError(
      `sgd: nesterov needs momentum and no dampening, got momentum ${momentum} and dampening ${dampening}`,
    );
  }
  const direction = maximize ? -1 : 1;
  return {
    name: "sgd",
    options: all,
    with(changes: Partial<SgdOptions>) {
      const next = sgd({ ...all, ...changes });
      checkKept("sgd", "momentum", momentum, changes.momentum ?? momentum);
      return next;
    },
    init: (size, weight) => (momentum === 0 ? { step: 0 } : { step: 0, momentum: zeros(size, weight) }),
    update(weight, grad, state, lr) {
      const first = state.step === 0;
      const settings = { lr, direction, weightDecay, momentum, dampening, nesterov, first };
      sgdKernel(weight, grad, state.momentum ?? null, settings);
      state.step++;
    },
  };
}
