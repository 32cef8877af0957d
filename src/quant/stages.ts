/** prepare, calibrate, (train,) freeze, pack: the stages of a quantized model, in this order. */

import { InputStage } from "../codes/input-stage.ts";
import { checkPackable } from "../codes/packable.ts";
import { checkQuantizer, type Quantizer } from "../codes/quantizer.ts";
import { QuantizedTransform, quantizedTransform } from "../codes/transform.ts";
import { isFunction, OptionError, readOptions, StageError, show } from "../errors.ts";
import { Embedding } from "../nn/embedding.ts";
import { isLayer } from "../nn/layer.ts";
import { whileEvaluating } from "../nn/modes.ts";
import { Packer } from "../nn/packing.ts";
import { isParameter, type Parameter } from "../nn/parameter.ts";
import { findParameters, namedParameters, walk } from "../nn/tree.ts";
import type { PackedKind } from "../packed/file/layer.ts";
import type { PackedWeight } from "../packed/file/weight.ts";
import { PackedModel } from "../packed/model.ts";
import { floatIsFaster } from "../packed/products/choice.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { isTensor } from "../tensor.ts";
import type { Plan } from "./plan.ts";
import type { QuantConfig } from "./presets.ts";

/** A layer that can quantize its input. */
interface Quantizable {
  inputQuantizer: InputStage | null;
}

function inputStages(model: object): Map<InputStage, string> {
  const found = new Map<InputStage, string>();
  walk(model, (item, path) => {
    if (item instanceof InputStage && !found.has(item)) found.set(item, path);
    return true;
  });
  return found;
}

const isIterable = (value: unknown): boolean => {
  const { [Symbol.iterator]: each, [Symbol.asyncIterator]: eachAsync } = Object(value);
  return typeof each === "function" || typeof eachAsync === "function";
};

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

const weightsOf = (model: object) =>
  namedParameters(model).filter(([, parameter]) => quantizedTransform(parameter) !== null);

/** Throws StageError unless the model was prepared and not frozen. */
function checkLive(op: string, model: object): void {
  const weights = weightsOf(model);
  if (weights.length === 0) {
    throw new StageError(`${op}: the model must be prepared, got no quantized weight; call prepare first`);
  }
  if (weights.some(([, parameter]) => quantizedTransform(parameter)!.frozen)) {
    throw new StageError(
      `${op}: the model must not be frozen, got ${weights[0][0]} frozen; prepare a clone made before`,
    );
  }
}

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

/**
 * Runs batches through a prepared model and fixes the scales of its static inputs. A batch is what `forward` takes, unless
 * `forward: (batch) => …` says how it is run. Throws StageError for a model that is not prepared, or frozen, without batches, and
 * where they do not reach a static input.
 */
export async function calibrate<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: { forward?: ((batch: B) => unknown) | null },
): Promise<M> {
  const { forward } = readOptions("calibrate", options, { forward: null as ((batch: B) => unknown) | null });
  if (forward !== null && !isFunction(forward)) {
    throw new OptionError(`calibrate: option forward must be a function, got ${show(forward)}`);
  }
  checkLive("calibrate", model);
  if (!isIterable(batches)) {
    throw new OptionError(`calibrate: batches must be iterable: put one in a list, got ${show(batches)}`);
  }
  if (forward === null && !isLayer(model)) {
    throw new OptionError(`calibrate: the model must have forward, got ${show(model)}; pass { forward }`);
  }
  const run = forward ?? ((batch: B) => (model as { forward(x: B): unknown }).forward(batch));
  const stages = [...inputStages(model)].filter(([{ observer }]) => observer !== null);
  for (const [stage] of stages) stage.observing = true;
  let count = 0;
  try {
    for await (const batch of batches) {
      whileEvaluating(model, () => noGrad(() => scope(() => void run(batch))));
      count++;
    }
  } finally {
    for (const [stage] of stages) stage.observing = false;
  }
  if (count === 0) throw new StageError("calibrate: needs at least one batch, got none");
  const idle = stages.find(([{ observed }]) => !observed);
  if (idle) {
    throw new StageError(
      `calibrate: no batch reached the input of a layer, got ${show(idle[1])}; run it by { forward }, or leave it out by a rule`,
    );
  }
  for (const [stage] of stages) stage.settle();
  return model;
}

/**
 * Fixes every code and scale, in place, and returns the model; what is then written to a weight, as by `loadStateDict`, has its
 * codes fixed anew. In evaluation mode a layer whose input is quantized then computes the integer way, exactly as its packed twin
 * will. A model whose codes all meet quantized inputs and its packed twin give the same bits where the model runs inside a scope;
 * outside, functions of few floats may come from other kernels and differ in their last bits. Codes that meet float32 inputs
 * (weight-only) are multiplied in another order when packed: of k products each of the two sums lies within
 * (k + 2) · 2⁻²⁴ · (|bias| + Σ|x||w|) of the exact one, and they are the same bits where `pack` keeps the weight as float32
 * (`weights: "auto"`). Throws StageError for a model that is not prepared, frozen already, or has
 * static inputs that were not calibrated.
 */
export function freeze<M extends object>(model: M): M {
  checkLive("freeze", model);
  const stages = [...inputStages(model).keys()];
  if (stages.some(({ calibrated }) => !calibrated)) {
    throw new StageError(
      "freeze: static inputs must be calibrated, got some without scales; call calibrate first",
    );
  }
  for (const [, parameter] of weightsOf(model)) {
    for (const transform of parameter.transforms) {
      if (transform instanceof QuantizedTransform) transform.freeze(parameter);
    }
    parameter.trainable = false;
    parameter.grad = null;
  }
  for (const stage of stages) stage.frozen = true;
  return model;
}

export interface PackOptions {
  /**
   * "packed" stores every quantized weight as codes. "auto" keeps those that multiply float32 input, and are multiplied faster
   * as float32 (small matrices, mostly), as float32 values; `backendInfo().choices` lists them. Default "packed".
   */
  weights: "packed" | "auto";
  /** Classes of packed layers of one's own, which `toPacked` of the model's layers names by their kinds. */
  kinds: readonly PackedKind[];
}

/**
 * The packed twin of a model, layer by layer by their own `toPacked`: codes and scales for what is quantized, float32 for the rest.
 * Throws StageError for a prepared model that is not frozen, OptionError for a layer without a packed form.
 */
export function pack(model: object, options?: Partial<PackOptions>): PackedModel {
  if (typeof model !== "object" || model === null) {
    throw new OptionError(`pack: needs a model, got ${show(model)}`);
  }
  const { weights, kinds } = readOptions<PackOptions>("pack", options, { weights: "packed", kinds: [] });
  if (weights !== "packed" && weights !== "auto") {
    throw new OptionError(`pack: weights must be "packed" or "auto", got ${show(weights)}`);
  }
  const auto = ({ bits, rows, columns }: PackedWeight) => floatIsFaster(bits, rows, columns);
  return new PackedModel(new Packer(weights === "auto" ? auto : () => false).layer(model), { kinds });
}
