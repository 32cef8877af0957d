/** prepare: the first step of a quantized model, in place. */

import { InputStage } from "../codes/input-stage.ts";
import { checkPackable } from "../codes/packable.ts";
import { checkQuantizer, type Quantizer } from "../codes/quantizer.ts";
import { QuantizedTransform, quantizedTransform } from "../codes/transform.ts";
import { isFunction, OptionError, StageError, show } from "../errors.ts";
import { Embedding } from "../nn/embedding.ts";
import { isParameter, type Parameter } from "../nn/parameter.ts";
import { findParameters, namedParameters, walk } from "../nn/tree.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { isTensor } from "../tensor.ts";
import type { Plan } from "./plan.ts";
import type { QuantConfig } from "./presets.ts";

/** A layer that can quantize its input. */
interface Quantizable {
  inputQuantizer: InputStage | null;
}

export function inputStages(model: object): Map<InputStage, string> {
  const found = new Map<InputStage, string>();
  walk(model, (item, path) => {
    if (item instanceof InputStage && !found.has(item)) found.set(item, path);
    return true;
  });
  return found;
}

function quantizerOf({ weight }: QuantConfig, parameter: Parameter, path: string): Quantizer {
  const quantizer = typeof weight === "function" ? weight(parameter, path) : weight;
  if (isFunction((quantizer as Partial<Quantizer> | null)?.params))
    return checkQuantizer("prepare", quantizer);
  throw new OptionError(
    `prepare: the weight of a config must give a quantizer, got ${show(quantizer)} for ${show(path)}`,
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

/**
 * Makes the planned parameters train through their quantizers, and the layers that hold them quantize their inputs, in place,
 * and returns the model, in the mode it was in. Throws StageError for a parameter that is quantized already; OptionError for a layer
 * that cannot quantize its input, for codes that cannot be packed or cannot hold the zeros of a mask, and for one quantizer with
 * tensors of its own on several parameters.
 */
export function prepare<M extends object>(model: M, plan: Plan): M {
  if (typeof model !== "object" || model === null)
    throw new OptionError(`prepare: needs a model, got ${show(model)}`);
  if (typeof plan?.explain !== "function")
    throw new OptionError(`prepare: needs a plan, got ${show(plan)}; wrap it: plan({ default: … })`);
  const planned = plan.explain(model).filter(({ config }) => config !== null);
  const owners = findParameters(model);
  const inputs: [layer: Quantizable, make: () => InputStage][] = [];
  const made: QuantizedTransform[] = [];
  const served = new Map<Quantizer, string>();
  for (const { path, parameter, config } of planned) {
    if (quantizedTransform(parameter))
      throw new StageError(`prepare: the parameter is already quantized, got ${path}`);
    const { input } = config!;
    const quantizer = quantizerOf(config!, parameter, path);
    const other = served.get(quantizer);
    if (other !== undefined && holdsNumbers(quantizer)) {
      throw new OptionError(
        `prepare: a quantizer with numbers of its own serves one parameter, got ${show(other)} and ${show(path)}; give a function that makes one: { weight: () => … }`,
      );
    }
    served.set(quantizer, path);
    const coded = input && owners.some(({ item, owner }) => item === parameter && "inputQuantizer" in owner);
    checkPackable(path, quantizer.spec, parameter.shape, Boolean(coded));
    const transform = new QuantizedTransform(quantizer, parameter, path);
    noGrad(() => scope(() => void transform.maskOf(parameter.effective())));
    made.push(transform);
    if (!input) continue;
    for (const { item, owner } of owners) {
      if (item !== parameter) continue;
      if ("inputQuantizer" in owner) inputs.push([owner as Quantizable, input]);
      // A table of rows has ids for its input: nothing to quantize.
      else if (!(owner instanceof Embedding)) {
        throw new OptionError(
          `prepare: the layer of ${show(path)} cannot quantize its input, got ${show(owner)}; give it a weight-only config`,
        );
      }
    }
  }
  for (const [i, { parameter }] of planned.entries()) parameter.transforms.push(made[i]);
  const evaluating = inputs.length > 0 && isEvaluating(model);
  for (const [layer, make] of inputs) {
    layer.inputQuantizer = make();
    layer.inputQuantizer.training = !evaluating;
  }
  return model;
}
