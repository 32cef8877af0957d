import { FormatError, ShapeError, show } from "../../errors.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, type Values } from "../values.ts";

/**
 * The features, and behind them once more those that `copies` names: (…, C) -> (…, C + k).
 *
 * @example
 * ```ts
 * import { PackedCopyFeatures } from "bitgrad/packed";
 *
 * const layer = new PackedCopyFeatures({ features: 2, copies: [1] });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(3, 4), shape: [1, 2] }).data)); // [3, 4, 4]
 * ```
 */
export class PackedCopyFeatures implements PackedLayer {
  static readonly kind = "copyFeatures";
  readonly kind = "copyFeatures";
  readonly features: number;
  readonly copies: readonly number[];

  constructor(fields: Fields) {
    const read = new FieldReader("copyFeatures", fields);
    const features = read.count("features");
    const copies = read.value("copies");
    const isFeature = (i: unknown): boolean =>
      Number.isInteger(i) && (i as number) >= 0 && (i as number) < features;
    if (!Array.isArray(copies) || !copies.every(isFeature)) {
      throw new FormatError(
        `copyFeatures: copies must be a list of features from 0 to ${features - 1}, got ${show(copies)}`,
      );
    }
    this.features = features;
    this.copies = copies;
  }

  /** Throws ShapeError where x does not end in as many features. */
  forward(x: Values): Values {
    const { data, shape } = checkValues("PackedCopyFeatures", x);
    const { features, copies } = this;
    if (shape[shape.length - 1] !== features) {
      throw new ShapeError(`PackedCopyFeatures: x must end in ${features} features, got ${show(shape)}`);
    }
    const places = [...Array(features).keys(), ...copies];
    return {
      data: executor().gather(data, data.length / features, places),
      shape: [...shape.slice(0, -1), places.length],
    };
  }
}
