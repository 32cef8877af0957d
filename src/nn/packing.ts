/** How layers become packed ones: each by its own `toPacked`, with what they share packed once. */

import { OptionError, show } from "../errors.ts";
import { packCodes } from "../packed/file/codes.ts";
import { PackedWeight } from "../packed/file/weight.ts";
import { functionNames } from "../packed/layers/function-names.ts";
import type { PackedInput } from "../packed/products/input.ts";
import { sizeOf } from "../shape.ts";
import { noGrad } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { type Parameter, transformed, transformsOf } from "./parameter.ts";
import { type Store, stored } from "./store.ts";

/** A layer that is a product of its input and its weight, plus its bias. */
export interface WeightedLayer {
  readonly weight: Parameter;
  readonly bias?: Parameter | null;
}

/** Linear in both, and made of ops; it is called with floats, with integers, and with double precision. */
export type BilinearProduct = (x: Tensor, weight: Tensor) => Tensor;

/** Makes codes of a layer's input, and computes the layer with them. */
export interface InputQuantizer {
  training: boolean;
  /**
   * What `layer.forward(x)` is: `product(x, weight)` plus the bias. The input's features, and in the result the outputs that
   * axis 0 of the weight gives, lie along `axis`; where it is the last, −1, every position is quantized for itself, else
   * every sample, an index of axis 0. Of a matrix with scales by groups of its columns `product` is given those, with as
   * many features of x.
   */
  run(x: Tensor, layer: WeightedLayer, product: BilinearProduct, axis: number): Tensor;
  /** Throws StageError before its scales are fixed. */
  toPacked(): PackedInput;
}

/** What a layer's packed twin is made of: its kind, and fields of weights, numbers and further layers (docs/formats.md). */
export interface PackedFields {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** Whether a matrix of codes is to be packed as the float32 values they stand for. */
export type StaysFloat = (codes: PackedWeight) => boolean;

/** A method that the layer, or a class of it, puts in the place of one that its inherited `toPacked` was written for. */
function overridden(layer: object): string | undefined {
  const names = new Set<string>();
  for (let at: object | null = layer; at !== null; at = Object.getPrototypeOf(at)) {
    const owner = at;
    if (Object.hasOwn(at, "toPacked"))
      return [...names].find((name) => typeof Reflect.get(owner, name, layer) === "function");
    // What taps put on a layer is not enumerable: it does what the layer does.
    for (const name of at === layer ? Object.keys(at) : Object.getOwnPropertyNames(at)) names.add(name);
    names.delete("constructor");
  }
  return undefined;
}

/** A layer, as far as `sequence` asks. */
interface Forward {
  forward(x: Tensor, ...rest: never[]): unknown;
}

const isForward = (step: Forward | PackedFields): step is Forward => typeof step?.forward === "function";

/**
 * Passed down by `pack`: layers ask it for their weights and for the layers below them.
 *
 * @example
 * ```ts
 * import type { Tensor } from "bitgrad";
 * import { Linear, type PackedFields, type Packer } from "bitgrad/nn";
 * import { pack } from "bitgrad/quant";
 *
 * class Twice {
 *   inner = new Linear(4, 4);
 *   forward(x: Tensor): Tensor {
 *     return this.inner.forward(this.inner.forward(x));
 *   }
 *   toPacked(packer: Packer): PackedFields {
 *     return packer.sequence(this.inner, this.inner);
 *   }
 * }
 * console.log(pack(new Twice()).forward({ data: new Float32Array(4), shape: [1, 4] }).shape); // [1, 4]
 * ```
 */
export class Packer {
  private readonly weights = new Map<Parameter, PackedWeight>();
  private readonly staysFloat: StaysFloat;

  constructor(staysFloat: StaysFloat) {
    this.staysFloat = staysFloat;
  }

