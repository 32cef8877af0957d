/** What of a model `rotate` can turn: found by what the model says of itself, and checked before anything changes. */

import { powerOfTwoIn } from "../../../kernels/linalg/hadamard.ts";
import { isFunction, OptionError, StageError, show } from "../../errors.ts";
import type { InputStep } from "../../nn/linear.ts";
import type { Parameter } from "../../nn/parameter.ts";
import type { PathPattern } from "../../nn/pattern.ts";
import { matrixLayers } from "../../nn/statistics.ts";
import type { ResidualStream } from "../../nn/stream.ts";
import { type Found, findParameters } from "../../nn/tree.ts";
import type { Place, ScalePair, Units } from "../../nn/units.ts";
import type { Rng } from "../../random/rng.ts";
import { powerOfFourIn } from "./rotations.ts";

export interface RotateOptions {
  /** The states that blocks read and add to, of models that tell of them by `residualStream()`. Default true. */
  residual: boolean;
  /** The values of every head of attention, and the columns of out that read them. Default true. */
  heads: boolean;
  /**
   * Which linear layers get a `Hadamard` among their `inputSteps`: paths, or patterns of `matchPath`; null, the default, for
   * those that end a position-wise network, false for none.
   */
  online: PathPattern | readonly PathPattern[] | false | null;
  /** Draws signs and orders from here. */
  rng: Rng | null;
}

/** What models say of themselves. */
export interface Told {
  residualStream?(): ResidualStream | null;
  scalePairs?(): ScalePair[];
  units?(): Units[];
  untie?(): void;
}

/** What a linear layer has beside its weight. */
export interface Owner {
  bias?: Parameter | null;
  inputSteps?: InputStep[];
  correction?: unknown;
  inputQuantizer?: unknown;
}

export type Parts = ReadonlyMap<string, Found<Parameter>>;

/** All that is to be turned. */
export interface Work {
  readonly stream: ResidualStream | null;
  readonly heads: readonly ScalePair[];
  /** Paths of the layers that are rotated online. */
  readonly online: readonly string[];
}

const op = "rotate";

export const partsOf = (model: object): Parts =>
  new Map(findParameters(model).map((found) => [found.path, found]));

export const weightName = (layer: string): string => (layer === "" ? "weight" : `${layer}.weight`);

export const readersOf = (stream: ResidualStream): string[] => stream.norms.flatMap(({ readers }) => readers);

function refuse(why: string, got: unknown, hint: string): never {
  throw new OptionError(`${op}: ${why}, got ${show(got)}; ${hint}`);
}

type Chosen = Pick<RotateOptions, "residual" | "heads" | "online">;

export function workOf(model: object, { residual, heads, online }: Chosen): Work {
  const told = model as Told;
  const stream = residual ? (told.residualStream?.() ?? null) : null;
  if (residual && !stream) {
    const hint = "leave the states between blocks as they are by { residual: false }";
    refuse("option residual needs a model that tells of such states by residualStream()", residual, hint);
  }
  const work = {
    stream,
    heads: heads ? headPairs(model) : [],
    online: onlineLayers(model, online),
  };
  if (stream || work.heads.length + work.online.length > 0) return work;
  return refuse("needs something to rotate", { heads, online }, "name linear layers by { online }");
}

export const headPairs = (model: object): ScalePair[] =>
  ((model as Told).scalePairs?.() ?? []).filter(({ between }) => between === "attention");

function onlineLayers(model: object, online: RotateOptions["online"]): string[] {
  if (online === false) return [];
  if (online !== null) return [...matrixLayers(op, model, online).keys()];
  const units = (model as Told).units?.() ?? [];
  const places = units.filter(({ kind }) => kind === "neurons").flatMap(({ places }) => places);
  return places.filter(({ axis }) => axis === 1).map(({ name }) => name.replace(/\.?weight$/, ""));
}

