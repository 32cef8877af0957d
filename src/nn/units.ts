/** What a model says of its parameters: which channels may be scaled against one another, by path and axis. */

import { isPlainObject, OptionError, show } from "../errors.ts";
import type { Parameter } from "./parameter.ts";
import { checkSizes } from "./sizes.ts";

/**
 * Where the channels of a pair lie along an axis of one parameter: `repeat` indices for each, taken by turns within every
 * `size` channels. Channel c has the indices (⌊c/size⌋·repeat + j)·size + c mod size for every j below `repeat`.
 */
export interface Place {
  /** Path of the parameter in the model. */
  readonly name: string;
  readonly axis: number;
  readonly repeat: number;
  readonly size: number;
}

/**
 * Channels that one part of a model gives and others read, and nothing else does: with the producer times s and the
 * consumers divided by s, channel by channel, the model computes the same function. For SmoothQuant (Xiao et al., 2022,
 * arXiv:2211.10438), AWQ (Lin et al., 2023, arXiv:2306.00978) and cross-layer equalization (Nagel et al., 2019,
 * arXiv:1906.04721).
 */
export interface ScalePair {
  readonly channels: number;
  /** Gains or rows that make the channels, and their biases. */
  readonly producer: readonly Place[];
  /** Columns of every weight that reads the channels. */
  readonly consumers: readonly Place[];
  /**
   * What channels go through on the way: nothing but a change of layout, a ReLU, which wants factors above 0, the product
   * with a gate that is not scaled, or the weighted mean over positions of attention.
   */
  readonly between: "nothing" | "relu" | "gate" | "attention";
}

/**
 * The indices along `place.axis` that belong to channel `index`. Throws OptionError for what is no place, and for an index
 * that is no integer from 0 on.
 *
 * @example
 * // Two key heads of 4 features, each read by 2 query heads: feature 5 is the second of head 1.
 * placeIndices({ name: "out.weight", axis: 1, repeat: 2, size: 4 }, 5); // [9, 13]
 */
export function placeIndices(place: Place, index: number): number[] {
  if (!isPlainObject(place)) {
    throw new OptionError(`placeIndices: place must be one of scalePairs(), got ${show(place)}`);
  }
  const { repeat, size } = place;
  checkSizes("placeIndices", { repeat, size });
  if (!Number.isSafeInteger(index) || index < 0) {
    throw new OptionError(`placeIndices: index must be an integer from 0 on, got ${show(index)}`);
  }
  const turn = index % size;
  const first = ((index - turn) / size) * repeat;
  return Array.from({ length: repeat }, (_, j) => (first + j) * size + turn);
}

type Layout = Partial<Pick<Place, "repeat" | "size">>;

/** The outputs of a layer: rows of its weight, or gains of a normalisation, and the bias. None without a weight. */
export function outputs(
  name: string,
  { weight, bias }: { readonly weight: Parameter | null; readonly bias?: Parameter | null },
  { repeat = 1, size = 1 }: Layout = {},
): Place[] {
  if (!weight) return [];
  const rows = { axis: 0, repeat, size };
  const places = [{ name: `${name}.weight`, ...rows }];
  return bias ? [...places, { name: `${name}.bias`, ...rows }] : places;
}

/** The inputs of a layer: columns of its weight. */
export const inputs = (name: string, { repeat = 1, size = 1 }: Layout = {}): Place => ({
  name: `${name}.weight`,
  axis: 1,
  repeat,
  size,
});

/** A pair, or none where the producer has nothing to scale. */
export const scalePair = (
  channels: number,
  producer: readonly Place[],
  between: ScalePair["between"],
  consumers: readonly Place[],
): ScalePair[] => (producer.length > 0 ? [{ channels, producer, consumers, between }] : []);

const within = (path: string, places: readonly Place[]): Place[] =>
  places.map((place) => ({ ...place, name: `${path}.${place.name}` }));

/** The pairs of a part, by their names in the whole. */
export const pairsOf = (path: string, part: { scalePairs(): ScalePair[] }): ScalePair[] =>
  part.scalePairs().map((pair) => ({
    ...pair,
    producer: within(path, pair.producer),
    consumers: within(path, pair.consumers),
  }));

/** The pairs of every part of a list. */
export const pairsOfAll = (path: string, parts: readonly { scalePairs(): ScalePair[] }[]): ScalePair[] =>
  parts.flatMap((part, i) => pairsOf(`${path}.${i}`, part));
