import { OptionError } from "bitgrad";
import type { RuleState, UpdateRule } from "bitgrad/optim";
import { readOptions } from "../../src/errors.ts";
import type { FloatArray } from "../../src/dtype.ts";

type State = { mean: FloatArray };

/**
 * A rule of one's own that overwrites ±1 weights and has no learning rate: m ← m + γ(g − m), and a weight with w·m > τ
 * flips. Helwegen et al., 2019, arXiv:1906.02107, algorithm 1.
 */
export function bop(options?: { tau?: number; gamma?: number }): UpdateRule<State> {
  const all = readOptions("bop", options, { tau: 1e-8, gamma: 1e-4 });
  const { tau, gamma } = all;
  if (!(gamma >= 0 && gamma <= 1)) throw new OptionError(`bop: gamma must lie in [0, 1], got ${gamma}`);
  if (!(tau >= 0)) throw new OptionError(`bop: tau must not be negative, got ${tau}`);
  return {
    name: "bop",
    options: all as object,
    with: (changes) => bop({ ...all, ...changes }),
    init: (size, weight) => ({
      mean: weight instanceof Float64Array ? new Float64Array(size) : new Float32Array(size),
    }),
    update(weight, grad, { mean }) {
      for (let i = 0; i < weight.length; i++) {
        mean[i] += gamma * (grad[i] - mean[i]);
        if (weight[i] * mean[i] > tau) weight[i] = -weight[i];
      }
    },
  };
}

/** What it says, written another way: the weights after some gradients. */
export const bopSays =
  ({ tau, gamma }: { tau: number; gamma: number }) =>
  (weight: FloatArray, grads: readonly FloatArray[], { mean }: RuleState): number[] =>
    Array.from(weight, (start, i) => {
      const round = mean instanceof Float64Array ? Number : Math.fround;
      let [w, m] = [start, (mean as FloatArray)[i]];
      for (const grad of grads) {
        m = round(m + gamma * (grad[i] - m));
        w = Math.sign(w) === Math.sign(m) && Math.abs(m) > tau ? -w : w;
      }
      return w;
    });
