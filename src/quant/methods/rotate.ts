/** rotate: outliers are spread over all features by rotations that cancel, before a model is quantized. */

import { powerOfTwoIn } from "../../../kernels/linalg/hadamard.ts";
import { newArray } from "../../dtype.ts";
import { readOptions } from "../../errors.ts";
import { Hadamard, randomSigns } from "../../nn/hadamard.ts";
import { Parameter } from "../../nn/parameter.ts";
import type { ResidualStream } from "../../nn/stream.ts";
import type { Rng } from "../../random/rng.ts";
import { wrap } from "../../tensor.ts";
import {
  check,
  headPairs,
  type Owner,
  type Parts,
  partsOf,
  type RotateOptions,
  readersOf,
  type Told,
  weightName,
  workOf,
} from "./rotatable.ts";
import { centeredRotation, edit, signedRotation, turn } from "./rotations.ts";

/** Moves gains and biases of normalisations into the layers that read them. */
function foldNorms(parts: Parts, { norms }: ResidualStream): void {
  for (const { name, readers } of norms) {
    const gain = parts.get(`${name}.weight`)?.item;
    const shift = parts.get(`${name}.bias`)?.item;
    const shifts = shift?.value.data.some((number: number | bigint) => Number(number) !== 0);
    for (const reader of readers) {
      const { item: weight, owner } = parts.get(weightName(reader))!;
      if (shift && shifts) addShift(owner as Owner, weight, shift);
      if (gain) scaleColumns(weight, gain);
    }
    if (gain) edit(gain, (data) => data.fill(1));
    if (shift) edit(shift, (data) => data.fill(0));
  }
}

/** bias + weight · shift, with a bias of its own for a layer that has none. */
function addShift(owner: Owner, weight: Parameter, shift: Parameter): void {
  const [rows, columns] = weight.shape;
  if (!owner.bias) {
    const { dtype } = weight.value;
    owner.bias = new Parameter(wrap(newArray(dtype, rows), [rows], dtype));
    owner.bias.trainable = weight.trainable;
  }
  const { data: w } = weight.value;
  const { data: b } = shift.value;
  edit(owner.bias, (data) => {
    for (let i = 0; i < w.length; i++) data[Math.floor(i / columns)] += Number(w[i]) * Number(b[i % columns]);
  });
}

function scaleColumns(weight: Parameter, gain: Parameter): void {
  const { data: a } = gain.value;
  edit(weight, (data) => {
    for (let i = 0; i < data.length; i++) data[i] *= Number(a[i % a.length]);
  });
}

function turnStream(parts: Parts, stream: ResidualStream, rng: Rng | null): void {
  const { features, writers, centered } = stream;
  const rotation = centered
    ? centeredRotation(features, rng)
    : signedRotation(randomSigns(features, rng), powerOfTwoIn(features));
  const columns = readersOf(stream).map((reader) => ({
    name: weightName(reader),
    axis: 1,
    repeat: 1,
    size: 1,
  }));
  for (const place of [...writers, ...columns]) turn(parts.get(place.name)!.item, place, features, rotation);
}

/**
 * Rotates a float model before it is prepared, in evaluation the same function of fewer outliers: what is large in one
 * feature is spread over many, so that few bits serve weights and inputs better. Random Hadamard rotations, QuaRot's
 * (Ashkboos et al., 2024, arXiv:2404.00456), that cancel: of the residual stream of pre-norm models, whose normalisations'
 * gains and biases move into the layers that read them, and whose head gets a table of its own; of the values of each head;
 * and online, computed as the model runs, in front of the layers that end a position-wise network (a `Hadamard` among
 * `inputSteps`). LayerNorm stays what it is: rotations that keep the mean pass it, so that the mean is not folded. Features
 * whose number is no power of two are rotated in blocks of the largest one that divides them, a power of four with
 * LayerNorm. Post-norm models have no such stream: `{ residual: false }` rotates the rest. A state is from then on that of a
 * model that was rotated, and `units()` and `scalePairs()` leave out what it stands between. Rejects with StageError for a
 * prepared model, OptionError where there is nothing to rotate, for an odd number of features, and for weights that are
 * shared, masked or not finite; the model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { Llama } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 * import { int4Dynamic, plan, prepare, rotate } from "bitgrad/quant";
 *
 * const model = evaluate(new Llama({ vocabulary: 50, context: 32, dim: 16, layers: 2, heads: 2, feedForward: 48 }));
 * const before = model.forward([[1, 2, 3]]);
 * await rotate(model, { rng: new Rng(1) });
 * console.log(model.forward([[1, 2, 3]]).sub(before).abs().max().item() < 1e-5); // true
 * console.log(model.blocks[0].mlp.down.inputSteps.length, model.config.tied); // 1 false
 * prepare(model, plan({ default: int4Dynamic() }));
 * ```
 */
export async function rotate<M extends object>(model: M, options?: Partial<RotateOptions>): Promise<M> {
  const read = readOptions<RotateOptions>("rotate", options, {
    residual: true,
    heads: true,
    online: null,
    rng: null,
  });
  const given = partsOf(model);
  const work = workOf(model, read);
  const { rng } = read;
  const { stream, online } = work;
  if (check(model, given, work)) (model as Told).untie!();
  if (stream) foldNorms(partsOf(model), stream);
  // Values may have a bias by now that they had not.
  const parts = partsOf(model);
  const heads = read.heads ? headPairs(model) : [];
  if (stream) turnStream(parts, stream, rng);
  for (const { channels, producer, consumers } of heads) {
    const rotation = signedRotation(randomSigns(channels, rng), powerOfTwoIn(consumers[0].size));
    for (const place of [...producer, ...consumers])
      turn(parts.get(place.name)!.item, place, channels, rotation);
  }
  for (const layer of online) {
    const { item, owner } = parts.get(weightName(layer))!;
    const rotation = new Hadamard(item.shape[1], { rng });
    turn(
      item,
      { name: layer, axis: 1, repeat: 1, size: 1 },
      item.shape[1],
      signedRotation(rotation.signs!.data as Int8Array, rotation.block),
    );
    (owner as Owner).inputSteps = [rotation];
  }
  return model;
}
