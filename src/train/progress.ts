/** How far a run of `fit` has come, and what a checkpoint keeps of that. */

import { FormatError, isPlainObject, show } from "../errors.ts";
import { loadStateDict, type StateDict, stateDict } from "../nn/state.ts";
import { isTensor, type Tensor, wrap } from "../tensor.ts";
import type { EarlyStopping, Measures, Validation } from "./options.ts";

export interface FitProgress {
  readonly losses: number[];
  /** Epochs gone through to their end. */
  epoch: number;
  /** Batches read in the present one. */
  batches: number;
  /** Steps that were done when it began. */
  began: number;
  /** Whether a validation is due, and the report of an epoch: what an abort came before. */
  unjudged: boolean;
  ended: boolean;
  readonly validations: Validation[];
  best: Validation | null;
  /** Parameters and buffers of the best. */
  weights: StateDict | null;
  /** Validations since the best. */
  bad: number;
  stopped: boolean;
}

export const newProgress = (): FitProgress => ({
  losses: [],
  epoch: 0,
  batches: 0,
  began: 0,
  unjudged: false,
  ended: false,
  validations: [],
  best: null,
  weights: null,
  bad: 0,
  stopped: false,
});

const copied = ({ data, shape, dtype }: Tensor): Tensor => wrap(data.slice(), shape, dtype);

/** Takes in what a validation gave, that of an epoch. */
export function judge(
  progress: FitProgress,
  model: object,
  epoch: number,
  values: Measures,
  stopping: Required<EarlyStopping> | null,
): Validation {
  const step = progress.losses.length;
  const value = stopping ? values[stopping.metric] : Number.NaN;
  const sign = stopping?.mode === "max" ? 1 : -1;
  const bar =
    stopping && progress.best ? sign * progress.best.values[stopping.metric] + stopping.minDelta : -Infinity;
  const best = sign * value > bar;
  const validation = { step, epoch, values, best };
  progress.validations.push(validation);
  if (!stopping) return validation;
  progress.bad = best ? 0 : progress.bad + 1;
  if (best) {
    progress.best = validation;
    if (stopping.restore) {
      progress.weights = Object.fromEntries(
        Object.entries(stateDict(model)).map(([name, value]) => [name, copied(value)]),
      );
    }
  }
  if (progress.bad > stopping.patience) progress.stopped = true;
  return validation;
}

/** Puts the best weights back, if there are any. */
export function restoreBest(model: object, { weights }: FitProgress): void {
  if (weights) loadStateDict(model, weights);
}

/** As plain data and tensors. */
export const savedProgress = ({ losses, ...rest }: FitProgress): object => ({
  ...rest,
  losses: wrap(Float64Array.from(losses), [losses.length], "float64"),
});

/** What `savedProgress` gave. Throws FormatError for a checkpoint that `fit` did not write. */
export function readProgress(path: string, saved: unknown): FitProgress {
  const fresh = newProgress();
  const fields: Record<string, unknown> = isPlainObject(saved) ? saved : {};
  const { losses, validations, weights } = fields as Partial<Record<keyof FitProgress, unknown>>;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const fits =
    Object.keys(fresh).every((name) => Object.hasOwn(fields, name)) &&
    isTensor(losses) &&
    Array.isArray(validations) &&
    [fields.epoch, fields.batches, fields.began, fields.bad].every(isCount) &&
    [fields.unjudged, fields.ended, fields.stopped].every((flag) => typeof flag === "boolean") &&
    (weights === null || (isPlainObject(weights) && Object.values(weights).every(isTensor)));
  if (fits) return { ...(fields as unknown as FitProgress), losses: [...(losses as Tensor).data] };
  throw new FormatError(
    `fit: a checkpoint that fit has written is needed, got ${show(saved)} in ${show(path)}; resume what saveCheckpoint wrote by loadCheckpoint`,
  );
}
