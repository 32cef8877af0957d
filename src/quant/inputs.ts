/** Configs of a layer's input: dynamic, mixed, static and signs. */

import { SpecInputQuantizer } from "../codes/input-quantizer.ts";
import { MixedInputQuantizer } from "../codes/mixed-input.ts";
import { checkObserver, type Observer } from "../codes/observer.ts";
import { type QuantSpec, respec, spec } from "../codes/spec.ts";
import { checkChoice, isFunction, OptionError, readOptions, show, synchronous } from "../errors.ts";
import { minMax } from "./observers.ts";
import { schemes } from "./options.ts";

/**
 * Makes the input quantizer of one layer. `prepare` says how many channels, or features, its input has: as many as axis 1 of
 * its weight, times its `groups` where it has any. Default 1.
 */
export type InputConfig = (channels?: number) => SpecInputQuantizer;

/**
 * Symmetric codes with a scale for every position, found anew each time; for a convolution one a sample.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { dynamicInput, plan, prepare, ste } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: { weight: ste({ bits: 6 }), input: dynamicInput({ bits: 6 }) } }));
 * ```
 */
export function dynamicInput(options?: { bits?: number }): InputConfig {
  const { bits } = readOptions("dynamicInput", options, { bits: 8 });
  const each = byPositions("dynamicInput", bits);
  return () => new SpecInputQuantizer(each, null);
}

/** Symmetric codes, a scale for every position. */
function byPositions(op: string, bits: number): QuantSpec {
  if (!(bits < 2)) return spec({ bits, granularity: "token" });
  throw new OptionError(`${op}: bits must be an integer from 2 to 8, got ${show(bits)}; use signInput()`);
}

export interface MixedOptions {
  /** Of the codes; default 8. */
  bits?: number;
  /** The magnitude above which a number is an outlier; default 6. */
  threshold?: number;
}

/**
 * `dynamicInput` but for features with outliers: LLM.int8(), Dettmers et al., 2022, arXiv:2208.07339. A feature, or
 * channel of a convolution, that has a magnitude above `threshold` anywhere in what a call is given stays float32 for all
 * of that call, and meets the values that the weights' codes stand for; the products are added. So few large features do
 * not take the precision of all others. Without an outlier the result is that of `dynamicInput`, bit for bit. With some
 * that of a position depends on those beside it: what runs a layer on fewer of them, as `generate` of a packed model its
 * head, may give other numbers. Gradients pass as by `dynamicInput`. Throws OptionError for a threshold that is not
 * positive and finite; activations that are not finite throw BitgradError ("NUMERICS").
 *
 * @example
 * ```ts
 * import { Rng, noGrad, randn, tensor } from "bitgrad";
 * import { clone, evaluate, Linear } from "bitgrad/nn";
 * import { dynamicInput, freeze, mixedInput, plan, prepare, ste } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const layer = evaluate(new Linear(64, 32, { rng }));
 * // One feature of 64 is a hundred times as large.
 * const x = randn([16, 64], { rng }).mul(tensor([100, ...Array(63).fill(1)]));
 * const errorBy = (input: typeof mixedInput) => {
 *   const config = { weight: ste({ bits: 8, granularity: "channel" }), input: input() };
 *   const model = freeze(prepare(clone(layer), plan({ default: config })));
 *   return noGrad(() => model.forward(x).sub(layer.forward(x)).square().mean().item());
 * };
 * console.log(errorBy(mixedInput) < errorBy(dynamicInput) / 20); // true
 * ```
 */
export function mixedInput(options?: MixedOptions): InputConfig {
  const { bits, threshold } = readOptions("mixedInput", options, { bits: 8, threshold: 6 });
  return mixedCodes("mixedInput", bits, threshold);
}

/** The same for a preset, whose name errors give. */
export function mixedCodes(op: string, bits: number, threshold: number): InputConfig {
  const each = byPositions(op, bits);
  if (!(threshold > 0 && threshold < Infinity)) {
    throw new OptionError(
      `${op}: threshold must be a positive number, got ${show(threshold)}; without outliers use dynamicInput()`,
    );
  }
  return () => new MixedInputQuantizer(each, threshold);
}

export interface StaticOptions {
  bits?: number;
  scheme?: "symmetric" | "affine";
  /**
   * "channel" has a scale and zero point for each feature of a linear layer, or channel of a convolution, as PyTorch's
   * PerChannelMinMaxObserver. Such a layer trains, is frozen and is evaluated with the values of its codes; `pack` refuses
   * it, since no sum of integers has several scales. Default "tensor".
   */
  granularity?: "tensor" | "channel";
  observer?: (spec: QuantSpec) => Observer;
  /**
   * In training each batch moves the range by this share of the way to its own, as PyTorch's does by 0.01, from the
   * calibrated one on, or from the first batch's. Default null: the scale stays as it was calibrated.
   */
  momentum?: number | null;
}

/**
 * Codes with one scale and zero point, or one a channel, which `calibrate` finds by an observer of each layer.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { calibrate, movingAverage, plan, prepare, staticInput, ste } from "bitgrad/quant";
 *
 * const config = { weight: ste({ bits: 8 }), input: staticInput({ observer: movingAverage }) };
 * const model = prepare(new Linear(64, 8), plan({ default: config }));
 * await calibrate(model, [randn([16, 64]), randn([16, 64])]);
 * ```
 */
export function staticInput(options?: StaticOptions): InputConfig {
  const { bits, scheme, granularity, observer, momentum } = readOptions("staticInput", options, {
    bits: 8,
    scheme: "affine" as "symmetric" | "affine",
    granularity: "tensor" as "tensor" | "channel",
    observer: minMax,
    momentum: null as number | null,
  });
  checkChoice("staticInput", "scheme", scheme, schemes);
  checkChoice("staticInput", "granularity", granularity, ["tensor", "channel"]);
  return observedInput("staticInput", spec({ bits, scheme, granularity }), observer, momentum);
}

/** The same for a preset, whose name errors give. */
export function observedInput(
  op: string,
  codes: QuantSpec,
  observer: (spec: QuantSpec) => Observer,
  momentum: number | null,
): InputConfig {
  if (!isFunction(observer)) {
    throw new OptionError(`${op}: observer must be a function such as minMax, got ${show(observer)}`);
  }
  if (momentum !== null && !(momentum > 0 && momentum <= 1)) {
    throw new OptionError(`${op}: momentum must lie in (0, 1], got ${show(momentum)}`);
  }
  return (channels) => {
    // The scale of the only channel is that of the tensor, by which layers pack.
    const own = channels === 1 ? respec(codes, { granularity: "tensor" }) : codes;
    const observed = checkObserver(op, synchronous(op, observer(own), "observer"));
    return new SpecInputQuantizer(own, observed, momentum, channels);
  };
}

/**
 * Signs: −1 below 0, else +1. The gradient passes within −1 … 1.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { bitnet158, plan, prepare, signInput } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: { weight: bitnet158(), input: signInput() } }));
 * ```
 */
export const signInput = (options?: Record<string, never>): InputConfig => {
  readOptions("signInput", options, {});
  const signs = spec({ bits: 1, granularity: "token" });
  return () => new SpecInputQuantizer(signs, null);
};
