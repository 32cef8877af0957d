/** calibrate, (train,) freeze, pack: the steps of a quantized model after prepare, in this order. */

import { undoableRuns } from "../changes.ts";
import { frontsOf, parametersBeside } from "../codes/fronts.ts";
import { QuantizedTransform, quantizedTransform } from "../codes/transform.ts";
import { OptionError, readOptions, StageError, show } from "../errors.ts";
import { batchRunner } from "../nn/batches.ts";
import { inside } from "../nn/inside.ts";
import { whileEvaluating } from "../nn/modes.ts";
import { Packer } from "../nn/packing.ts";
import type { PackedKind } from "../packed/file/layer.ts";
import type { PackedWeight } from "../packed/file/weight.ts";
import { PackedModel } from "../packed/model.ts";
import { floatIsFaster } from "../packed/products/choice.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { inputQuantizers, weightsOf } from "./prepare.ts";

/** Throws StageError unless the model was prepared, and is neither frozen nor at calibration. */
export function checkLive(op: string, model: object): void {
  const weights = weightsOf(model);
  if (weights.length === 0) {
    throw new StageError(`${op}: the model must be prepared, got no quantized weight; call prepare first`);
  }
  if (weights.some(([, parameter]) => quantizedTransform(parameter)!.frozen)) {
    throw new StageError(
      `${op}: the model must not be frozen, got ${weights[0][0]} frozen; prepare a clone made before`,
    );
  }
  const busy = [...inputQuantizers(model)].find(([{ observing }]) => observing);
  if (busy) {
    throw new StageError(
      `${op}: the model must not be at calibration, got ${show(busy[1])} observing; await the calibrate before`,
    );
  }
}

/**
 * Runs batches through a prepared model and fixes the scales of its static inputs. A batch is what `forward` takes, unless
 * `forward: (batch) => …` says how it is run. Throws StageError for a model that is not prepared, frozen, or at calibration
 * already, without batches, for an async `forward`, and where batches do not reach a static input; nothing of the batches is
 * kept then, nor after an error of the batches or of the model.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { calibrate, freeze, int8Static, plan, prepare } from "bitgrad/quant";
 *
 * const model = prepare(new Linear(64, 8), plan({ default: int8Static() }));
 * await calibrate(model, [randn([16, 64]), randn([16, 64])]);
 * freeze(model);
 * ```
 */
export async function calibrate<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: { forward?: ((batch: B) => unknown) | null },
): Promise<M> {
  const { forward } = readOptions("calibrate", options, { forward: null as ((batch: B) => unknown) | null });
  checkLive("calibrate", model);
  const run = batchRunner("calibrate", model, batches, forward);
  const inputs = [...inputQuantizers(model)].filter(([{ observer }]) => observer !== null);
  for (const [input] of inputs) input.observing = true;
  const runs = undoableRuns();
  let count = 0;
  try {
    for await (const batch of batches) {
      runs.run(() => whileEvaluating(model, () => noGrad(() => scope(() => void run(batch)))));
      count++;
    }
    if (count === 0) throw new StageError("calibrate: needs at least one batch, got none");
    const idle = inputs.find(([{ observed }]) => !observed);
    if (idle) {
      throw new StageError(
        `calibrate: no batch reached the input of a layer, got ${show(idle[1])}; run it by { forward }, or leave it out by a rule`,
      );
    }
    const settled = inputs.map(([input]) => inside(model, () => inside(input, () => input.settle())));
    for (const write of settled) write();
  } catch (error) {
    runs.undo();
    throw error;
  } finally {
    for (const [input] of inputs) input.observing = false;
  }
  return model;
}

/**
 * Fixes every code and scale, in place, and returns the model; what is then written to a weight, or to a tensor that a
 * transform in front has as a property, such as a mask, as by `loadStateDict`, has the codes fixed anew. Weights, learned
 * scales and what is learned in front are not trainable from then on. In evaluation mode a layer whose input is quantized,
 * by one scale where it is static, then computes the integer way, exactly as its packed twin will. A model whose codes all
 * meet quantized inputs and its packed twin give the same bits where the model runs inside a scope; outside, functions of
 * few floats may come from other kernels and differ in their last bits. Codes that meet float32 inputs (weight-only) are
 * multiplied in another order when packed: of k products each of the two sums lies within (k + 2) · 2⁻²⁴ · (|bias| +
 * Σ|x||w|) of the exact one, and they are the same bits where `pack` keeps the weight as float32 (`weights: "auto"`). Throws
 * StageError for a model that is not prepared, frozen already, or has static inputs that were not calibrated, or at
 * calibration, and OptionError for a static input whose scale is none, as a state may bring it.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 * import { evaluate, Linear } from "bitgrad/nn";
 * import { freeze, int8Dynamic, plan, prepare } from "bitgrad/quant";
 *
 * const model = evaluate(freeze(prepare(new Linear(8, 2), plan({ default: int8Dynamic() }))));
 * console.log(model.forward(ones([1, 8])).shape, model.weight.trainable); // [1, 2] false
 * ```
 */
export function freeze<M extends object>(model: M): M {
  checkLive("freeze", model);
  const inputs = inputQuantizers(model);
  if ([...inputs.keys()].some(({ calibrated }) => !calibrated)) {
    throw new StageError(
      "freeze: static inputs must be calibrated, got some without scales; call calibrate first",
    );
  }
  for (const [input, path] of inputs) input.check("freeze", path);
  for (const [, parameter] of weightsOf(model)) {
    const fixed = [parameter];
    for (const transform of parameter.transforms) {
      if (!(transform instanceof QuantizedTransform)) continue;
      transform.freeze(parameter);
      fixed.push(...parametersBeside(frontsOf(parameter, transform), transform.quantizer));
    }
    for (const part of fixed) {
      part.trainable = false;
      part.grad = null;
    }
  }
  for (const input of inputs.keys()) input.frozen = true;
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
 * The packed twin of a model, layer by layer by their own `toPacked`: codes and scales for what is quantized, float32 for
 * the rest. Throws StageError for a prepared model that is not frozen, OptionError for a layer without a packed form, and
 * for one whose input has a static scale for each channel.
 *
 * @example
 * ```ts
 * import { loadPacked } from "bitgrad/packed";
 * import { Linear } from "bitgrad/nn";
 * import { freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
 *
 * const model = freeze(prepare(new Linear(8, 2), plan({ default: int8Dynamic() })));
 * const bytes = pack(model).toBytes();
 * const { shape } = loadPacked(bytes).forward({ data: new Float32Array(8), shape: [1, 8] });
 * console.log(shape); // [1, 2]
 * ```
 */
export function pack(model: object, options?: Partial<PackOptions>): PackedModel {
  if (typeof model !== "object" || model === null) {
    throw new OptionError(`pack: needs a model, got ${show(model)}`);
  }
  const { weights, kinds } = readOptions<PackOptions>("pack", options, { weights: "packed", kinds: [] });
  if (weights !== "packed" && weights !== "auto") {
    throw new OptionError(`pack: weights must be "packed" or "auto", got ${show(weights)}`);
  }
  for (const [input, path] of inputQuantizers(model)) input.checkPackable(path);
  const auto = ({ bits, rows, columns }: PackedWeight) => floatIsFaster(bits, rows, columns);
  return new PackedModel(new Packer(weights === "auto" ? auto : () => false).layer(model), { kinds });
}
