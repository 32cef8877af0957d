/** sensitivity: what each config would cost each layer of a float model. */

import { checkChoice, readOptions } from "../../errors.ts";
import { brief, grouped, tableOf } from "../../printing.ts";
import { nameOf } from "../labels.ts";
import { type Measure, measures } from "./costs.ts";
import { type StudyOptions, studyDefaults, studyOf } from "./study.ts";

export interface SensitivityOptions<B> extends StudyOptions<B> {
  /**
   * "kl", the default: the mean divergence KL(float ‖ quantized) of a row of the logits that the model returns, in nats.
   * "mse": the mean square of the differences of what it returns, for outputs that are no logits. Both run the model once
   * for each batch, layer and config.
   * "fisher": Σ E[g²]·Δw², with the gradient g of each sample's loss and the change Δw of a weight. "firstOrder": Σ|g·Δw| +
   * Σ|g·Δx|, with the gradients of the mean loss to weights and inputs. "proxy": ‖Δw·X‖²/‖w·X‖² over the inputs X of a
   * linear layer or a convolution. These run the model once for each batch. Only "firstOrder" and those by outputs see the
   * rounding of inputs.
   */
  measure: Measure;
}

/** A config that a layer could have. */
export interface LayerOption {
  /** Name of the config among the choices. */
  readonly choice: string;
  /** Of the layer's weight as it is packed: codes, scales and zero points. */
  readonly bytes: number;
  /** By the measure; 0 where the weight stays float32. */
  readonly cost: number;
}

export interface LayerSensitivity {
  /** Path of the layer, empty where the model is one itself. */
  readonly layer: string;
  /** Path of its weight, which rules of a plan match; of a tied one the first. */
  readonly path: string;
  readonly parameters: number;
  /** In the order of the choices, without those that cannot serve the layer. */
  readonly options: readonly LayerOption[];
}

export interface Sensitivity {
  readonly measure: Measure;
  /** In the order of the model. */
  readonly layers: readonly LayerSensitivity[];
  /** A table: one row per layer, cost and bytes of each choice. */
  toString(): string;
}

export const sensitivityDefaults: SensitivityOptions<unknown> = { ...studyDefaults, measure: "kl" };

/**
 * What each of some configs would cost each layer of a float model, one layer at a time, all others float: where bits are
 * needed, for `allocateBits` or for rules of one's own. Layers are the weights that a plan's default would quantize, those
 * of embeddings among them. `choices` are presets by name, or a list; null, which costs nothing, is float32. A batch is what
 * the model's `forward` takes, unless `forward: (batch) => …` says how logits are made of it; `onLayer` hears of each layer,
 * once a batch by the measures "kl" and "mse". No more than a batch is kept.
 *
 * Throws StageError for a prepared model, without batches or a row in them, for a layer that no batch reaches, which would
 * seem to cost nothing, and where static inputs need calibration that batches do not reach; OptionError for an unknown
 * measure, one by gradients without a `loss`, "kl" of what is no logits, weights, outputs or losses that are not numbers,
 * and batches that run once where static inputs are calibrated by them first. The model is then as it was, as afterwards.
 * Squared gradients for second derivatives: Kim et al., 2023, arXiv:2306.07629; the first order is the score of auto-round,
 * Cheng et al., 2023, arXiv:2309.05516.
 *
 * @example
 * ```ts
 * import { randn, relu, Rng } from "bitgrad";
 * import { Linear, Sequential } from "bitgrad/nn";
 * import { int4WeightOnly, int8WeightOnly, sensitivity } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const model = new Sequential(new Linear(32, 64, { rng }), relu, new Linear(64, 10, { rng }));
 * const { layers } = await sensitivity(model, [randn([16, 32], { rng })], {
 *   choices: { int8: int8WeightOnly(), int4: int4WeightOnly() },
 * });
 * const [{ layer, options: [int8, int4] }] = layers;
 * console.log(layer, int8.bytes, int4.bytes, int8.cost < int4.cost); // 0 2176 1152 true
 * ```
 */
export async function sensitivity<B>(
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options: Partial<SensitivityOptions<B>> & Pick<SensitivityOptions<B>, "choices">,
): Promise<Sensitivity> {
  const op = "sensitivity";
  const read = readOptions<SensitivityOptions<B>>(op, options, sensitivityDefaults);
  checkChoice(op, "measure", read.measure, Object.keys(measures));
  const study = await studyOf(op, model, batches, read);
  await measures[read.measure](study);
  const layers = study.subjects.map(({ layer, path, parameter, candidates }) => ({
    ...{ layer, path, parameters: parameter.size },
    options: candidates.map(({ choice, bytes, cost }) => ({ choice, bytes, cost })),
  }));
  return { measure: read.measure, layers, toString: () => sensitivityTable(layers) };
}

function sensitivityTable(layers: readonly LayerSensitivity[]): string {
  const names = [...new Set(layers.flatMap(({ options }) => options.map(({ choice }) => choice)))];
  const cells = layers.map(({ layer, parameters, options }) => [
    nameOf(layer),
    grouped(parameters),
    ...names.flatMap((name) => {
      const option = options.find(({ choice }) => choice === name);
      return option ? [brief(option.cost), grouped(option.bytes)] : ["", ""];
    }),
  ]);
  return tableOf(["layer", "parameters", ...names.flatMap((name) => [name, "bytes"])], cells, null, 1);
}
