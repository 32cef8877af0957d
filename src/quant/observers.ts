/** Observers: ranges gathered over batches, for scales that are fixed before inference. */

import { changing } from "../changes.ts";
import type { Observer } from "../codes/input-quantizer.ts";
import { paramsOf, type QuantParams, type Range, rangesOf } from "../codes/params.ts";
import { scaleShape } from "../codes/runs.ts";
import { checkSpec, type QuantSpec } from "../codes/spec.ts";
import { OptionError, readOptions, StageError, show } from "../errors.ts";
import { type Shape, sameShape } from "../shape.ts";
import { asTensor, type Tensor } from "../tensor.ts";

/** A class, so that a clone of a model observes for itself. */
class RangeObserver implements Observer {
  readonly spec: QuantSpec;
  /** Where each batch moves the ranges: all of the way outwards, or a part of the way. */
  private readonly momentum: number | null;
  private held: Range[] | null = null;
  private shape: Shape = [];

  constructor(spec: QuantSpec, momentum: number | null) {
    checkSpec("observer", spec);
    if (spec.granularity !== "tensor" && spec.granularity !== "channel") {
      throw new OptionError(
        `observer: needs one scale a tensor or a channel, got granularity ${show(spec.granularity)}`,
      );
    }
    this.spec = spec;
    this.momentum = momentum;
  }

  observe(x: Tensor): void {
    x = asTensor("observer", x);
    if (x.size === 0) return;
    const { spec, shape, held } = this;
    const seen = rangesOf(x, spec);
    if (held && !sameShape(scaleShape(spec, shape), scaleShape(spec, x.shape))) {
      throw new OptionError(
        `observer: batches must have equal channels, got ${show(x.shape)} after ${show(shape)}`,
      );
    }
    changing(this, () => {
      const before = { held: this.held, shape: this.shape };
      return () => Object.assign(this, before);
    });
    this.held = held ? held.map((range, k) => this.moved(range, seen[k])) : seen;
    this.shape = x.shape;
  }

  params(): QuantParams {
    if (!this.held) throw new StageError("observer: no batch was observed, got none; call calibrate first");
    return paramsOf(this.held, this.shape, this.spec);
  }

  private moved(held: Range, seen: Range): Range {
    const { momentum } = this;
    const sums = { sum: held.sum + seen.sum, count: held.count + seen.count };
    if (momentum === null) {
      return { ...sums, min: Math.min(held.min, seen.min), max: Math.max(held.max, seen.max) };
    }
    const toward = (from: number, to: number) =>
      Math.fround(from + Math.fround(momentum * Math.fround(to - from)));
    return { ...sums, min: toward(held.min, seen.min), max: toward(held.max, seen.max) };
  }
}

/**
 * The range of everything observed.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { minMax, spec } from "bitgrad/quant";
 *
 * const observer = minMax(spec({ bits: 8, granularity: "tensor" }));
 * for (const batch of [[1, -1.27], [0.5, 0.2]]) observer.observe(tensor(batch));
 * console.log(observer.params().scale.item()); // 0.01
 * ```
 */
export const minMax = (spec: QuantSpec): Observer => new RangeObserver(spec, null);

/**
 * Ranges that move by `momentum` of the way to each batch's, from the first batch's on. Default 0.01, as in PyTorch.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { movingAverage, spec } from "bitgrad/quant";
 *
 * const observer = movingAverage(spec({ bits: 8, granularity: "tensor" }), { momentum: 0.5 });
 * for (const batch of [[-1.27, 1.27], [-2.54, 2.54]]) observer.observe(tensor(batch));
 * console.log(observer.params().scale.item()); // 0.015
 * ```
 */
export function movingAverage(spec: QuantSpec, options?: { momentum?: number }): Observer {
  const { momentum } = readOptions("movingAverage", options, { momentum: 0.01 });
  if (!(momentum > 0 && momentum <= 1)) {
    throw new OptionError(`movingAverage: momentum must lie in (0, 1], got ${momentum}`);
  }
  return new RangeObserver(spec, momentum);
}
