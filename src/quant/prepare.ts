/** prepare: the first step of a quantized model, in place. */

import { frontsOf, parametersBeside } from "../codes/fronts.ts";
import { SpecInputQuantizer } from "../codes/input-quantizer.ts";
import { checkPackable, checkPackableInput } from "../codes/packable.ts";
import { checkQuantizer, type Quantizer } from "../codes/quantizer.ts";
import { QuantizedTransform, quantizedTransform } from "../codes/transform.ts";
import { isFunction, OptionError, readOptions, StageError, show, synchronous } from "../errors.ts";
import { takeCorrections } from "../nn/modes.ts";
import { isParameter, type Parameter, type Transform } from "../nn/parameter.ts";
import { checkBaked } from "../nn/parametrize.ts";
import { findParameters, namedParameters, walk } from "../nn/tree.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { isTensor, type Tensor, tensor } from "../tensor.ts";
import { type Plan, servesInput } from "./plan.ts";
import type { QuantConfig } from "./presets.ts";

/** A layer that can quantize its input. */
interface Quantizable {
  inputQuantizer: SpecInputQuantizer | null;
}

export function inputQuantizers(model: object): Map<SpecInputQuantizer, string> {
  const found = new Map<SpecInputQuantizer, string>();
  walk(model, (item, path) => {
    if (item instanceof SpecInputQuantizer && !found.has(item)) found.set(item, path);
    return true;
  });
  return found;
}

function quantizerOf({ weight }: QuantConfig, parameter: Parameter, path: string): Quantizer {
  const quantizer =
    typeof weight === "function"
      ? synchronous("prepare", weight(parameter, path), "the weight of a config")
      : weight;
  if (isFunction((quantizer as Partial<Quantizer> | null)?.params))
    return checkQuantizer("prepare", quantizer);
  throw new OptionError(
    `prepare: the weight of a config must give a quantizer, got ${show(quantizer)} for ${show(path)}`,
  );
}

/** Throws OptionError for codes of more bits than the numbers of a parameter lie packed in: they gain nothing by it. */
function checkStored(path: string, { name, spec: { bits } }: Quantizer, { store }: Parameter): void {
  if (store === null || bits <= store.bits) return;
  const own = store.bits === 1 ? "take a quantizer of signs, as that of binaryDynamic(), or " : "";
  throw new OptionError(
    `prepare: a quantizer must have at most the bits that ${show(path)} lies packed in, got ${bits} of ${show(name)} for ${store.bits}; ${own}leave it out by a rule [${show(path)}, null]: it is packed as it lies`,
  );
}

/** How many channels the input of a layer has: those of a group, as axis 1 of its weight, in each of its groups. */
const channelsOf = ({ shape }: Parameter, owner: object): number =>
  (shape[1] ?? 1) * ((owner as { groups?: number }).groups ?? 1);

/** What the input of a config gives. Throws OptionError for one that is no function, or fails, as `dynamicInput` itself. */
function givenBy({ input }: QuantConfig, path: string, channels: number): unknown {
  const want = "prepare: the input of a config must be a function such as dynamicInput(), got";
  if (!isFunction(input)) throw new OptionError(`${want} ${show(input)} for ${show(path)}`);
  try {
    return synchronous("prepare", input(channels), "the input of a config");
  } catch (cause) {
    if (!(cause instanceof OptionError)) throw cause;
    throw new OptionError(`${want} one that fails for ${show(path)}: ${cause.message}`, { cause });
  }
}

function inputOf(config: QuantConfig, path: string, channels: number): SpecInputQuantizer {
  const quantizer = givenBy(config, path, channels);
  if (quantizer instanceof SpecInputQuantizer) return quantizer;
  throw new OptionError(
    `prepare: the input of a config must give a SpecInputQuantizer, got ${show(quantizer)} for ${show(path)}; use one such as dynamicInput()`,
  );
}

/** Whether an object has tensors or parameters, such as a learned step. */
function holdsNumbers(quantizer: object): boolean {
  let found = false;
  walk(quantizer, (item) => {
    found ||= isTensor(item) || isParameter(item);
    return !found;
  });
  return found;
}

/** Whether all that has a mode is in evaluation. */
function isEvaluating(model: object): boolean {
  const modes = new Set<unknown>();
  walk(model, (item) => {
    modes.add((item as { training?: unknown }).training);
    return true;
  });
  return modes.has(false) && !modes.has(true);
}

