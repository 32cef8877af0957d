/** What to do with a layer's weight and its input, by the names torchao uses. */

import { readOptions } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import { dynamicInput, type InputConfig, type StaticOptions, signInput, staticInputs } from "./inputs.ts";
import type { Quantizer } from "./quantizer.ts";
import { bitnet158, bwn, nf4, ste } from "./quantizers.ts";
import type { Granularity } from "./spec.ts";

export interface QuantConfig {
  /** One quantizer for all, or a function that makes one for each parameter: those with numbers of their own need it. */
  readonly weight: Quantizer | ((parameter: Parameter, path: string) => Quantizer);
  /** How the layer's input becomes codes; without it activations stay float32. */
  readonly input?: InputConfig;
}

interface Scales {
  granularity?: Granularity;
}

const scales = (op: string, options?: Scales): Scales =>
  readOptions<Scales>(op, options, { granularity: undefined });
const group = (op: string, options: { group?: number } | undefined, fallback: number): Scales => ({
  granularity: readOptions(op, options, { group: fallback }),
});

const int8 = (op: string, options?: object): QuantConfig => {
  readOptions(op, options, {});
  return { weight: ste({ bits: 8 }) };
};
const int4 = (op: string, options?: { group?: number }): QuantConfig => ({
  weight: ste({ bits: 4, ...group(op, options, 32) }),
});
const ternary = (op: string, options?: Scales): QuantConfig => ({ weight: bitnet158(scales(op, options)) });
const binary = (op: string, options?: Scales): QuantConfig => ({ weight: bwn(scales(op, options)) });

/** int8 weights, one scale an output row. */
export const int8WeightOnly = (options?: Record<string, never>): QuantConfig =>
  int8("int8WeightOnly", options);
/** int4 weights, one scale for every `group` inputs; default 32. */
export const int4WeightOnly = (options?: { group?: number }): QuantConfig => int4("int4WeightOnly", options);
/** NF4 weights, one scale for every `group` inputs; default 64. */
export const nf4WeightOnly = (options?: { group?: number }): QuantConfig => ({
  weight: nf4(group("nf4WeightOnly", options, 64)),
});
/** Ternary weights, one scale an output row unless told otherwise. */
export const ternaryWeightOnly = (options?: Scales): QuantConfig => ternary("ternaryWeightOnly", options);
/** 1-bit weights, one scale an output row unless told otherwise. */
export const binaryWeightOnly = (options?: Scales): QuantConfig => binary("binaryWeightOnly", options);

/** A weight-only config whose inputs become int8, a scale a position, as they come. */
const dynamic = (config: QuantConfig): QuantConfig => ({ ...config, input: dynamicInput() });

/** int8 weights and inputs, their scales found as they come. Needs no calibration. */
export const int8Dynamic = (options?: Record<string, never>): QuantConfig =>
  dynamic(int8("int8Dynamic", options));
/** int8 weights and uint8 inputs, one scale and zero point a layer, by `calibrate`. */
export const int8Static = (options?: StaticOptions): QuantConfig => ({
  ...int8("int8Static"),
  input: staticInputs("int8Static", options),
});
/** int4 weights in groups, int8 inputs. */
export const int4Dynamic = (options?: { group?: number }): QuantConfig =>
  dynamic(int4("int4Dynamic", options));
/** Ternary weights, int8 inputs: BitNet b1.58. */
export const ternaryDynamic = (options?: Scales): QuantConfig => dynamic(ternary("ternaryDynamic", options));
/** 1-bit weights, int8 inputs. */
export const binaryDynamic = (options?: Scales): QuantConfig => dynamic(binary("binaryDynamic", options));
/** 1-bit weights and inputs. */
export const binarySigns = (options?: Scales): QuantConfig => ({
  ...binary("binarySigns", options),
  input: signInput(),
});