  /**
   * A weight as rows of axis 0, tied ones once; `ofFloats` where it multiplies float32, so that it may stay so. Throws StageError
   * where its quantizer is not frozen.
   */
  weight(parameter: Parameter, { ofFloats = false } = {}): PackedWeight {
    const known = this.weights.get(parameter);
    if (known) return known;
    const made = noGrad(() => packed(parameter, ofFloats ? this.staysFloat : () => false));
    this.weights.set(parameter, made);
    return made;
  }

  /** A bias or the like, in float32. */
  floats(given: Parameter | Tensor | null): Float32Array | null {
    if (given === null) return null;
    const value = "effective" in given ? noGrad(() => given.effective()) : given;
    return Float32Array.from(value.data as ArrayLike<number>);
  }

  /** The packed twin of a layer. Throws OptionError where it has none, and where it has methods that `toPacked` does not know. */
  layer(layer: object): PackedFields {
    const toPacked = (layer as { toPacked?: (packer: Packer) => PackedFields } | null)?.toPacked;
    if (typeof toPacked !== "function") {
      throw new OptionError(
        `pack: the layer has no packed form, got ${show(layer)}; give it a method toPacked, or pack the layers below it`,
      );
    }
    const name = overridden(layer);
    if (name !== undefined) {
      throw new OptionError(
        `pack: the layer computes otherwise than its packed form, got a ${name} of its own in ${show(layer)}; give it a method toPacked too`,
      );
    }
    return toPacked.call(layer, this);
  }

  /**
   * Layers, functions and packed fields one after another. Functions are packed by name: the activations of `bitgrad` without
   * options. Throws OptionError for any other.
   */
  sequence(...steps: readonly (Forward | ((x: Tensor) => Tensor) | PackedFields)[]): PackedFields {
    return { kind: "sequential", steps: steps.map((step) => this.step(step)) };
  }

  /** One of them. Throws OptionError for what is none. */
  step(step: Forward | ((x: Tensor) => Tensor) | PackedFields): PackedFields {
    if (typeof step !== "function") {
      if (isForward(step)) return this.layer(step);
      if (typeof step?.kind === "string") return step;
      throw new OptionError(`pack: a step must be a layer, a function or packed fields, got ${show(step)}`);
    }
    const name = (step as { rules?: { name: string } }).rules?.name ?? "";
    if (functionNames.includes(name)) return { kind: "function", name };
    throw new OptionError(
      `pack: a function must be one of bitgrad's activations, got ${show(step)}; use a layer`,
    );
  }
}

function packed(parameter: Parameter, staysFloat: StaysFloat): PackedWeight {
  const { value } = parameter;
  const transforms = transformsOf("pack", parameter);
  let weight = value;
  const store = stored(value)?.store;
  if (store && transforms.length === 0) {
    const codes = ofStore(value, store);
    if (!staysFloat(codes)) return codes;
  }
  for (const [i, transform] of transforms.entries()) {
    if (transform.pack) {
      if (i < transforms.length - 1) {
        throw new OptionError(
          `pack: a quantizer must be the last transform of a weight, got ${i + 1} of ${transforms.length}; put masks on before prepare`,
        );
      }
      const codes = transform.pack();
      if (!staysFloat(codes)) return codes;
    }
    weight = transformed("pack", transform, weight);
  }
  const [rows, columns] = matrixOf(weight);
  return PackedWeight.ofFloats(Float32Array.from(weight.data as ArrayLike<number>), rows, columns);
}

const matrixOf = ({ shape }: Tensor): [rows: number, columns: number] => [
  shape[0] ?? 1,
  sizeOf(shape.slice(1)),
];

/** What lies packed is codes already, of scale 1. */
function ofStore(value: Tensor, store: Store): PackedWeight {
  const [rows, columns] = matrixOf(value);
  return PackedWeight.ofCodes({
    ...store,
    rows,
    columns,
    codes: packCodes(value.data, rows, columns, store),
    scale: Float32Array.of(1),
    group: null,
    scaleType: "float32",
    codebook: null,
  });
}