export const weightsOf = (model: object) =>
  namedParameters(model).filter(([, parameter]) => quantizedTransform(parameter) !== null);

export interface PrepareOptions {
  /** Whether quantizers that are there, and quantized inputs, make way for those of the plan. Default false. */
  replace: boolean;
}

/**
 * Makes the planned parameters train through their quantizers, and the layers that hold them quantize their inputs, in
 * place, and returns the model, in the mode it was in: new input quantizers are in evaluation where all is that has a mode,
 * else in training; `evaluate(part)` afterwards holds a part in evaluation. What `pack` would refuse of weights and inputs
 * is refused here, but for static scales per channel, which train. With `replace` a prepared model takes another plan, as
 * from 32 bits to 1 step by step: latent weights, masks and the state of optimizers stay, corrections go, and static inputs
 * are calibrated anew. Throws StageError for a parameter that is quantized already, or frozen; OptionError for a layer that
 * cannot quantize its input, for codes that cannot be packed, have more bits than the parameter's store, or cannot hold the
 * zeros of a mask, and for one quantizer with tensors of its own on several parameters. The model is then as it was.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { plan, prepare, ternaryWeightOnly } from "bitgrad/quant";
 *
 * const model = prepare(new Linear(16, 1), plan({ default: ternaryWeightOnly() }));
 * console.log(new Set(model.weight.effective().data).size <= 3); // true
 * ```
 */
export function prepare<M extends object>(model: M, plan: Plan, options?: Partial<PrepareOptions>): M {
  if (typeof model !== "object" || model === null)
    throw new OptionError(`prepare: needs a model, got ${show(model)}`);
  if (typeof plan?.explain !== "function")
    throw new OptionError(`prepare: needs a plan, got ${show(plan)}; wrap it: plan({ default: … })`);
  const { replace } = readOptions<PrepareOptions>("prepare", options, { replace: false });
  const evaluating = isEvaluating(model);
  if (!replace) return install(model, plan, evaluating);
  const frozen = weightsOf(model).find(([, parameter]) => quantizedTransform(parameter)!.frozen);
  if (frozen)
    throw new StageError(
      `prepare: a frozen model takes no other plan, got ${frozen[0]} frozen; unprepare it`,
    );
  const putBack = strip(model, { corrections: true });
  try {
    return install(model, plan, evaluating);
  } catch (error) {
    putBack();
    throw error;
  }
}

/**
 * Takes a prepared model back to what it was: its quantizers, quantized inputs and corrections go, and the latent weights
 * remain, or, with `bake`, become the quantized values, which keep their corrections. Weights that were frozen, and what is
 * learned in front of them, are trainable again. Returns the model. Throws StageError for a model that is not prepared; with
 * `bake` OptionError where another transform would change what is baked or a store cannot hold it, and ShapeError where
 * transforms change a shape. The model is then as it was.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { binaryWeightOnly, plan, prepare, unprepare } from "bitgrad/quant";
 *
 * const model = prepare(new Linear(16, 1), plan({ default: binaryWeightOnly() }));
 * unprepare(model, { bake: true }); // the rounded weights stay, as plain numbers
 * console.log(new Set(model.weight.value.abs().data).size); // 1
 * ```
 */
export function unprepare<M extends object>(model: M, options?: { bake?: boolean }): M {
  const { bake } = readOptions("unprepare", options, { bake: false });
  const weights = weightsOf(model);
  if (weights.length === 0) {
    throw new StageError(
      "unprepare: the model must be prepared, got no quantized weight; call prepare first",
    );
  }
  const baked = bake ? weights.map(([path, parameter]) => bakedValue(path, parameter)) : [];
  const fixed = weights.flatMap(([, parameter]) => {
    const transform = quantizedTransform(parameter)!;
    const beside = () => parametersBeside(frontsOf(parameter, transform), transform.quantizer);
    return transform.frozen ? [parameter, ...beside()] : [];
  });
  strip(model, { corrections: !bake });
  for (const [i, value] of baked.entries()) weights[i][1].assign(value);
  for (const parameter of fixed) parameter.trainable = true;
  return model;
}

const others = ({ transforms }: Parameter): Transform[] =>
  transforms.filter((transform) => !(transform instanceof QuantizedTransform));

