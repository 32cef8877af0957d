/** The quantized weights of a model one by one, each put on and taken off with the quantized inputs before it. */

import type { SpecInputQuantizer } from "../../codes/input-quantizer.ts";
import { packedWeight } from "../../codes/packable.ts";
import { quantizeBy } from "../../codes/quantizer.ts";
import { type QuantizedTransform, quantizedTransform } from "../../codes/transform.ts";
import { synchronous } from "../../errors.ts";
import type { InputQuantizer } from "../../nn/packing.ts";
import type { Parameter, Transform } from "../../nn/parameter.ts";
import { findParameters } from "../../nn/tree.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";

/** A layer that can quantize its input. */
export interface InputLayer {
  inputQuantizer: InputQuantizer | null;
}

export interface Part {
  /** Path of the weight; of a tied one the first. */
  readonly path: string;
  /** Paths of what holds it. */
  readonly owners: readonly string[];
  readonly parameter: Parameter;
  readonly transform: QuantizedTransform;
  /** All transforms of the weight. */
  readonly transforms: readonly Transform[];
  readonly inputs: ReadonlyMap<InputLayer, SpecInputQuantizer>;
}

/** "blocks.0.query" of "blocks.0.query.weight". */
export const ownerPath = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf(".")));

type Growing = Part & { readonly owners: string[]; readonly inputs: Map<InputLayer, SpecInputQuantizer> };

/** The quantized weights of a prepared model, as it is now. */
export function partsOf(model: object): Part[] {
  const parts = new Map<
    Parameter,
    Part & { owners: string[]; inputs: Map<InputLayer, SpecInputQuantizer> }
  >();
  for (const { item, path, owner } of findParameters(model)) {
    const transform = quantizedTransform(item);
    if (!transform) continue;
    const part: Growing = parts.get(item) ?? {
      ...{ path, parameter: item, transform, transforms: [...item.transforms] },
      owners: [],
      inputs: new Map(),
    };
    parts.set(item, part);
    part.owners.push(ownerPath(path));
    const { inputQuantizer } = owner as Partial<InputLayer>;
    if (inputQuantizer) part.inputs.set(owner as InputLayer, inputQuantizer as SpecInputQuantizer);
  }
  return [...parts.values()];
}

/** Runs `fn` with parts put on a model that they are off of, then takes them off. */
export function whileOn<R>(parts: readonly Part[], fn: () => R): R {
  const weights = parts.map(({ parameter }) => [parameter.transforms, [...parameter.transforms]] as const);
  const layers = parts.flatMap(({ inputs }) =>
    [...inputs.keys()].map((layer) => [layer, layer.inputQuantizer] as const),
  );
  for (const { parameter, transforms, inputs } of parts) {
    parameter.transforms.splice(0, parameter.transforms.length, ...transforms);
    for (const [layer, quantizer] of inputs) layer.inputQuantizer = quantizer;
  }
  try {
    return synchronous("whileOn", fn());
  } finally {
    for (const [transforms, before] of weights) transforms.splice(0, transforms.length, ...before);
    for (const [layer, before] of layers) layer.inputQuantizer = before;
  }
}

/** What the weight of a part takes as it is packed: codes, scales and zero points, in bytes. */
export function bytesOf({ transform }: Part): number {
  return noGrad(() =>
    scope(() => {
      const held = transform.codes;
      if (held) return packedWeight(held).byteLength;
      const latent = transform.latent();
      return packedWeight(quantizeBy(latent, transform.quantizer, { mask: transform.maskOf(latent) }))
        .byteLength;
    }),
  );
}

/** What the weight of a part is before it is quantized, and by how much the values of its codes differ from that. */
export function deltaOf({ transform }: Part): { latent: Float64Array; delta: Float64Array } {
  return noGrad(() =>
    scope(() => {
      const before = transform.latent();
      const latent = Float64Array.from(before.data);
      const delta = Float64Array.from(transform.apply(before).data, (value, i) => value - latent[i]);
      return { latent, delta };
    }),
  );
}