/** Throws unless all that is to be turned can be; returns whether the head must first get a table of its own. */
export function check(model: object, parts: Parts, { stream, heads, online }: Work): boolean {
  const names = new Map<Parameter, string[]>();
  for (const { path, item } of parts.values()) names.set(item, [...(names.get(item) ?? []), path]);
  if (stream) checkBlock("the residual stream", stream.features, stream.centered, "{ residual: false }");
  for (const { channels, producer, consumers } of heads) {
    checkBlock(`the heads of ${show(producer[0].name)}`, consumers[0].size, false, "{ heads: false }");
    for (const place of [...producer, ...consumers]) checkPlace(parts, place, channels);
  }
  for (const layer of online) checkOnline(parts, layer);
  for (const place of stream?.writers ?? []) checkPlace(parts, place, stream!.features);
  for (const reader of stream ? readersOf(stream) : []) checkReader(parts, reader, stream!.features);
  const norms = (stream?.norms ?? []).flatMap(({ name }) => [`${name}.weight`, `${name}.bias`]);
  for (const name of norms) if (parts.has(name)) checkParameter(parts.get(name)!);
  const places = heads.flatMap(({ producer, consumers }) => [...producer, ...consumers]);
  const writers = stream?.writers ?? [];
  const readers = (stream ? readersOf(stream) : []).map(weightName);
  const tables = writers.filter(({ axis }) => axis === 1).map(({ name }) => name);
  const turned = [...[...places, ...writers].map(({ name }) => name), ...online.map(weightName), ...readers];
  let tied = false;
  for (const name of [...turned, ...norms]) {
    const all = (parts.has(name) && names.get(parts.get(name)!.item)) || [];
    if (all.length < 2) continue;
    const head = readers.some((reader) => all.includes(reader));
    const table = head && all.length === 2 && tables.some((own) => all.includes(own));
    if (!table || !isFunction((model as Told).untie)) {
      refuse("two parts of the model share a weight", all, "give each its own");
    }
    tied = true;
  }
  return tied;
}

function checkBlock(what: string, features: number, centered: boolean, without: string): void {
  const block = centered ? powerOfFourIn(features) : powerOfTwoIn(features);
  if (block > 1) return;
  const number = centered ? "a number of features that 4 divides" : "an even number of features";
  refuse(`${what} must have ${number}`, features, `leave it out by ${without}`);
}

/** Throws StageError where a parameter is quantized, OptionError where it is masked, corrected, packed or not finite. */
function checkParameter({ path, item, owner }: Found<Parameter>): void {
  const { inputQuantizer, correction } = owner as Owner;
  if (inputQuantizer || item.transforms.some(({ bits }) => bits !== undefined)) {
    throw new StageError(`${op}: needs a float model, got ${show(path)} prepared; rotate before prepare`);
  }
  const { transforms, store, value } = item;
  if (transforms.length > 0)
    refuse("no transform may stand on what is turned", path, "rotate before it is masked");
  if (correction) refuse("no correction may stand on what is turned", path, "rotate before it is added");
  if (store) refuse("weights must be floats", path, "leave its layer out");
  const odd = value.data.findIndex((number: number | bigint) => !Number.isFinite(Number(number)));
  if (odd >= 0) refuse(`weights must be finite, and ${path} is not`, value.data[odd], "mend the weight");
}

function found(parts: Parts, name: string): Found<Parameter> {
  return parts.get(name) ?? refuse("no parameter has the name that the model tells", name, "mend its method");
}

function checkPlace(parts: Parts, { name, axis, repeat }: Place, channels: number): void {
  const part = found(parts, name);
  const { shape } = part.item;
  if (shape.length > 2 || axis >= shape.length || shape[axis] !== repeat * channels) {
    refuse(
      `${name} must have ${repeat * channels} features along axis ${axis}`,
      shape,
      "mend what the model tells",
    );
  }
  checkParameter(part);
}

/** A layer whose columns are turned: they must be those of its input. */
function checkColumns(part: Found<Parameter>): void {
  const { inputSteps } = part.owner as Owner;
  if (inputSteps?.length)
    refuse("no steps may stand in front of what is turned", part.path, "rotate first, and once");
  checkParameter(part);
}

function checkReader(parts: Parts, layer: string, features: number): void {
  const part = found(parts, weightName(layer));
  checkPlace(parts, { name: part.path, axis: 1, repeat: 1, size: 1 }, features);
  checkColumns(part);
  const { bias } = part.owner as Owner;
  if (bias) checkParameter(found(parts, part.path.replace(/weight$/, "bias")));
}

function checkOnline(parts: Parts, layer: string): void {
  const part = found(parts, weightName(layer));
  if (!("inputSteps" in part.owner)) refuse("needs linear layers", layer, "leave it out of { online }");
  checkBlock(`the input of layer ${show(layer)}`, part.item.shape[1], false, "{ online }");
  checkColumns(part);
}
