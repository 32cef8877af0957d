/** The quantizers. Scales are found anew from the latent weight at every step and are constants to the gradient. */

import { normalFloats } from "../../kernels/formats/codebook.ts";
import { chooseParams, meanParams } from "../codes/params.ts";
import type { Quantizer } from "../codes/quantizer.ts";
import { type SpecOptions, spec, specDefaults } from "../codes/spec.ts";
import { OptionError, readOptions, show } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { centeredParams } from "./methods/one-bit/fit.ts";
import { readWeight, type ScaleOptions } from "./options.ts";

/** `ste` takes everything that `spec` does; left out, it is 8 bits with one float16 scale a row. */
export type SteOptions = SpecOptions;

/**
 * Uniform codes by the scheme that the options give, symmetric int8 with one float16 scale a row unless told otherwise; the
 * gradient passes straight through within the range. Jacob et al., 2017, arXiv:1712.05877; Bengio et al., 2013,
 * arXiv:1308.3432.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { plan, prepare, ste } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: { weight: ste({ bits: 3, granularity: { group: 16 } }) } }));
 * ```
 */
export function ste(options?: Partial<SteOptions>): Quantizer {
  const read = readOptions<SpecOptions>("ste", options, { ...specDefaults, scaleDtype: "float16" });
  const uniform = spec({ ...read, granularity: read.granularity ?? "channel" });
  if (uniform.bits === 1) {
    throw new OptionError(
      `ste: bits must be an integer from 2 to 8, got ${show(uniform.bits)}; use bwn() for one bit`,
    );
  }
  const { bits, scheme } = uniform;
  const name = scheme === "codebook" ? `codebook${bits}` : `${uniform.qmin < 0 ? "int" : "uint"}${bits}`;
  return { name, spec: uniform, params: (x) => chooseParams(x, uniform) };
}

/** The gradient passes everywhere. */
const through = (x: Tensor): Tensor => x;

const scales = ["granularity", "scaleDtype"] as const;

/**
 * Ternary codes −1, 0, 1 with scale mean|x|: clamp(round(x/scale), −1, 1), the gradient straight through everywhere.
 * BitNet b1.58, Ma et al., 2024, arXiv:2402.17764, which takes one scale a tensor; here one a row unless told otherwise.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { bitnet158, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: { weight: bitnet158({ granularity: "tensor" }) } }));
 * ```
 */
export function bitnet158(options?: Partial<ScaleOptions>): Quantizer {
  const ternary = spec({ bits: 2, ...readWeight("bitnet158", options, scales, "channel") });
  return {
    name: "ternary",
    spec: ternary,
    soft: through,
    params: (x, context) => meanParams(x, ternary, context?.mask),
  };
}

export interface BwnOptions extends ScaleOptions {
  /**
   * Whether what shares a scale has a mean too: the two codes stand for mean ± scale, by a float32 zero point beside the
   * scale. A quantized input does not meet such weights. Default false.
   */
  center: boolean;
}

/**
 * Binary codes, +1 for x ≥ 0 and −1 below, with scale mean|x|, the least-squares optimum; with `center` those of x − mean.
 * The gradient passes straight through. Binary-Weight-Networks, Rastegari et al., 2016, arXiv:1603.05279.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { bwn, dequantize, quantize } from "bitgrad/quant";
 *
 * const { spec, params } = bwn({ scaleDtype: "float32" });
 * const x = tensor([[1, -2, 3]]);
 * console.log(dequantize(quantize(x, spec, params(x))).toArray()); // [[2, -2, 2]]
 * ```
 */
export function bwn(options?: Partial<BwnOptions>): Quantizer {
  const { center, ...how } = readWeight("bwn", options, scales, "channel", { center: false });
  const signs = spec({ bits: 1, ...how, ...(center && { scheme: "affine", zeroPoint: "float" }) });
  const params = (x: Tensor) => (center ? centeredParams(x, signs) : chooseParams(x, signs));
  return { name: "binary", spec: signs, soft: through, params };
}

/**
 * NF4: the quantiles of a normal distribution times max|x| of every 64 numbers. Dettmers et al., 2023, arXiv:2305.14314.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { nf4, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: { weight: nf4() } }));
 * ```
 */
export function nf4(options?: Partial<ScaleOptions>): Quantizer {
  const how = readWeight("nf4", options, scales, { group: 64 });
  const codebook = Array.from(normalFloats);
  return { ...ste({ bits: 4, scheme: "codebook", codebook, ...how }), name: "nf4" };
}
