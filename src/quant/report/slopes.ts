/** Gradients of a loss to the weights and inputs of layers, without a trace in the model. */

import { alongAxis } from "../../codes/integer.ts";
import { type FloatArray, isFloat } from "../../dtype.ts";
import { OptionError, show, synchronous } from "../../errors.ts";
import { whileEvaluating } from "../../nn/modes.ts";
import type { InputQuantizer, WeightedLayer } from "../../nn/packing.ts";
import type { Parameter } from "../../nn/parameter.ts";
import { zeros } from "../../ops/create.ts";
import { scope } from "../../storage.ts";
import { gradients, lastNode, withRecording } from "../../tape.ts";
import { isTensor, type Tensor, wrap } from "../../tensor.ts";
import { unchanged } from "./outputs.ts";
import type { InputLayer } from "./parts.ts";

/** One call of a layer: its input, a leaf that was added to it, and the axis of its features. */
export interface ProbedCall {
  readonly layer: InputLayer & WeightedLayer;
  readonly x: Tensor;
  readonly leaf: Tensor;
  readonly axis: number;
}

export interface Slopes {
  /** How many losses the batch has. */
  readonly losses: number;
  readonly calls: readonly ProbedCall[];
  /**
   * The gradient of Σ seed·losses to each weight as layers read it, then to each input of `calls`; undefined where there is
   * none. `keep` says that another follows.
   */
  backward(seed: Float64Array, keep: boolean): readonly (FloatArray | undefined)[];
}

/** Stands in front of a layer's product and adds a leaf of zeros to the input, whose gradient is the input's. */
function probe(layer: ProbedCall["layer"], calls: ProbedCall[]): InputQuantizer {
  return {
    training: false,
    run(given, { weight, bias }, product, axis) {
      const x = given.detach();
      const leaf = leafOf(x);
      calls.push({ layer, x, leaf, axis });
      const sums = product(given.add(leaf), weight.effective());
      return bias ? sums.add(alongAxis(bias.effective(), sums, axis)) : sums;
    },
    toPacked() {
      throw new OptionError("pack: a probe has no packed form, got one; pack after the measure");
    },
  };
}

function checkLosses(op: string, losses: unknown, at: string): Tensor {
  if (!isTensor(losses) || !isFloat(losses.dtype) || losses.size === 0) {
    throw new OptionError(`${op}: loss must return a float tensor of a loss, got ${show(losses)} in ${at}`);
  }
  const odd = losses.data.find((value) => !Number.isFinite(value));
  if (odd !== undefined) throw new OptionError(`${op}: losses must be finite, got ${odd} in ${at}`);
  if (losses.requiresGrad) return losses;
  throw new OptionError(
    `${op}: the loss must depend on the weights, got one without a gradient in ${at}; compute it by the model itself`,
  );
}

/**
 * Runs the loss of a batch in evaluation, with leaves of zeros added to weights, and to the inputs of layers, and hands its
 * gradients to `use`. Gradients of the model's own parameters are not touched.
 */
export function withSlopes(
  op: string,
  model: object,
  weights: readonly Parameter[],
  layers: readonly InputLayer[],
  loss: () => unknown,
  at: string,
  use: (slopes: Slopes) => void,
): void {
  const before = layers.map((layer) => layer.inputQuantizer);
  const calls: ProbedCall[] = [];
  const leaves = new Map<Parameter, Tensor>();
  const transforms = weights.map((parameter) => ({
    apply: (weight: Tensor): Tensor => weight.add(leaves.get(parameter)!),
  }));
  const run = (): void => {
    const floor = lastNode();
    for (const parameter of weights) leaves.set(parameter, leafOf(parameter.value));
    const losses = checkLosses(
      op,
      unchanged(() => synchronous(op, loss(), "loss")),
      at,
    );
    const backward: Slopes["backward"] = (seed, keep) => {
      const given = wrap(seed, losses.shape, "float64").to(losses.dtype);
      const targets = [...leaves.values(), ...calls.map(({ leaf }) => leaf)];
      const found = gradients([losses], [given], targets, { createGraph: false, retainGraph: keep }, floor);
      return found.map((grad) => grad?.data as FloatArray | undefined);
    };
    use({ losses: losses.size, calls, backward });
  };
  for (const [i, parameter] of weights.entries()) parameter.transforms.push(transforms[i]);
  for (const layer of layers) layer.inputQuantizer = probe(layer as ProbedCall["layer"], calls);
  try {
    whileEvaluating(model, () => withRecording(true, () => scope(run)));
  } finally {
    for (const [i, { transforms: list }] of weights.entries())
      list.splice(list.lastIndexOf(transforms[i]), 1);
    for (const [i, layer] of layers.entries()) layer.inputQuantizer = before[i];
  }
}

const leafOf = ({ shape, dtype }: Tensor): Tensor =>
  zeros(shape, { dtype: dtype as "float32", requiresGrad: true });
