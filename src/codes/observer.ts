/** Observer: what finds the scales of a static input. */

import { isFunction, OptionError, show } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import type { QuantParams } from "./params.ts";
import type { QuantSpec } from "./spec.ts";

/** Gathers ranges over batches, for scales that are fixed before inference. */
export interface Observer {
  readonly spec: QuantSpec;
  /**
   * Takes in a batch. Its granularity must give the same number of scales every time: one a tensor, or one a channel. For
   * scales per channel a layer gives its input as a matrix (channels, numbers).
   */
  observe(x: Tensor): void;
  /** Takes in what another has observed, as if its batches had come too; for observers that can. */
  merge?(other: Observer): void;
  /** The scale and zero point so far. Throws StageError before the first batch. */
  params(): QuantParams;
}

/** Throws OptionError for what is no observer. */
export function checkObserver(op: string, observer: Observer): Observer {
  if (isFunction(observer?.observe) && isFunction(observer.params)) return observer;
  throw new OptionError(
    `${op}: an observer needs the functions observe and params, got ${show(observer)}; use one such as minMax`,
  );
}
