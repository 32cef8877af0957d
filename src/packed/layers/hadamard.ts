import { powerOfTwoIn } from "../../../kernels/linalg/hadamard.ts";
import { FormatError, ShapeError, show } from "../../errors.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import type { PackedWeight } from "../file/weight.ts";
import { executor } from "../running.ts";
import { checkValues, type Values, work } from "../values.ts";

/** The only row of a weight of signs. Throws FormatError for other numbers. */
function readSigns(weight: PackedWeight, features: number): Float32Array {
  const { rows, columns } = weight;
  if (rows !== 1 || columns !== features) {
    throw new FormatError(`hadamard: signs must be (1, ${features}), got ${show([rows, columns])}`);
  }
  const signs = new Float32Array(features);
  weight.readRow(signs, 0);
  const odd = signs.find((sign) => Math.abs(sign) !== 1);
  if (odd === undefined) return signs;
  throw new FormatError(`hadamard: signs must be 1 or -1, got ${odd}`);
}

/**
 * Features times signs, then, `block` by `block`, times the Walsh–Hadamard matrix over √block: (…, C) -> (…, C).
 *
 * @example
 * ```ts
 * import { PackedHadamard } from "bitgrad/packed";
 *
 * const layer = new PackedHadamard({ features: 4, block: 4, signs: null });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(0, 0, 6, 0), shape: [4] }).data)); // [3, 3, -3, -3]
 * ```
 */
export class PackedHadamard implements PackedLayer {
  static readonly kind = "hadamard";
  readonly kind = "hadamard";
  readonly features: number;
  readonly block: number;
  /** 1 or −1 per feature, (1, C); null for none. */
  readonly signs: PackedWeight | null;
  /** Not a field of the file. */
  readonly _signs: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("hadamard", fields);
    this.features = read.count("features");
    this.block = read.count("block");
    if (powerOfTwoIn(this.features) % this.block !== 0) {
      throw new FormatError(
        `hadamard: block must be a power of two that divides the features, got ${this.block} for ${this.features}`,
      );
    }
    this.signs = (read.value("signs") ?? null) === null ? null : read.weight("signs");
    this._signs = this.signs && readSigns(this.signs, this.features);
  }

  /** Throws ShapeError where x does not end in as many features. */
  forward(x: Values): Values {
    const { data, shape } = checkValues("PackedHadamard", x);
    const { features, block, _signs: signs } = this;
    if (shape[shape.length - 1] !== features) {
      throw new ShapeError(`PackedHadamard: x must end in ${features} features, got ${show(shape)}`);
    }
    work(data.length * Math.log2(2 * block));
    return { data: executor().hadamard(x, { features, block, signs }), shape };
  }
}