/** What a parameter is read as, if the transforms that stay leave it so. */
function bakedValue(path: string, parameter: Parameter): Tensor {
  const read = (value: Tensor) => others(parameter).reduce((w, transform) => transform.apply(w), value);
  const value = noGrad(() => tensor(parameter.effective()));
  checkBaked("unprepare", path, parameter, value);
  const again = noGrad(() => read(value));
  if (again.data.every((v, i) => v === value.data[i])) return value;
  throw new OptionError(
    `unprepare: another transform would change the baked values, got ${show(path)}; leave out bake, or use removeParametrization`,
  );
}

/** Takes off what `prepare` put on. Returns what puts it back. */
function strip(model: object, { corrections }: { corrections: boolean }): () => void {
  const weights = weightsOf(model).map(([, parameter]) => [parameter, [...parameter.transforms]] as const);
  const layers: [layer: Quantizable, quantizer: SpecInputQuantizer][] = [];
  walk(model, (item) => {
    const { inputQuantizer } = item as Partial<Quantizable>;
    if (inputQuantizer instanceof SpecInputQuantizer) layers.push([item as Quantizable, inputQuantizer]);
    return true;
  });
  const quantized = new Set<unknown>(weights.map(([parameter]) => parameter));
  const putBack = takeCorrections(model, (weight) => corrections && quantized.has(weight));
  for (const [parameter] of weights) {
    parameter.transforms.splice(0, parameter.transforms.length, ...others(parameter));
  }
  for (const [layer] of layers) layer.inputQuantizer = null;
  return () => {
    for (const [{ transforms }, before] of weights) transforms.splice(0, transforms.length, ...before);
    for (const [layer, quantizer] of layers) layer.inputQuantizer = quantizer;
    putBack();
  };
}

/** All is made and checked before the first part is put in place. */
function install<M extends object>(model: M, plan: Plan, evaluating: boolean): M {
  const planned = plan.explain(model).filter(({ config }) => config !== null);
  const owners = findParameters(model);
  const inputs: [layer: Quantizable, quantizer: SpecInputQuantizer][] = [];
  const made: QuantizedTransform[] = [];
  const served = new Map<Quantizer, string>();
  const held = inputQuantizers(model);
  for (const { path, parameter, config } of planned) {
    if (quantizedTransform(parameter)) {
      throw new StageError(
        `prepare: the parameter is already quantized, got ${path}; { replace: true } takes another plan`,
      );
    }
    const { input } = config!;
    const quantizer = quantizerOf(config!, parameter, path);
    const other = served.get(quantizer);
    if (other !== undefined && holdsNumbers(quantizer)) {
      throw new OptionError(
        `prepare: a quantizer with numbers of its own serves one parameter, got ${show(other)} and ${show(path)}; give a function that makes one: { weight: () => … }`,
      );
    }
    served.set(quantizer, path);
    let largest: number | null = null;
    for (const { item, owner } of owners) {
      if (item !== parameter || !input) continue;
      if (!servesInput(owner)) {
        throw new OptionError(
          `prepare: the layer of ${show(path)} cannot quantize its input, got ${show(owner)}; give it a weight-only config`,
        );
      }
      if (!("inputQuantizer" in owner)) continue;
      const quantizer = inputOf(config!, path, channelsOf(parameter, owner));
      const other = held.get(quantizer);
      if (other !== undefined) {
        throw new OptionError(
          `prepare: a SpecInputQuantizer serves one layer, got that of ${show(other)} for ${show(path)} too; make a new one at each call`,
        );
      }
      checkPackableInput(path, quantizer.spec, quantizer.observer !== null);
      held.set(quantizer, path);
      largest = Math.max(largest ?? 0, quantizer.largest);
      inputs.push([owner as Quantizable, quantizer]);
    }
    checkPackable(path, quantizer.spec, parameter.shape, largest);
    checkStored(path, quantizer, parameter);
    const transform = new QuantizedTransform(quantizer, parameter, path);
    noGrad(() => scope(() => void transform.maskOf(parameter.effective())));
    made.push(transform);
  }
  for (const [i, { parameter }] of planned.entries()) parameter.transforms.push(made[i]);
  for (const [layer, quantizer] of inputs) {
    layer.inputQuantizer = quantizer;
    quantizer.training = !evaluating;
  }
  return model;
}
