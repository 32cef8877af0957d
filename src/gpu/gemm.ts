/** Single products on a GPU, each with its upload and its readback. */

import { isFloat32Array } from "../dtype.ts";
import { FormatError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { PackedWeight } from "../packed/file/weight.ts";
import { checkFinite, checkInput, type PackedInput } from "../packed/products/input.ts";
import { Product } from "../packed/products/product.ts";
import { checkValues, type Values } from "../packed/values.ts";
import { sizeOf } from "../shape.ts";
import type { Opened } from "./engine.ts";

export interface GemmOptions {
  /** How x becomes codes; null multiplies float32. Default: signs for `b1`, and 8 bits by row for the others. */
  input: PackedInput | null;
  /** One number a row of the weight. */
  bias: Float32Array | null;
}

/** x (…, k) times the rows of a weight (n, k): (…, n). */
export type Gemm = (x: Values, weight: PackedWeight, options?: Partial<GemmOptions>) => Promise<Values>;

/** Products by the type of the weight. */
export interface Gemms {
  readonly f32: Gemm;
  /** Signs. */
  readonly b1: Gemm;
  readonly ternary: Gemm;
  readonly i4: Gemm;
  readonly i8: Gemm;
}

const dynamic: PackedInput = { kind: "dynamic", bits: 8 };
const bitsOf: Readonly<Record<keyof Gemms, number>> = { f32: 32, b1: 1, ternary: 2, i4: 4, i8: 8 };
const inputs: Readonly<Record<keyof Gemms, PackedInput | null>> = {
  f32: null,
  b1: { kind: "signs" },
  ternary: dynamic,
  i4: dynamic,
  i8: dynamic,
};

export function gemmsOf({ engine, executor }: Opened): Gemms {
  const gemm =
    (name: keyof Gemms): Gemm =>
    async (x, weight, options) => {
      const op = `gemm.${name}`;
      const given = readOptions<GemmOptions>(op, options, { input: inputs[name], bias: null });
      const { data, shape } = checkValues(op, x);
      const bits = bitsOf[name];
      if (!(weight instanceof PackedWeight) || weight.bits !== bits)
        throw new FormatError(
          `${op}: needs a packed weight of ${bits} bits, got ${show((weight as PackedWeight | null)?.bits ?? weight)}`,
        );
      const { rows, columns } = weight;
      if (shape[shape.length - 1] !== columns)
        throw new ShapeError(`${op}: x must end in ${columns} features, got ${show(shape)}`);
      const { bias } = given;
      if (bias !== null && !(isFloat32Array(bias) && bias.length === rows))
        throw new ShapeError(`${op}: bias must hold ${rows} float32 numbers, got ${show(bias)}`);
      const input = checkInput(given.input);
      if (input !== null) {
        if (weight.floats)
          throw new FormatError(`${op}: float32 weights are multiplied by float32, got ${input.kind}`);
        if (input.kind === "mixed")
          throw new OptionError(
            `${op}: outliers of inputs are found on the CPU, got a mixed one; give a dynamic one`,
          );
      }
      // The CPU's ways are not asked: sums are checked as for them.
      const operands = new Product<number>([], op, weight, input, bias);
      checkFinite(op, data, data.length);
      const outer = shape.slice(0, -1);
      const read = await engine.during(op, () => {
        const far = { data: engine.bring(data.slice()), shape };
        return executor.product(far, operands, sizeOf(outer)).read();
      });
      return { data: read.slice(), shape: [...outer, rows] };
    };
  return { f32: gemm("f32"), b1: gemm("b1"), ternary: gemm("ternary"), i4: gemm("i4"), i8: gemm("i8") };
}

/** The numbers of a matrix as they are now. */
function matrix(name: string, x: Values): Float32Array {
  const { data, shape } = checkValues(`gpu.matmul: ${name}`, x);
  if (shape.length === 2) return data.slice();
  throw new ShapeError(`gpu.matmul: ${name} must have two axes, got ${show(shape)}`);
}

/** The numbers of a · b, (m, k) times (k, n). */
export async function multiplied({ engine, matmul }: Opened, a: Values, b: Values): Promise<Values> {
  const [left, right] = [matrix("a", a), matrix("b", b)];
  const [m, k] = a.shape;
  const n = b.shape[1];
  if (b.shape[0] !== k)
    throw new ShapeError(`gpu.matmul: needs (m, k) and (k, n), got ${show(a.shape)} and ${show(b.shape)}`);
  if (k === 0) return engine.during("matmul", async () => ({ data: new Float32Array(m * n), shape: [m, n] }));
  const read = await engine.during("matmul", () =>
    matmul(engine.bring(left), engine.bring(right), m, k, n).read(),
  );
  return { data: read.slice(), shape: [m, n] };
}
