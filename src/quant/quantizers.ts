/** The quantizers. Scales are found anew from the latent weight at every step and are constants to the gradient. */

import { FormatError, OptionError, readOptions, show } from "../errors.ts";
import { straightThrough } from "../ops/binary.ts";
import type { Tensor } from "../tensor.ts";
import type { Quantizer, QuantParams } from "./quantizer.ts";
import { absmaxScale, absmeanScale, type Granularity, spread } from "./scale.ts";

export interface SteOptions {
  /** Bits of a code, 2 to 8. */
  bits: number;
  granularity: Granularity;
}

/** x/scale, elementwise. */
const steps = (x: Tensor, { scale }: QuantParams, granularity: Granularity): Tensor =>
  x.div(spread(scale, x, granularity));

/** The integer codes nearest to `soft` within ±top. Adding 0 turns −0, which no stored code is, into 0. */
const nearest = (soft: Tensor, top: number): Tensor =>
  soft.detach().round().clip({ min: -top, max: top }).add(0);

/** A quantizer whose values are scale · code. */
const scaled = (
  name: string,
  levels: readonly number[],
  granularity: Granularity,
  rest: Pick<Quantizer, "params" | "codes">,
): Quantizer => ({
  name,
  granularity,
  levels,
  bits: Math.max(1, Math.ceil(Math.log2(levels.length))),
  values: (codes, { scale }) => codes.mul(spread(scale, codes, granularity)),
  ...rest,
});

/**
 * Symmetric integers −(2^(bits−1) − 1) … 2^(bits−1) − 1 with scale max|x| / (2^(bits−1) − 1), rounded half to even;
 * the gradient passes straight through. Jacob et al., 2017, arXiv:1712.05877; Bengio et al., 2013, arXiv:1308.3432.
 */
export function ste(options: Partial<SteOptions> = {}): Quantizer {
  const { bits, ...rest } = readOptions("ste", options, { bits: 8, granularity: perChannel });
  const granularity = checkGranularity("ste", rest.granularity);
  if (!Number.isInteger(bits) || bits < 2 || bits > 8) {
    throw new OptionError(
      `ste: bits must be an integer from 2 to 8, got ${show(bits)}; use bwn() for one bit`,
    );
  }
  const top = 2 ** (bits - 1) - 1;
  const levels = Array.from({ length: 2 * top + 1 }, (_, k) => k - top);
  return scaled(`int${bits}`, levels, granularity, {
    params: (x) => ({ scale: absmaxScale(x, granularity, top) }),
    codes(x, params) {
      // The float16 scale may be a hair small, which would round the extreme element beyond the top code.
      const soft = steps(x, params, granularity).clip({ min: -top - 0.5, max: top + 0.5 });
      return straightThrough(soft, nearest(soft, top));
    },
  });
}

export interface ScaleOptions {
  granularity: Granularity;
}

/** The default, in a type that lets every granularity through the option check. */
const perChannel = null as Granularity | null;

function checkGranularity(op: string, granularity: Granularity | null): Granularity {
  if (granularity === null) return "channel";
  const group = (granularity as { group?: unknown }).group;
  if (
    granularity === "tensor" ||
    granularity === "channel" ||
    (Number.isInteger(group) && (group as number) > 0)
  ) {
    return granularity;
  }
  throw new OptionError(
    `${op}: granularity must be "tensor", "channel" or { group }, got ${show(group ?? granularity)}`,
  );
}

const readGranularity = (op: string, options: Partial<ScaleOptions>): Granularity =>
  checkGranularity(op, readOptions(op, options, { granularity: perChannel }).granularity);

/**
 * Ternary codes −1, 0, 1 with scale mean|x|: clip(round(x/scale), −1, 1), the gradient straight through everywhere.
 * BitNet b1.58, Ma et al., 2024, arXiv:2402.17764, which takes one scale a tensor; here one a row unless told otherwise.
 */
export function bitnet158(options: Partial<ScaleOptions> = {}): Quantizer {
  const granularity = readGranularity("bitnet158", options);
  return scaled("ternary", [-1, 0, 1], granularity, {
    params: (x) => ({ scale: absmeanScale(x, granularity) }),
    codes(x, params) {
      const soft = steps(x, params, granularity);
      return straightThrough(soft, nearest(soft, 1));
    },
  });
}

/**
 * Binary codes, +1 for x ≥ 0 and −1 below, with scale mean|x|, the least-squares optimum. The gradient passes straight
 * through. Binary-Weight-Networks, Rastegari et al., 2016, arXiv:1603.05279.
 */
export function bwn(options: Partial<ScaleOptions> = {}): Quantizer {
  const granularity = readGranularity("bwn", options);
  return scaled("binary", [1, -1], granularity, {
    params: (x) => ({ scale: absmeanScale(x, granularity) }),
    codes: (x, params) => straightThrough(steps(x, params, granularity), x.detach().less(0).where(-1, 1)),
  });
}

/** The quantizer of a stored tensor, by its name. Throws FormatError for a name that none has. */
export function quantizerNamed(name: string, granularity: Granularity): Quantizer {
  if (name === "ternary") return bitnet158({ granularity });
  if (name === "binary") return bwn({ granularity });
  const bits = Number(/^int([2-8])$/.exec(name)?.[1]);
  if (!bits) throw new FormatError(`quantizer: no such quantizer, got ${show(name)}`);
  return ste({ bits, granularity });
}
