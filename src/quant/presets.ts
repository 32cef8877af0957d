/** What to do with a layer's weight and its input, by the names torchao uses. */

import type { Observer } from "../codes/observer.ts";
import type { Quantizer } from "../codes/quantizer.ts";
import { type QuantSpec, spec } from "../codes/spec.ts";
import { checkChoice, isFunction, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import { shared } from "../state.ts";
import { dynamicInput, type InputConfig, mixedCodes, observedInput, signInput } from "./inputs.ts";
import { minMax } from "./observers.ts";
import { readWeight, schemes, type WeightOptions } from "./options.ts";
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

interface Made {
  readonly call: PresetCall;
  readonly parts: readonly unknown[];
}

/** How configs were made, and of what. A changed copy of one is not in it. */
const calls = /* @__PURE__ */ shared("quant.presets", () => new WeakMap<QuantConfig, Made>());

/** What a config consists of, and its quantizer. */
const partsOf = (config: QuantConfig): unknown[] =>
  [config, config.weight].flatMap((part) => Object.entries(part).flat());

/** A call with options of its own. */
const copied = ({ preset, options }: PresetCall): PresetCall => {
  if (!options) return { preset };
  const own = Object.entries(options).map(([name, value]) => [
    name,
    isPlainObject(value) ? { ...value } : value,
  ]);
  return { preset, options: Object.fromEntries(own) };
};

function named<O extends object>(
  preset: string,
  options: O | undefined,
  make: (op: string, options?: O) => QuantConfig,
): QuantConfig {
  const config = make(preset, options);
  calls.set(config, { call: copied({ preset, options }), parts: partsOf(config) });
  return config;
}

/**
 * The preset that made a config, for `presetFrom`; null for other configs, those that were changed since, and options that
 * JSON cannot hold.
 */
export function presetCall(config: QuantConfig): PresetCall | null {
  const made = calls.get(config);
  if (!made) return null;
  const parts = partsOf(config);
  const same = parts.length === made.parts.length && parts.every((part, i) => part === made.parts[i]);
  if (!same || Object.values(made.call.options ?? {}).some(isFunction)) return null;
  return copied(made.call);
}

/** Options of weights of integers. */
export type UniformOptions = Partial<WeightOptions>;
/** Of weights whose scale is a mean. */
export type MeanOptions = Omit<UniformOptions, "scheme">;
/** Of 1-bit weights that float inputs meet. */
export interface BinaryOptions extends MeanOptions {
  /** Whether what shares a scale has a mean too: codes stand for mean ± scale. Default false. */
  center?: boolean;
}
/** Of weights that have scales by groups. */
export type GroupOptions = Omit<MeanOptions, "granularity">;
/** Of weights that signs are multiplied by. */
export type SignOptions = Omit<MeanOptions, "group">;
/** Of weights of integers and inputs with outliers. */
export interface MixedPresetOptions extends UniformOptions {
  /** The magnitude above which a number of an input is an outlier; default 6. */
  threshold?: number;
}
/** Of weights of integers and static inputs. */
export interface StaticPresetOptions extends UniformOptions {
  /** Of the input's codes: "affine", the default, or "symmetric". */
  inputScheme?: "symmetric" | "affine";
  /** What finds the range of each layer's input; default minMax. */
  observer?: (spec: QuantSpec) => Observer;
  /** How far each batch of training moves that range; default null, not at all. */
  momentum?: number | null;
}

const uniform = ["group", "granularity", "scheme", "scaleDtype"] as const;
const means = ["group", "granularity", "scaleDtype"] as const;

const int8 = (op: string, options?: UniformOptions): QuantConfig => ({
  weight: ste({ bits: 8, ...readWeight(op, options, uniform, "channel") }),
});
const int4 = (op: string, options?: UniformOptions): QuantConfig => ({
  weight: ste({ bits: 4, ...readWeight(op, options, uniform, { group: 32 }) }),
});
const nf4s = (op: string, options?: GroupOptions): QuantConfig => ({
  weight: nf4(readWeight(op, options, ["group", "scaleDtype"], { group: 64 })),
});
const ternary = (op: string, options?: MeanOptions): QuantConfig => ({
  weight: bitnet158(readWeight(op, options, means, "channel")),
});
const binary = (op: string, options?: MeanOptions): QuantConfig => ({
  weight: bwn(readWeight(op, options, means, "channel")),
});
const centered = (op: string, options?: BinaryOptions): QuantConfig => ({
  weight: bwn(readWeight(op, options, means, "channel", { center: false })),
});
const signs = (op: string, options?: SignOptions): QuantConfig => ({
  weight: bwn(readWeight(op, options, ["granularity", "scaleDtype"], "channel")),
  input: signInput(),
});
/** What is made of int8 inputs, a scale a position, as they come. */
const dynamic =
  <O>(make: (op: string, options?: O) => QuantConfig) =>
  (op: string, options?: O): QuantConfig => ({ ...make(op, options), input: dynamicInput() });
const int8AndFloats = (op: string, options?: MixedPresetOptions): QuantConfig => {
  const { threshold, ...weight } = readWeight(op, options, uniform, "channel", { threshold: 6 });
  return { weight: ste({ bits: 8, ...weight }), input: mixedCodes(op, 8, threshold) };
};
const int8s = (op: string, options?: StaticPresetOptions): QuantConfig => {
  const more = {
    inputScheme: "affine" as "symmetric" | "affine",
    observer: minMax,
    momentum: null as number | null,
  };
  const { inputScheme, observer, momentum, ...weight } = readWeight(op, options, uniform, "channel", more);
  checkChoice(op, "inputScheme", inputScheme, schemes);
  return {
    weight: ste({ bits: 8, ...weight }),
    input: observedInput(op, spec({ scheme: inputScheme }), observer, momentum),
  };
};

/**
 * int8 weights, one scale an output row unless told otherwise.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int8WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: int8WeightOnly() }));
 * ```
 */
export const int8WeightOnly = (options?: UniformOptions): QuantConfig =>
  named("int8WeightOnly", options, int8);
/**
 * int4 weights, one scale for every 32 inputs unless told otherwise.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int4WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: int4WeightOnly({ group: 16, scheme: "affine" }) }));
 * ```
 */
export const int4WeightOnly = (options?: UniformOptions): QuantConfig =>
  named("int4WeightOnly", options, int4);
/**
 * NF4 weights, one scale for every `group` inputs; default 64.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { nf4WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: nf4WeightOnly({ group: 32 }) }));
 * ```
 */
export const nf4WeightOnly = (options?: GroupOptions): QuantConfig => named("nf4WeightOnly", options, nf4s);
/**
 * Ternary weights, one scale an output row unless told otherwise.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { plan, prepare, ternaryWeightOnly } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: ternaryWeightOnly({ granularity: "tensor" }) }));
 * ```
 */
export const ternaryWeightOnly = (options?: MeanOptions): QuantConfig =>
  named("ternaryWeightOnly", options, ternary);
/**
 * 1-bit weights, one scale an output row unless told otherwise, and with `center` one mean beside each scale.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { binaryWeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: binaryWeightOnly() }));
 * ```
 */
export const binaryWeightOnly = (options?: BinaryOptions): QuantConfig =>
  named("binaryWeightOnly", options, centered);

/**
 * int8 weights and inputs, the inputs' scales found as they come. Needs no calibration.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int8Dynamic, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: int8Dynamic() }));
 * ```
 */
export const int8Dynamic = (options?: UniformOptions): QuantConfig =>
  named("int8Dynamic", options, dynamic(int8));
/**
 * int8 weights and uint8 inputs, one scale and zero point a layer, by `calibrate`.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int8Static, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: int8Static({ inputScheme: "symmetric" }) }));
 * ```
 */
export const int8Static = (options?: StaticPresetOptions): QuantConfig => named("int8Static", options, int8s);
/**
 * int8 weights and inputs, but that features of inputs with outliers stay float32, as `mixedInput` says: LLM.int8(),
 * Dettmers et al., 2022, arXiv:2208.07339. Needs no calibration.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int8Mixed, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: int8Mixed({ threshold: 5 }) }));
 * ```
 */
export const int8Mixed = (options?: MixedPresetOptions): QuantConfig =>
  named("int8Mixed", options, int8AndFloats);
/**
 * int4 weights in groups, int8 inputs.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int4Dynamic, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: int4Dynamic({ group: 16 }) }));
 * ```
 */
export const int4Dynamic = (options?: UniformOptions): QuantConfig =>
  named("int4Dynamic", options, dynamic(int4));
/**
 * Ternary weights, int8 inputs: BitNet b1.58.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { plan, prepare, ternaryDynamic } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: ternaryDynamic() }));
 * ```
 */
export const ternaryDynamic = (options?: MeanOptions): QuantConfig =>
  named("ternaryDynamic", options, dynamic(ternary));
/**
 * 1-bit weights, int8 inputs.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { binaryDynamic, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: binaryDynamic() }));
 * ```
 */
export const binaryDynamic = (options?: MeanOptions): QuantConfig =>
  named("binaryDynamic", options, dynamic(binary));
/**
 * 1-bit weights and inputs. Products of bits are sums that a scale a row or a tensor follows, so there is no `group`; a
 * `granularity` of groups is summed as integers.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { binarySigns, plan, prepare } from "bitgrad/quant";
 *
 * prepare(new Linear(64, 8), plan({ default: binarySigns() }));
 * ```
 */
export const binarySigns = (options?: SignOptions): QuantConfig => named("binarySigns", options, signs);

const presets: Readonly<Record<string, (options?: never) => QuantConfig>> = {
  int8WeightOnly,
  int4WeightOnly,
  nf4WeightOnly,
  ternaryWeightOnly,
  binaryWeightOnly,
  int8Dynamic,
  int8Static,
  int8Mixed,
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
