/** The pairs of `scalePairs()` with their parameters, and why factors cannot be written into one. */

import { throughFronts } from "../../codes/fronts.ts";
import { quantizedTransform } from "../../codes/transform.ts";
import { newArray } from "../../dtype.ts";
import { isFunction, OptionError, show } from "../../errors.ts";
import { isParameter, type Parameter } from "../../nn/parameter.ts";
import type { MatrixLayer } from "../../nn/statistics.ts";
import { walk } from "../../nn/tree.ts";
import { type Place, placeIndices, type ScalePair } from "../../nn/units.ts";
import { noGrad } from "../../tape.ts";
import { wrap } from "../../tensor.ts";

/** A parameter of a pair: the channel of every index along the axis, and how many elements each index has in a row. */
export interface Part {
  readonly name: string;
  /** Path of its layer. */
  readonly layer: string;
  readonly owner: object;
  readonly parameter: Parameter;
  readonly axis: number;
  readonly along: Int32Array;
  readonly inner: number;
}

export interface Pair {
  readonly channels: number;
  readonly producer: readonly Part[];
  readonly consumers: readonly Part[];
}

/** Why a method leaves a pair as it is; null where it does not. */
export type Refuses = (pair: Pair) => string | null;

/** Calls `visit` for every element of a part, in order, with its channel. */
export function forElements({ parameter, along, inner }: Part, visit: (i: number, c: number) => void): void {
  for (let i = 0; i < parameter.size; ) {
    for (let at = 0; at < along.length; at++) for (let k = 0; k < inner; k++) visit(i++, along[at]);
  }
}

/** Whether what the columns of a layer multiply is not its input, but what steps make of it. */
const readsSteps = (owner: object, axis: number): boolean =>
  axis === 1 && ((owner as { inputSteps?: readonly object[] }).inputSteps?.length ?? 0) > 0;

const layerOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf(".")));

/** Why factors cannot be written into a part; null where they can. */
export function refusal(part: Part, names: ReadonlyMap<Parameter, readonly string[]>): string | null {
  const { name, parameter, layer, owner, axis } = part;
  if (readsSteps(owner, axis)) return `${show(layer)} has steps in front of its columns`;
  if ((owner as { correction?: unknown }).correction)
    return `${show(layer)} has a correction of its channels as they are`;
  const others = names.get(parameter)!.filter((other) => other !== name);
  if (others.length > 0) return `${show(name)} is ${show(others[0])} too`;
  if (parameter.store) return `${show(name)} lies packed`;
  const quantizer = quantizedTransform(parameter)?.quantizer;
  let learned = false;
  if (quantizer) {
    walk(quantizer, (item) => {
      learned ||= isParameter(item);
      return !learned;
    });
  }
  if (learned) return `the quantizer of ${show(name)} has learned numbers, which fit the weight as it is`;
  return passesFactors(part) ? null : `a transform of ${show(name)} does not pass factors on`;
}

/** What transforms that do not quantize make of a parameter's numbers. */
export function read({ parameter }: Part, values: Float64Array): Float64Array {
  const fronts = parameter.transforms.filter(({ bits }) => bits === undefined);
  if (fronts.length === 0) return values;
  const { shape, dtype } = parameter.value;
  const data = newArray(dtype as "float32" | "float64", values.length);
  data.set(values);
  return noGrad(() => Float64Array.from(throughFronts(wrap(data, shape, dtype), fronts).data));
}

/** Whether what is read of a part is scaled where its numbers are, as masks have it: tried by powers of two. */
function passesFactors(part: Part): boolean {
  const { parameter } = part;
  if (parameter.transforms.every(({ bits }) => bits !== undefined)) return true;
  const values = Float64Array.from(parameter.value.data);
  const scaled = values.slice();
  const wanted = read(part, values).slice();
  forElements(part, (i, c) => {
    const factor = 2 ** ((c % 5) - 2);
    scaled[i] *= factor;
    wanted[i] *= factor;
  });
  const found = read(part, scaled);
  return wanted.every((v, i) => !(Math.abs(found[i] - v) > 1e-6 * Math.abs(v)));
}

/** The declared pairs, checked. */
export function declaredPairs(
  op: string,
  model: object,
  names: ReadonlyMap<string, [Parameter, object]>,
): Pair[] {
  const { scalePairs } = model as Partial<{ scalePairs(): ScalePair[] }>;
  if (!isFunction(scalePairs)) {
    throw new OptionError(
      `${op}: the model must tell by scalePairs() what may be scaled, got ${show(model)} without; models of bitgrad/models do`,
    );
  }
  const declared: unknown = scalePairs.call(model);
  if (!Array.isArray(declared) || declared.length === 0) {
    throw new OptionError(
      `${op}: scalePairs() must list pairs, got ${show(declared)}; there is nothing to scale`,
    );
  }
  return declared.map(({ channels, producer, consumers }: ScalePair) => {
    const partOf = (place: Place): Part => {
      const found = names.get(place.name);
      if (!found) throw new OptionError(`${op}: scalePairs() names no parameter, got ${show(place.name)}`);
      const [parameter, owner] = found;
      const { name, axis } = place;
      const size = parameter.shape[axis] ?? 0;
      const along = new Int32Array(size).fill(-1);
      let count = 0;
      for (let c = 0; c < channels; c++) {
        for (const at of placeIndices(place, c)) {
          along[at] = c;
          count++;
        }
      }
      if (!readsSteps(owner, axis) && (count !== size || along.includes(-1))) {
        throw new OptionError(
          `${op}: the channels of a pair must fill axis ${axis} of ${show(name)}, got ${count} indices for ${size}`,
        );
      }
      const inner = parameter.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
      return { name, layer: layerOf(name), owner, parameter, axis, along, inner };
    };
    return { channels, producer: producer.map(partOf), consumers: consumers.map(partOf) };
  });
}

/** A layer of a pair that tells its input as a matrix, whose columns are those of its weight. */
export interface Reader {
  readonly layer: string;
  readonly owner: MatrixLayer;
  /** The channel of every column. */
  readonly channelOf: Int32Array;
}

/** The first such layer; null where none of the consumers is one. */
export function readerOf({ consumers }: Pair): Reader | null {
  const found = consumers.find(
    ({ axis, owner }) => axis === 1 && isFunction((owner as Partial<MatrixLayer>).inputMatrix),
  );
  if (!found) return null;
  const { layer, owner, along, inner } = found;
  const channelOf = Int32Array.from({ length: along.length * inner }, (_, i) => along[Math.floor(i / inner)]);
  return { layer, owner: owner as MatrixLayer, channelOf };
}

/** The readers of pairs, by path. */
export const readersOf = (pairs: readonly Pair[]): Map<string, MatrixLayer> =>
  new Map(pairs.map((pair) => readerOf(pair)!).map(({ layer, owner }) => [layer, owner]));

/** Of pairs that cannot be scaled by what their consumers are given. */
export const withoutReader: Refuses = (pair) =>
  readerOf(pair) ? null : `${show(pair.consumers[0].layer)} does not tell its input as a matrix`;
