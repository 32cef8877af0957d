import { isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { checkAtLeast, checkCount, checkPositive } from "./options.ts";

export interface PlateauOptions {
  /** Whether a lower ("min") or a higher metric is better. */
  readonly mode: "min" | "max";
  readonly factor: number;
  /** Bad readings in a row that are let pass. */
  readonly patience: number;
  /** How much better counts as better: as a share of the best one's magnitude, or absolute. */
  readonly threshold: number;
  readonly thresholdMode: "relative" | "absolute";
  /** Readings after a cut during which bad ones are not counted. */
  readonly cooldown: number;
  /** The multiplier never falls below this. */
  readonly floor: number;
  /** Cuts that change the multiplier by no more than this are not made. */
  readonly eps: number;
}

export interface PlateauState {
  readonly multiplier: number;
  /** null before the first reading. */
  readonly best: number | null;
  readonly bad: number;
  readonly cooling: number;
}

/** A schedule driven by a metric instead of the step. `step(metric)` gives the new multiplier. */
export interface Plateau {
  readonly multiplier: number;
  step(metric: number): number;
  stateDict(): PlateauState;
  loadStateDict(state: PlateauState): void;
}

/**
 * Multiplies the learning rate by `factor` when the metric has not become better for more than `patience` readings. As
 * ReduceLROnPlateau, except that `floor` and `eps` are multipliers of the initial rate and not rates, and that a relative
 * threshold below zero asks for a gain too. Throws OptionError for options out of range and for a NaN metric.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { optimizer, plateau, schedule, sgd } from "bitgrad/optim";
 *
 * const opt = optimizer(new Linear(2, 1), sgd({ lr: 0.1 }));
 * const rate = schedule(opt, plateau({ patience: 1, factor: 0.5 }));
 * for (const loss of [1, 1, 1, 1]) rate.step(loss);
 * console.log(opt.lr); // 0.05
 * ```
 */
export function plateau(options?: Partial<PlateauOptions>): Plateau {
  const { mode, factor, patience, threshold, thresholdMode, cooldown, floor, eps } =
    readOptions<PlateauOptions>("plateau", options, {
      mode: "min",
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: "relative",
      cooldown: 0,
      floor: 0,
      eps: 1e-8,
    });
  if (mode !== "min" && mode !== "max") {
    throw new OptionError(`plateau: mode must be "min" or "max", got ${show(mode)}`);
  }
  if (thresholdMode !== "relative" && thresholdMode !== "absolute") {
    throw new OptionError(
      `plateau: thresholdMode must be "relative" or "absolute", got ${show(thresholdMode)}`,
    );
  }
  checkPositive("plateau", "factor", factor);
  if (factor >= 1) throw new OptionError(`plateau: factor must be below 1, got ${factor}`);
  checkCount("plateau", "patience", patience, 0);
  checkCount("plateau", "cooldown", cooldown, 0);
  checkAtLeast("plateau", "threshold", threshold, 0);
  checkAtLeast("plateau", "floor", floor, 0);
  checkAtLeast("plateau", "eps", eps, 0);

  const sign = mode === "min" ? -1 : 1;
  const isBetter = (metric: number, best: number): boolean => {
    // Anything is better than a reading without end.
    const size = thresholdMode === "absolute" ? 1 : Number.isFinite(best) ? Math.abs(best) : 0;
    return sign * metric > sign * (best + size * threshold * sign);
  };
  let state: PlateauState = { multiplier: 1, best: null, bad: 0, cooling: 0 };
  return {
    get multiplier() {
      return state.multiplier;
    },
    step(metric) {
      if (typeof metric !== "number" || Number.isNaN(metric)) {
        throw new OptionError(`plateau: the metric must be a number, got ${show(metric)}`);
      }
      let { multiplier, best, bad, cooling } = state;
      if (best === null || isBetter(metric, best)) {
        best = metric;
        bad = 0;
      } else bad++;
      if (cooling > 0) {
        cooling--;
        bad = 0;
      }
      if (bad > patience) {
        const lower = Math.max(multiplier * factor, floor);
        if (multiplier - lower > eps) multiplier = lower;
        cooling = cooldown;
        bad = 0;
      }
      state = { multiplier, best, bad, cooling };
      return multiplier;
    },
    stateDict: () => ({ ...state }),
    loadStateDict(saved) {
      const isCount = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;
      const valid =
        isPlainObject(saved) &&
        saved.multiplier >= 0 &&
        Number.isFinite(saved.multiplier) &&
        [saved.bad, saved.cooling].every(isCount) &&
        (saved.best === null || (typeof saved.best === "number" && !Number.isNaN(saved.best)));
      if (!valid) {
        throw new OptionError(
          `plateau: a state must hold the numbers multiplier, best, bad and cooling, got ${show(saved)}`,
        );
      }
      const { multiplier, best, bad, cooling } = saved;
      state = { multiplier, best, bad, cooling };
    },
  };
}
