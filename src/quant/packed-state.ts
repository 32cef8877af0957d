/** A prepared model as packed tensors by name, and back. */

import { FormatError, isPlainObject, show } from "../errors.ts";
import { findParameters, namedBuffers } from "../nn/tree.ts";
import { own } from "../storage.ts";
import type { Tensor } from "../tensor.ts";
import { quantizedTransform } from "./plan.ts";
import { dequantize, quantize } from "./quantizer.ts";
import { quantizerNamed } from "./quantizers.ts";
import type { Granularity } from "./scale.ts";

/** `x.codes` and `x.scale` for a quantized parameter x, everything else as it is. */
export interface PackedState {
  readonly tensors: Record<string, Tensor>;
  /** Under "bitgrad.packed": how each quantized parameter is read, and which names are tied to another. */
  readonly metadata: Record<string, string>;
}

interface Entry {
  quantizer?: string;
  granularity?: Granularity;
  shape?: readonly number[];
  tiedTo?: string;
}

const key = "bitgrad.packed";

/** The packed form of a prepared model, for `save` of bitgrad/io. Scales are float16 numbers. */
export function packedState(model: object): PackedState {
  const tensors: Record<string, Tensor> = {};
  const entries: Record<string, Entry> = {};
  const names = new Map<object, string>();
  for (const { path, item } of findParameters(model)) {
    const first = names.get(item);
    if (first !== undefined) {
      entries[path] = { tiedTo: first };
      continue;
    }
    names.set(item, path);
    const quantizer = quantizedTransform(item)?.quantizer;
    if (!quantizer) {
      tensors[path] = own(item.effective().detach());
      continue;
    }
    const { codes, scale, shape } = quantize(item.value, quantizer);
    tensors[`${path}.codes`] = own(codes);
    tensors[`${path}.scale`] = own(scale);
    entries[path] = { quantizer: quantizer.name, granularity: quantizer.granularity, shape };
  }
  for (const [path, buffer] of namedBuffers(model)) tensors[path] = buffer;
  return { tensors, metadata: { [key]: JSON.stringify(entries) } };
}

/** Bytes of a packed state: codes as packed, scales as float16, everything else as float32. */
export function packedBytes({ tensors }: PackedState): number {
  return Object.entries(tensors).reduce((sum, [name, t]) => {
    const each = name.endsWith(".codes") ? 1 : name.endsWith(".scale") ? 2 : 4;
    return sum + t.size * each;
  }, 0);
}

function readEntries(metadata: Record<string, string>): Record<string, Entry | null> {
  let entries: unknown;
  try {
    entries = JSON.parse(metadata[key] ?? "");
  } catch (cause) {
    throw new FormatError(
      `unpackedState: the metadata must describe the packed tensors, got ${show(metadata[key])}`,
      { cause },
    );
  }
  if (!isPlainObject(entries))
    throw new FormatError(`unpackedState: the metadata must be an object, got ${show(entries)}`);
  return entries as Record<string, Entry | null>;
}

/** The float tensors that a packed state stands for, by the model's own names: what `loadStateDict` takes. */
export function unpackedState({ tensors, metadata }: PackedState): Record<string, Tensor> {
  const state = { ...tensors };
  const take = (name: string): Tensor => {
    const t = tensors[name];
    if (!t) throw new FormatError(`unpackedState: a tensor is missing, got no ${show(name)}`);
    delete state[name];
    return t;
  };
  const tied: [name: string, to: string][] = [];
  for (const [name, entry] of Object.entries(readEntries(metadata))) {
    const { quantizer, granularity, shape, tiedTo } = entry ?? {};
    if (tiedTo !== undefined) {
      tied.push([name, tiedTo]);
      continue;
    }
    if (typeof quantizer !== "string" || !Array.isArray(shape) || granularity === undefined) {
      throw new FormatError(
        `unpackedState: an entry must give quantizer, granularity and shape, got ${show(entry)} for ${show(name)}`,
      );
    }
    const packed = { codes: take(`${name}.codes`), scale: take(`${name}.scale`), shape };
    state[name] = dequantize(packed, quantizerNamed(quantizer, granularity));
  }
  for (const [name, to] of tied) {
    if (!state[to])
      throw new FormatError(
        `unpackedState: ${show(name)} is tied to a tensor that is not there, got ${show(to)}`,
      );
    state[name] = state[to];
  }
  return state;
}
