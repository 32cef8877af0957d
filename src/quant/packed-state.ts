/** A prepared model as packed tensors by name, and back. */

import { FormatError, isPlainObject, show } from "../errors.ts";
import { findParameters, namedBuffers } from "../nn/tree.ts";
import { packCodes, packedBytes as rowBytes, unpackCodes } from "../packed/codes.ts";
import { sizeOf } from "../shape.ts";
import { own } from "../storage.ts";
import type { Tensor } from "../tensor.ts";
import { wrap } from "../tensor.ts";
import { dequantize } from "./contract.ts";
import { quantizedTransform } from "./plan.ts";
import { quantizeBy } from "./quantizer.ts";
import { type SpecOptions, spec } from "./spec.ts";

/** `x.codes` and `x.scale` for a quantized parameter x, everything else as it is. */
export interface PackedState {
  readonly tensors: Record<string, Tensor>;
  /** Under "bitgrad.packed": how each quantized parameter is read, and which names are tied to another. */
  readonly metadata: Record<string, string>;
}

interface Entry {
  spec?: Partial<SpecOptions>;
  shape?: readonly number[];
  tiedTo?: string;
}

const key = "bitgrad.packed";

/** (rows, n) of a shape packed along its last axis. */
const rowsOf = (shape: readonly number[]): [rows: number, n: number] => [
  sizeOf(shape.slice(0, -1)),
  shape[shape.length - 1],
];

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
    const { codes, scale, shape, spec } = quantizeBy(item.value, quantizer);
    const { qmin, qmax: _, ...options } = spec;
    const [rows, n] = rowsOf(shape);
    const packed = packCodes(codes.data as Int8Array, rows, n, { bits: spec.bits, signed: qmin < 0 });
    tensors[`${path}.codes`] = own(wrap(packed, [rows, rowBytes(n, spec.bits)], "uint8"));
    tensors[`${path}.scale`] = own(scale);
    entries[path] = { spec: options, shape };
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
    const { spec: options, shape, tiedTo } = entry ?? {};
    if (tiedTo !== undefined) {
      tied.push([name, tiedTo]);
      continue;
    }
    if (!isPlainObject(options) || !Array.isArray(shape)) {
      throw new FormatError(
        `unpackedState: an entry must give spec and shape, got ${show(entry)} for ${show(name)}`,
      );
    }
    const read = spec(options);
    const [rows, n] = rowsOf(shape);
    const signed = read.qmin < 0;
    const codes = unpackCodes(take(`${name}.codes`).data as Uint8Array, rows, n, { bits: read.bits, signed });
    state[name] = dequantize({
      codes: signed ? wrap(codes as Int8Array, shape, "int8") : wrap(codes as Uint8Array, shape, "uint8"),
      scale: take(`${name}.scale`),
      zeroPoint: null,
      spec: read,
      shape,
    });
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
