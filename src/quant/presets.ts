/** What to do with a layer's weight and its input, by the names torchao uses. */

import { readOptions } from "../errors.ts";
import { dynamicInput, type InputConfig, signInput, staticInput } from "./inputs.ts";
import type { Quantizer } from "./quantizer.ts";
import { bitnet158, bwn, nf4, ste } from "./quantizers.ts";
import type { Granularity } from "./spec.ts";

export interface QuantConfig {
  readonly weight: Quantizer;
  /** How the layer's input becomes codes; without it activations stay float32. */
  readonly input?: InputConfig;
}

interface Scales {
  granularity?: Granularity;
}

/** int8 weights, one scale an output row. */
export const int8WeightOnly = (): QuantConfig => ({ weight: ste({ bits: 8 }) });
/** int4 weights, one scale for every `group` inputs; default 32. */
export const int4WeightOnly = (options?: { group?: number }): QuantConfig => ({
  weight: ste({ bits: 4, granularity: readOptions("int4WeightOnly", options, { group: 32 }) }),
});
/** NF4 weights, one scale for every `group` inputs; default 64. */
export const nf4WeightOnly = (options?: { group?: number }): QuantConfig => ({
  weight: nf4({ granularity: readOptions("nf4WeightOnly", options, { group: 64 }) }),
});
/** Ternary weights, one scale an output row unless told otherwise. */
export const ternaryWeightOnly = (options?: Scales): QuantConfig => ({ weight: bitnet158(options) });
/** 1-bit weights, one scale an output row unless told otherwise. */
export const binaryWeightOnly = (options?: Scales): QuantConfig => ({ weight: bwn(options) });

/** A weight-only config whose inputs become int8, a scale a position, as they come. */
const dynamic = (config: QuantConfig): QuantConfig => ({ ...config, input: dynamicInput() });

/** int8 weights and inputs, their scales found as they come. Needs no calibration. */
export const int8Dynamic = (): QuantConfig => dynamic(int8WeightOnly());
/** int8 weights and uint8 inputs, one scale and zero point a layer, by `calibrate`. */
export const int8Static = (options?: Parameters<typeof staticInput>[0]): QuantConfig => ({
  ...int8WeightOnly(),
  input: staticInput(options),
});
/** int4 weights in groups, int8 inputs. */
export const int4Dynamic = (options?: { group?: number }): QuantConfig => dynamic(int4WeightOnly(options));
/** Ternary weights, int8 inputs: BitNet b1.58. */
export const ternaryDynamic = (options?: Scales): QuantConfig => dynamic(ternaryWeightOnly(options));
/** 1-bit weights, int8 inputs. */
export const binaryDynamic = (options?: Scales): QuantConfig => dynamic(binaryWeightOnly(options));
/** 1-bit weights and inputs. */
export const binarySigns = (options?: Scales): QuantConfig => ({
  ...binaryWeightOnly(options),
  input: signInput(),
});
