/** What stands in front of a quantizer on a parameter: the weights that it keeps at 0, and whether it is as it was. */

import { undoable } from "../changes.ts";
import { newArray } from "../dtype.ts";
import { OptionError, show } from "../errors.ts";
import { isParameter, type Parameter, type Transform } from "../nn/parameter.ts";
import { walk } from "../nn/tree.ts";
import { visitor } from "../ops/shapes-only.ts";
import { noGrad } from "../tape.ts";
import { isTensor, type Tensor, wrap } from "../tensor.ts";
import type { Quantizer } from "./quantizer.ts";

/** The transforms in front of one of a parameter; all where it is not on it. */
export function frontsOf({ transforms }: Parameter, last: Transform): Transform[] {
  const at = transforms.indexOf(last);
  return at < 0 ? [...transforms] : transforms.slice(0, at);
}

/** What transforms make of a value of a parameter. */
export const throughFronts = (value: Tensor, fronts: readonly Transform[]): Tensor =>
  fronts.reduce((weight, transform) => transform.apply(weight), value);

/**
 * 0 where the transforms have made `weight` of `latent` 0 because a mask wants it so, else 1; null where none has. A
 * transform says by `mask` what it keeps. One that does not is tried: it masks what it makes 0 of what is not 0.
 */
export function maskOfFronts(
  latent: Tensor,
  weight: Tensor,
  fronts: readonly Transform[],
): Uint8Array | null {
  if (fronts.length === 0 || visitor()) return null;
  const mask = new Uint8Array(weight.size).fill(1);
  for (const { mask: given } of fronts) if (given) hide(mask, given, weight);
  if (fronts.some((transform) => transform.mask === undefined)) tryFronts(mask, latent, weight, fronts);
  // A transform behind a mask may have filled what it left. Data is read anew after ops, which may move it.
  const to = weight.data;
  for (let i = 0; i < mask.length; i++) if (to[i] !== 0) mask[i] = 1;
  return mask.includes(0) ? mask : null;
}

function hide(mask: Uint8Array, given: Tensor, { shape }: Tensor): void {
  if (!isTensor(given)) {
    throw new OptionError(`quantize: the mask of a transform must be a tensor or null, got ${show(given)}`);
  }
  const { data } = noGrad(() => given.broadcastTo(shape));
  for (let i = 0; i < mask.length; i++) if (data[i] === 0) mask[i] = 0;
}

function tryFronts(mask: Uint8Array, latent: Tensor, weight: Tensor, fronts: readonly Transform[]): void {
  const [from, to] = [latent.data, weight.data];
  const open: number[] = [];
  for (let i = 0; i < mask.length; i++) {
    if (to[i] !== 0 || mask[i] === 0) continue;
    if (from[i] === 0) open.push(i);
    else mask[i] = 0;
  }
  if (open.length === 0) return;
  // What is 0 by itself may be masked or not: a number in its place tells, smaller than all others, as 0 was.
  const trial = newArray(latent.dtype, from.length);
  trial.set(from);
  const least = smallest(from);
  for (const i of open) trial[i] = least;
  const value = wrap(trial, latent.shape, latent.dtype);
  const [seen, undo] = undoable(() => noGrad(() => throughFronts(value, fronts).data));
  undo();
  for (const i of open) if (seen[i] === 0) mask[i] = 0;
}

/** Half of the smallest magnitude above 0; 1 where all are 0. */
function smallest(numbers: ArrayLike<number>): number {
  let least = Infinity;
  for (let i = 0; i < numbers.length; i++) {
    const size = Math.abs(numbers[i]);
    if (size > 0 && size < least) least = size;
  }
  return least === Infinity ? 1 : Math.fround(least / 2) || least;
}

/** What codes were made of, each with the number of writes to it. */
export type Sources = readonly (readonly [source: object, writes: number])[];

/** The value of a parameter, the transforms in front, and the tensors that these and the quantizer hold as properties. */
export function sourcesOf({ value }: Parameter, fronts: readonly Transform[], quantizer: Quantizer): Sources {
  const sources: [object, number][] = [[value, value.storage.version]];
  for (const front of fronts) sources.push([front, 0]);
  walk([fronts, quantizer], (item) => {
    const held = isParameter(item) ? item.value : item;
    if (isTensor(held)) sources.push([held, held.storage.version]);
    return true;
  });
  return sources;
}

export const sameSources = (a: Sources, b: Sources): boolean =>
  a.length === b.length && a.every(([source, writes], i) => source === b[i][0] && writes === b[i][1]);

/** The parameters of the transforms in front and of the quantizer, which are fixed with the codes. */
export function parametersBeside(fronts: readonly Transform[], quantizer: Quantizer): Parameter[] {
  const found: Parameter[] = [];
  walk([fronts, quantizer], (item) => {
    if (isParameter(item)) found.push(item);
    return true;
  });
  return found;
}
