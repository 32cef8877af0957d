/** What to do with a layer's weight and its input, by the names torchao uses. */

import type { Quantizer } from "../codes/quantizer.ts";
import type { Granularity } from "../codes/spec.ts";
import { isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import { shared } from "../state.ts";
import { dynamicInput, type InputConfig, type StaticOptions, signInput, staticInputs } from "./inputs.ts";
import { bitnet158, bwn, nf4, ste } from "./quantizers.ts";

export interface QuantConfig {
  /** One quantizer for all, or a function that makes one for each parameter: those with numbers of their own need it. */
  readonly weight: Quantizer | ((parameter: Parameter, path: string) => Quantizer);
  /** How the layer's input becomes codes; without it activations stay float32. */
  readonly input?: InputConfig;
}

/** A preset as JSON holds it. */
export interface PresetCall {
  readonly preset: string;
  readonly options?: object;
}

/** How configs were made. A changed copy of one is not in it. */
const calls = /* @__PURE__ */ shared("quant.presets", () => new WeakMap<QuantConfig, PresetCall>());

function named<O extends object>(
  preset: string,
  options: O | undefined,
  make: (op: string, options?: O) => QuantConfig,
): QuantConfig {
  const config = make(preset, options);
  calls.set(config, options ? { preset, options: { ...options } } : { preset });
  return config;
}

/** The preset that made a config, for `presetFrom`; null for other configs and options that JSON cannot hold. */
export function presetCall(config: QuantConfig): PresetCall | null {
  const call = calls.get(config);
  return call && !Object.values(call.options ?? {}).some((value) => typeof value === "function")
    ? call
    : null;
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

const nf4s = (op: string, options?: { group?: number }): QuantConfig => ({
  weight: nf4(group(op, options, 64)),
});
/** What is made of int8 inputs, a scale a position, as they come. */
const dynamic =
  <O>(make: (op: string, options?: O) => QuantConfig) =>
  (op: string, options?: O): QuantConfig => ({ ...make(op, options), input: dynamicInput() });
const int8s = (op: string, options?: StaticOptions): QuantConfig => ({
  ...int8(op),
  input: staticInputs(op, options),
});
const signs = (op: string, options?: Scales): QuantConfig => ({
  ...binary(op, options),
  input: signInput(),
});

/** int8 weights, one scale an output row. */
export const int8WeightOnly = (options?: Record<string, never>): QuantConfig =>
  named("int8WeightOnly", options, int8);
/** int4 weights, one scale for every `group` inputs; default 32. */
export const int4WeightOnly = (options?: { group?: number }): QuantConfig =>
  named("int4WeightOnly", options, int4);
/** NF4 weights, one scale for every `group` inputs; default 64. */
export const nf4WeightOnly = (options?: { group?: number }): QuantConfig =>
  named("nf4WeightOnly", options, nf4s);
/** Ternary weights, one scale an output row unless told otherwise. */
export const ternaryWeightOnly = (options?: Scales): QuantConfig =>
  named("ternaryWeightOnly", options, ternary);
/** 1-bit weights, one scale an output row unless told otherwise. */
export const binaryWeightOnly = (options?: Scales): QuantConfig => named("binaryWeightOnly", options, binary);

/** int8 weights and inputs, their scales found as they come. Needs no calibration. */
export const int8Dynamic = (options?: Record<string, never>): QuantConfig =>
  named("int8Dynamic", options, dynamic(int8));
/** int8 weights and uint8 inputs, one scale and zero point a layer, by `calibrate`. */
export const int8Static = (options?: StaticOptions): QuantConfig => named("int8Static", options, int8s);
/** int4 weights in groups, int8 inputs. */
export const int4Dynamic = (options?: { group?: number }): QuantConfig =>
  named("int4Dynamic", options, dynamic(int4));
/** Ternary weights, int8 inputs: BitNet b1.58. */
export const ternaryDynamic = (options?: Scales): QuantConfig =>
  named("ternaryDynamic", options, dynamic(ternary));
/** 1-bit weights, int8 inputs. */
export const binaryDynamic = (options?: Scales): QuantConfig =>
  named("binaryDynamic", options, dynamic(binary));
/** 1-bit weights and inputs. */
export const binarySigns = (options?: Scales): QuantConfig => named("binarySigns", options, signs);

const presets: Readonly<Record<string, (options?: never) => QuantConfig>> = {
  int8WeightOnly,
  int4WeightOnly,
  nf4WeightOnly,
  ternaryWeightOnly,
  binaryWeightOnly,
  int8Dynamic,
  int8Static,
  int4Dynamic,
  ternaryDynamic,
  binaryDynamic,
  binarySigns,
};

/** The config of a preset's call where `given` is one, else itself. Throws OptionError for a preset that there is not. */
export function presetFrom<C extends QuantConfig | null>(given: C | PresetCall): C | QuantConfig {
  if (!isPlainObject(given) || !Object.hasOwn(given, "preset")) return given as C;
  const { preset, ...rest } = given as Record<string, unknown>;
  if (typeof preset !== "string" || !Object.hasOwn(presets, preset)) {
    throw new OptionError(
      `plan: no such preset, got ${show(preset)}; presets are ${Object.keys(presets).join(", ")}`,
    );
  }
  const { options } = readOptions<{ options?: unknown }>("plan", rest, { options: undefined });
  return presets[preset](options as never);
}
