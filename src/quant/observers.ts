/** Observers: ranges gathered over batches, for scales that are fixed before inference. */

import { OptionError, readOptions, StageError, show } from "../errors.ts";
import { type Shape, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { paramsOf, type QuantParams, type Range, rangesOf } from "./params.ts";
import { scaleShape } from "./runs.ts";
import type { QuantSpec } from "./spec.ts";

export interface Observer {
  readonly spec: QuantSpec;
  /** Takes in a batch. Its granularity must give the same number of scales every time: one a tensor, or one a channel. */
  observe(x: Tensor): void;
  /** The scale and zero point so far. Throws StageError before the first batch. */
  params(): QuantParams;
}

type Update = (held: Range, seen: Range) => Range;

function observer(spec: QuantSpec, update: Update): Observer {
  if (spec.granularity !== "tensor" && spec.granularity !== "channel") {
    throw new OptionError(
      `observer: needs one scale a tensor or a channel, got granularity ${show(spec.granularity)}`,
    );
  }
  let held: Range[] | null = null;
  let shape: Shape = [];
  return {
    spec,
    observe(x) {
      if (x.size === 0) return;
      const seen = rangesOf(x, spec);
      if (held && !sameShape(scaleShape(spec, shape), scaleShape(spec, x.shape))) {
        throw new OptionError(
          `observer: batches must have equal channels, got ${show(x.shape)} after ${show(shape)}`,
        );
      }
      held = held ? held.map((range, k) => update(range, seen[k])) : seen;
      shape = x.shape;
    },
    params() {
      if (!held) throw new StageError("observer: no batch was observed, got none; run calibrate first");
      return paramsOf(held, shape, spec);
    },
  };
}

/** The range of everything observed. */
export const minMax = (spec: QuantSpec): Observer =>
  observer(spec, (held, seen) => ({
    min: Math.min(held.min, seen.min),
    max: Math.max(held.max, seen.max),
    sum: held.sum + seen.sum,
    count: held.count + seen.count,
  }));

/** Ranges that move by `momentum` of the way to each batch's, from the first batch's on. Default 0.01, as in PyTorch. */
export function movingAverage(spec: QuantSpec, options?: { momentum?: number }): Observer {
  const { momentum } = readOptions("movingAverage", options, { momentum: 0.01 });
  if (!(momentum > 0 && momentum <= 1)) {
    throw new OptionError(`movingAverage: momentum must lie in (0, 1], got ${momentum}`);
  }
  return observer(spec, (held, seen) => {
    const toward = (from: number, to: number) =>
      Math.fround(from + Math.fround(momentum * Math.fround(to - from)));
    return {
      min: toward(held.min, seen.min),
      max: toward(held.max, seen.max),
      sum: held.sum + seen.sum,
      count: held.count + seen.count,
    };
  });
}
