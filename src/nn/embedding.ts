import type { DType } from "../dtype.ts";
import { OptionError, readOptions, show } from "../errors.ts";
import { embedding } from "../ops/index-ops.ts";
import { isInstance } from "../state.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { blank, hasData } from "./blank.ts";
import { normal, type RngOption } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
import { checkFloat, checkSizes } from "./sizes.ts";

export interface EmbeddingOptions extends RngOption {
  /** An id whose row starts at 0 and gets no gradient; negative counts from the end. */
  paddingIndex: number | null;
  dtype: DType;
}

const brand: unique symbol = Symbol.for("bitgrad.embedding") as never;

/**
 * Rows of a table by id: ids of any shape (…) -> (…, C), with weight (V, C) drawn from N(0, 1).
 *
 * @example
 * ```ts
 * import { Embedding } from "bitgrad/nn";
 *
 * console.log(new Embedding(50, 16).forward([[3, 1, 4]]).shape); // [1, 3, 16]
 * ```
 */
export class Embedding {
  readonly kind = "embedding";
  weight: Parameter;
  readonly paddingIndex: number | null;

  constructor(count: number, size: number, options?: Partial<EmbeddingOptions>) {
    checkSizes("Embedding", { count, size });
    const { paddingIndex, dtype, rng } = readOptions<EmbeddingOptions>("Embedding", options, {
      paddingIndex: null,
      dtype: "float32",
      rng: null,
    });
    checkFloat("Embedding", dtype);
    if (
      paddingIndex !== null &&
      !(Number.isInteger(paddingIndex) && paddingIndex >= -count && paddingIndex < count)
    ) {
      throw new OptionError(`Embedding: paddingIndex must be one of ${count} ids, got ${show(paddingIndex)}`);
    }
    this.weight = normal(new Parameter(blank([count, size], dtype)), { rng });
    const row = paddingIndex !== null && paddingIndex < 0 ? paddingIndex + count : paddingIndex;
    this.paddingIndex = row;
    if (row !== null && hasData(this.weight.value)) {
      this.weight.update((data) => data.fill(0, row * size, (row + 1) * size));
    }
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, Embedding, brand, value);
  }

  get [brand](): true {
    return true;
  }

  /** Rows of the table. */
  get count(): number {
    return this.weight.shape[0];
  }

  /** Features of a row. */
  get size(): number {
    return this.weight.shape[1];
  }

  forward(ids: TensorLike): Tensor {
    return inside(this, () => {
      const { paddingIndex } = this;
      return embedding(this.weight.effective(), ids, paddingIndex === null ? {} : { paddingIndex });
    });
  }

  toPacked(packer: Packer): PackedFields {
    return { kind: "embedding", weight: packer.weight(this.weight) };
  }
}
