/** Random indices by weight. */

import { newArray, type TypedArray } from "../dtype.ts";
import { checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { checkShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { placeholder, visitor } from "./shapes-only.ts";

export interface MultinomialOptions {
  /** An index may be drawn more than once; off unless told otherwise. */
  replacement: boolean;
  rng: Rng | null;
}

/**
 * `count` indices drawn with the probabilities that weights stand for, which need not sum to 1: (n) -> (count), and each row
 * of (m, n) -> (m, count), int32. Without `replacement` each index is drawn from those that are left, so that none comes
 * twice. Throws OptionError for weights that are negative or not finite, and for fewer weights above 0 than are drawn.
 *
 * @example
 * ```ts
 * import { multinomial } from "bitgrad/nn";
 *
 * const drawn = multinomial([0, 10, 3, 0], 2); // 1 and 2, mostly in this order
 * console.log(Array.from(drawn.data).sort()); // [1, 2]
 * ```
 */
export function multinomial(
  weights: TensorLike,
  count: number,
  options?: Partial<MultinomialOptions>,
): Tensor<"int32"> {
  const op = "multinomial";
  const { replacement, rng } = readOptions<MultinomialOptions>(op, options, {
    replacement: false,
    rng: null,
  });
  const given = asTensor(op, weights);
  checkInteger(op, "the count", count, 0);
  if (given.rank !== 1 && given.rank !== 2)
    throw new ShapeError(`${op}: weights must be (n) or (m, n), got ${show(given.shape)}`);
  const [rows, n] = given.rank === 1 ? [1, given.size] : given.shape;
  const shape = checkShape(op, [...given.shape.slice(0, -1), count]);
  const least = replacement ? Math.min(count, 1) : count;
  if (visitor()) return placeholder(shape, "int32");
  for (let row = 0; row < rows; row++) checkRow(op, given.data.subarray(row * n, (row + 1) * n), least);
  const out = newArray("int32", rows * count);
  const uniforms = new Float64Array(out.length);
  (rng ?? defaultRng()).fillUniform(uniforms);
  // A tree of sums: node i holds that of 2i and 2i + 1, and the weights are its leaves.
  let leaves = 1;
  while (leaves < n) leaves *= 2;
  const sums = new Float64Array(2 * leaves);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < n; i++) sums[leaves + i] = given.data[row * n + i];
    for (let i = leaves - 1; i > 0; i--) sums[i] = sums[2 * i] + sums[2 * i + 1];
    for (let k = row * count; k < (row + 1) * count; k++) {
      let node = 1;
      let rest = uniforms[k] * sums[1];
      while (node < leaves) {
        node *= 2;
        // Rounding may leave more than there is on the right.
        if (rest < sums[node] || sums[node + 1] === 0) continue;
        rest -= sums[node++];
      }
      out[k] = node - leaves;
      if (replacement) continue;
      sums[node] = 0;
      for (let i = node >> 1; i > 0; i >>= 1) sums[i] = sums[2 * i] + sums[2 * i + 1];
    }
  }
  return wrap(out, shape, "int32");
}

function checkRow(op: string, weights: TypedArray, least: number): void {
  let [some, total] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    const weight = Number(weights[i]);
    total += weight;
    if (!(weight >= 0 && total < Infinity)) {
      throw new OptionError(
        `${op}: weights must not be negative, and their sum finite, got ${weight} at index ${i}`,
      );
    }
    if (weight > 0) some++;
  }
  if (some < least) throw new OptionError(`${op}: too few weights above 0, got ${some} for ${least} draws`);
}
