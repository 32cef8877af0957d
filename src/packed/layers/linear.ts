import { FormatError, ShapeError, show } from "../../errors.ts";
import { sameShape, sizeOf } from "../../shape.ts";
import { FieldReader, type Fields, type PackedLayer, type PackedStep } from "../file/layer.ts";
import type { PackedWeight } from "../file/weight.ts";
import { checkInput, type PackedInput } from "../products/input.ts";
import { Product, rowWays } from "../products/product.ts";
import { executor } from "../running.ts";
import { checkValues, type Ids, type Values, work } from "../values.ts";
import { combined } from "./elementwise.ts";

export interface LinearFields {
  readonly weight: PackedWeight;
  readonly bias: Float32Array | null;
  readonly input: PackedInput | null;
  /** A layer (…, in) -> (…, in) in front of the product and of the codes of the input; null for none. */
  readonly rotation?: PackedStep | null;
  /** Inputs that are multiplied once more, by a column each behind the others of the weight; null for none. */
  readonly copies?: readonly number[] | null;
  readonly correction?: PackedStep | null;
}

/** Throws FormatError for what does not name inputs of a weight that has a column more for each. */
function checkCopies(copies: unknown, columns: number): readonly number[] | null {
  if (copies === undefined || copies === null) return null;
  const inputs = columns - (copies as number[]).length;
  const isInput = (i: unknown): boolean =>
    Number.isInteger(i) && (i as number) >= 0 && (i as number) < inputs;
  if (Array.isArray(copies) && copies.every(isInput)) return copies;
  throw new FormatError(
    `linear: copies must name inputs of a weight with a column more for each, got ${show(copies)} for ${columns} columns`,
  );
}

/** What a rotation makes of x. Throws ShapeError where that has another shape. */
function rotated(rotation: PackedStep, x: Values): Float32Array {
  const { data, shape } = rotation.forward(x);
  if (sameShape(shape, x.shape)) return data;
  throw new ShapeError(
    `PackedLinear: the rotation must keep the shape, got ${show(shape)} for ${show(x.shape)}`,
  );
}

/**
 * x·weightᵀ + bias, and what a correction makes of x: (…, in) -> (…, out).
 *
 * @example
 * ```ts
 * import { PackedLinear, PackedWeight } from "bitgrad/packed";
 *
 * const weight = PackedWeight.ofFloats(Float32Array.of(1, 2, 3, 4), 2, 2);
 * const layer = new PackedLinear({ weight, bias: null, input: null });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(1, 1), shape: [1, 2] }).data)); // [3, 7]
 * ```
 */
export class PackedLinear implements PackedLayer {
  static readonly kind = "linear";
  readonly kind = "linear";
  readonly weight: PackedWeight;
  readonly bias: Float32Array | null;
  /** How the input becomes codes; null multiplies float32 by the weights' values. */
  readonly input: PackedInput | null;
  readonly rotation: PackedStep | null;
  readonly copies: readonly number[] | null;
  /** A layer (…, in) -> (…, out) whose result is added, as where two thin matrices make up for few bits; null for none. */
  readonly correction: PackedStep | null;
  /** Not a field of the file. */
  readonly _product: Product<number>;
  /** The inputs, and behind them those that are multiplied once more. */
  readonly _places: readonly number[] | null;

  constructor(fields: LinearFields | Fields) {
    const read = new FieldReader("linear", fields as Fields);
    this.weight = read.weight("weight");
    this.bias = read.floats("bias", this.weight.rows);
    this.input = checkInput(read.value("input"));
    this.rotation = read.optionalLayer("rotation");
    this.copies = checkCopies(read.value("copies"), this.weight.columns);
    this._places = this.copies && [...Array(this.inputs).keys(), ...this.copies];
    this.correction = read.optionalLayer("correction");
    this._product = new Product(rowWays, "linear", this.weight, this.input, this.bias);
  }

  get inputs(): number {
    return this.weight.columns - (this.copies?.length ?? 0);
  }

  /** Throws ShapeError where x does not end in as many numbers as there are inputs, or its correction has another shape. */
  forward(x: Values): Values {
    const { data, shape } = checkValues("PackedLinear", x);
    const { rows, columns } = this.weight;
    const { inputs } = this;
    if (shape[shape.length - 1] !== inputs) {
      throw new ShapeError(`PackedLinear: x must end in ${inputs} features, got ${show(shape)}`);
    }
    const outer = shape.slice(0, -1);
    const m = sizeOf(outer);
    work(m * rows * columns);
    const turned = this.rotation ? rotated(this.rotation, x) : data;
    const wide = this._places ? executor().gather(turned, m, this._places) : turned;
    const widened = { data: wide, shape: [...outer, columns] };
    const y = { data: executor().product(widened, this._product, m), shape: [...outer, rows] };
    if (!this.correction) return y;
    const added = this.correction.forward(widened);
    return combined("PackedLinear", y, added, "plus");
  }

  /** Gives back what it holds of the SIMD heap. */
  dispose(): void {
    this._product.free();
  }
}

/**
 * Rows of a table by id.
 *
 * @example
 * ```ts
 * import { PackedEmbedding, PackedWeight } from "bitgrad/packed";
 *
 * const weight = PackedWeight.ofFloats(Float32Array.of(1, 2, 3, 4), 2, 2);
 * const table = new PackedEmbedding({ weight });
 * console.log(Array.from(table.forward({ data: [1, 0], shape: [2] }).data)); // [3, 4, 1, 2]
 * ```
 */
export class PackedEmbedding implements PackedLayer {
  static readonly kind = "embedding";
  readonly kind = "embedding";
  readonly weight: PackedWeight;

  constructor(fields: { readonly weight: PackedWeight } | Fields) {
    this.weight = new FieldReader("embedding", fields as Fields).weight("weight");
  }

  get idWidth(): number {
    return this.weight.columns;
  }

  /** (…) ids -> (…, C). Throws ShapeError for an id that is not in the table. */
  forward(x: Ids): Values {
    const { data: ids, shape } = checkValues("PackedEmbedding", x, true);
    const { rows, columns } = this.weight;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (!(Number.isInteger(id) && id >= 0 && id < rows))
        throw new ShapeError(`PackedEmbedding: ids lie in 0 … ${rows - 1}, got ${show(id)}`);
    }
    return { data: executor().rows(this.weight, ids), shape: [...shape, columns] };
  }
}
