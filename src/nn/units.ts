/** What a model says of its parameters by path and axis: channels that may be scaled, and units that may be taken out. */

import { isPlainObject, OptionError, show } from "../errors.ts";
import type { Parameter } from "./parameter.ts";
import { checkSizes } from "./sizes.ts";

/**
 * Where channels or units lie along an axis of one parameter: `repeat` indices for each, taken by turns within every `size`
 * of them. Channel c has the indices (⌊c/size⌋·repeat + j)·size + c mod size for every j below `repeat`.
 */
export interface Place {
  /** Path in the model of the parameter or, among places of units, of the buffer. */
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
 * Parts of one kind in one layer, each of which may be taken out with its rows and columns while one stays: the model
 * without it is that of a smaller `config` and computes what this one does with those rows and columns 0. What more than one
 * part of the model shares, as states between blocks, is of no unit. Heads of attention: Michel et al., 2019,
 * arXiv:1905.10650; neurons: Hou et al., 2020, arXiv:2004.04037; channels: Li et al., 2017, arXiv:1608.08710.
 */
export interface Units {
  /** Path of the layer or block that has them; "" for the model itself. */
  readonly name: string;
  /** "heads" are key heads, each with all the query heads that share it. */
  readonly kind: "heads" | "neurons" | "channels";
  readonly count: number;
  /** All that goes with a unit: rows, biases, gains, running statistics, and columns of what reads it. */
  readonly places: readonly Place[];
  /** Sizes of `config` that follow from their count: as many per unit, by key, with dots where one lies within another. */
  readonly sizes: Readonly<Record<string, number>>;
  /** Which of the sizes per layer in `config` are theirs; null where it has one number. */
  readonly layer: number | null;
  /** Values that a smaller `config` must name, since their defaults follow from the count: the size of a head. */
  readonly keeps: Readonly<Record<string, number>>;
}

/**
 * The indices along `place.axis` that belong to channel or unit `index`. Throws OptionError for what is no place, and for
 * an index that is no integer from 0 on.
 *
 * @example
 * ```ts
 * import { placeIndices } from "bitgrad/nn";
 *
 * // Two key heads of 4 features, each read by 2 query heads: feature 5 is the second of head 1.
 * console.log(placeIndices({ name: "out.weight", axis: 1, repeat: 2, size: 4 }, 5)); // [9, 13]
 * ```
 */
export function placeIndices(place: Place, index: number): number[] {
  if (!isPlainObject(place)) {
    throw new OptionError(`placeIndices: place must be one of scalePairs() or units(), got ${show(place)}`);
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

/** What a batch norm keeps of every channel. */
export const normPlaces = (
  name: string,
  norm: { readonly weight: Parameter | null; readonly bias: Parameter | null },
): Place[] => [
  ...outputs(name, norm),
  ...["runningMean", "runningVar"].map((buffer) => ({
    name: `${name}.${buffer}`,
    axis: 0,
    repeat: 1,
    size: 1,
  })),
];

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

/** Places of a part, by their names in the whole. */
export const within = (path: string, places: readonly Place[]): Place[] =>
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

/** The units of a part, by their names in the whole; `sizes` gives the names of its sizes there, null for none. */
export const unitsOf = (
  path: string,
  part: { units(): Units[] },
  layer: number | null = null,
  sizes: Readonly<Record<string, string | null>> = {},
): Units[] =>
  part.units().map((units) => ({
    ...units,
    name: units.name === "" ? path : `${path}.${units.name}`,
    places: within(path, units.places),
    sizes: Object.fromEntries(
      Object.entries(units.sizes).flatMap(([key, each]) => {
        const name = sizes[key] === undefined ? key : sizes[key];
        return name === null ? [] : [[name, each]];
      }),
    ),
    layer: layer ?? units.layer,
  }));

/** The units of every part of a list, whose sizes are those of its layers. */
export const unitsOfAll = (
  path: string,
  parts: readonly { units(): Units[] }[],
  sizes: Readonly<Record<string, string | null>> = {},
): Units[] => parts.flatMap((part, i) => unitsOf(`${path}.${i}`, part, i, sizes));
