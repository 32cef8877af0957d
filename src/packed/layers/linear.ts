import { ShapeError, show } from "../../errors.ts";
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
  /** What stands in front of the product and of the codes of the input, one after another; none where they are missing. */
  readonly inputSteps?: readonly PackedInputStep[];
  readonly correction?: PackedStep | null;
}

/** A layer (…, features) -> (…, columns) in front of a product. */
export interface PackedInputStep extends PackedStep {
  /** How many features it takes, where it does not give as many. */
  readonly features?: number;
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
  readonly inputSteps: readonly PackedInputStep[];
  /** A layer (…, in) -> (…, out) whose result is added, as where two thin matrices make up for few bits; null for none. */
  readonly correction: PackedStep | null;
  /** Not a field of the file. */
  readonly _product: Product<number>;

  constructor(fields: LinearFields | Fields) {
    const read = new FieldReader("linear", fields as Fields);
    this.weight = read.weight("weight");
    this.bias = read.floats("bias", this.weight.rows);
    this.input = checkInput(read.value("input"));
    this.inputSteps = read.value("inputSteps") === undefined ? [] : read.layers("inputSteps");
    this.correction = read.optionalLayer("correction");
    this._product = new Product(rowWays, "linear", this.weight, this.input, this.bias);
  }

  get inputs(): number {
    return this.inputSteps.reduceRight((columns, { features }) => features ?? columns, this.weight.columns);
  }

  /**
   * Throws ShapeError where x does not end in as many numbers as there are inputs, its steps do not give what the weight
   * multiplies, or its correction has another shape.
   */
  forward(x: Values): Values {
    const { shape } = checkValues("PackedLinear", x);
    const { rows, columns } = this.weight;
    const outer = shape.slice(0, -1);
    const m = sizeOf(outer);
    const given = this.inputSteps.reduce((values, step) => step.forward(values), x);
    const wide = [...outer, columns];
    if (!sameShape(given.shape, wide)) {
      const want =
        this.inputSteps.length > 0
          ? `input steps must give ${show(wide)}`
          : `x must end in ${columns} features`;
      throw new ShapeError(`PackedLinear: ${want}, got ${show(given.shape)}`);
    }
    work(m * rows * columns);
    const y = { data: executor().product(given, this._product, m), shape: [...outer, rows] };
    if (!this.correction) return y;
    const added = this.correction.forward(given);
    if (sameShape(added.shape, y.shape)) return combined("PackedLinear", y, added, "plus");
    throw new ShapeError(`PackedLinear: the correction must give ${show(y.shape)}, got ${show(added.shape)}`);
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
