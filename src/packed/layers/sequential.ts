/** Packed layers and functions one after another. */

import { ShapeError, show } from "../../errors.ts";
import { sizeOf } from "../../shape.ts";
import { activationNames } from "../executor.ts";
import { FieldReader, type Fields, type PackedStep } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, reshaped, type Values } from "../values.ts";
import { isActivation, mapped } from "./elementwise.ts";
import { type Bits, bitStages, unpacked } from "./fold.ts";

/** Functions that are not of single elements: the average of (N, C, H, W) over positions, (N, C, …) in rows. */
const functions: Readonly<Record<string, (x: Values) => Values>> = {
  identity: (x) => x,
  average({ data, shape }) {
    const [b, c, h, w] = shape;
    if (shape.length !== 4) throw new ShapeError(`PackedFunction: needs (N, C, H, W), got ${show(shape)}`);
    return { data: executor().average(data, b * c, h * w), shape: [b, c, 1, 1] };
  },
  flatten(x) {
    const { shape } = x;
    if (shape.length < 2) throw new ShapeError(`PackedFunction: needs (N, …), got ${show(shape)}`);
    return reshaped(x, [shape[0], sizeOf(shape.slice(1))]);
  },
};

/**
 * An activation, "identity", "average" over the positions of (N, C, H, W) or "flatten" of all axes but the first.
 *
 * @example
 * ```ts
 * import { PackedFunction } from "bitgrad/packed";
 *
 * const relu = new PackedFunction({ name: "relu" });
 * console.log(Array.from(relu.forward({ data: Float32Array.of(-1, 2), shape: [1, 2] }).data)); // [0, 2]
 * ```
 */
export class PackedFunction implements PackedStep {
  static readonly kind = "function";
  readonly kind = "function";
  readonly name: string;

  constructor(fields: Fields) {
    const names = [...Object.keys(functions), ...activationNames];
    this.name = new FieldReader("function", fields).choice("name", names);
  }

  forward(x: Values): Values {
    checkValues("PackedFunction", x);
    return isActivation(this.name) ? mapped(x, this.name) : functions[this.name](x);
  }
}

/**
 * Steps one after another. Where products of signs go into products of signs, bits are handed on.
 *
 * @example
 * ```ts
 * import { PackedFlatten, PackedFunction, PackedSequential } from "bitgrad/packed";
 *
 * const steps = [new PackedFunction({ name: "relu" }), new PackedFlatten({ startDim: 1, endDim: -1 })];
 * const { shape } = new PackedSequential({ steps }).forward({ data: new Float32Array(8), shape: [2, 2, 2] });
 * console.log(shape); // [2, 4]
 * ```
 */
export class PackedSequential implements PackedStep {
  static readonly kind = "sequential";
  readonly kind = "sequential";
  readonly steps: readonly PackedStep[];
  /** The steps, those of sequences within among them, without those that do nothing. */
  readonly _flat: readonly PackedStep[];
  /** Made at first use. */
  private _stages: ReturnType<typeof bitStages> | null = null;

  constructor(fields: Fields) {
    this.steps = new FieldReader("sequential", fields).layers("steps");
    this._flat = this.steps.flatMap((step) => {
      if (step.kind === "sequential") return (step as PackedSequential)._flat ?? step;
      return step.kind === "function" && (step as PackedFunction).name === "identity" ? [] : step;
    });
  }

  get idWidth(): number | null {
    return this._flat[0]?.idWidth ?? null;
  }

  forward(x: Values): Values {
    checkValues("PackedSequential", x, this.idWidth !== null);
    this._stages ??= bitStages(this._flat);
    const stages = executor().foldsSigns ? this._stages : [];
    let y: Values | Bits = x;
    for (let i = 0; i < this._flat.length; ) {
      const stage = stages[i];
      const done: Values | Bits | null = stage?.run(y) ?? null;
      y = done ?? this._flat[i].forward(unpacked(y, this._flat[i]));
      i += done ? stage!.length : 1;
    }
    return unpacked(y);
  }

  /** Gives back what it holds of the SIMD heap beside its steps. */
  dispose(): void {
    for (const stage of this._stages ?? []) stage?.dispose();
  }
}
