/** signApproximation: what sums and products of signs make of a matrix, with the bits that storing them takes. */

import { floatsOf, notFinite } from "../../../codes/loops.ts";
import { checkChoice, checkInteger, OptionError, readOptions, ShapeError, show } from "../../../errors.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../../../tensor.ts";
import { fitSigns, fitted, rowRuns, squaredError } from "./fit.ts";
import { rowColumnSigns, secondOrderSigns } from "./forms.ts";
import { groupedSigns } from "./grouping.ts";
import { splitSigns } from "./split.ts";

export interface SignApproximationOptions {
  /**
   * "rows": a scale for each row, as `bwn` has them, the default. "centered": a mean for each row beside it, by ARB.
   * "rowColumn": a scale for each row and one for each column, by ARB-RC. "residual": a mean and two scales with signs of
   * their own for each row. "split": BiLLM's salient columns, and small and large magnitudes of the rest. "grouped": a scale
   * for each of `groups` groups of like magnitude in the whole matrix.
   */
  form: "rows" | "centered" | "rowColumn" | "residual" | "split" | "grouped";
  /** Turns of "centered", "rowColumn" and "residual", 0 or more. Default 15. */
  iterations: number;
  /** Of "grouped". Default 4. */
  groups: number;
  /** Of "grouped": merges stretches of so many sorted magnitudes; null finds the best groups, in O(groups · size²). */
  window: number | null;
}

export interface SignApproximation {
  /** In the shape of the matrix; float64 for a float64 matrix, else float32. */
  readonly values: Tensor;
  readonly squaredError: number;
  /**
   * Bits for each weight: signs, what tells which scale a weight reads, and scales and means of 16 bits. Headline figures of
   * papers often leave out what tells the groups.
   */
  readonly bits: number;
}

/**
 * What a form of 1-bit weights makes of a matrix (rows, columns), and what it takes to store, to compare them by. Weights
 * that `prepare` plans have the forms "rows" and "centered", with scales by groups of columns too, which `binarize` fits
 * to inputs, and where a model has pairs of layers "rowColumn" by `equalizeColumns`; packed layers do not store the others.
 * Sources: XNOR-Net (arXiv:1603.05279), ARB-LLM (arXiv:2410.03129; by the
 * paper's text, since its code is not released), BiLLM (arXiv:2402.04291). Throws ShapeError for what is no matrix, and
 * OptionError for numbers that are not finite.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 * import { signApproximation } from "bitgrad/quant";
 *
 * const weight = randn([64, 64], { rng: new Rng(1) });
 * const rows = signApproximation(weight);
 * const both = signApproximation(weight, { form: "rowColumn" });
 * console.log(rows.bits, both.bits, both.squaredError < rows.squaredError); // 1.25 1.5 true
 * ```
 */
export function signApproximation(
  weight: TensorLike,
  options?: Partial<SignApproximationOptions>,
): SignApproximation {
  const op = "signApproximation";
  const { form, iterations, groups, window } = readOptions<SignApproximationOptions>(op, options, {
    form: "rows",
    iterations: 15,
    groups: 4,
    window: null,
  });
  checkChoice(op, "form", form, Object.keys(forms));
  checkInteger(op, "iterations", iterations, 0);
  checkInteger(op, "groups", groups, 1);
  if (window !== null) checkInteger(op, "window", window, 1);
  const given = asTensor(op, weight);
  const [rows, columns] = given.shape;
  if (given.rank !== 2 || given.size === 0) {
    throw new ShapeError(`${op}: needs a matrix (rows, columns) with numbers, got ${show(given.shape)}`);
  }
  const w = Float64Array.from(floatsOf(given));
  const odd = notFinite(w, 0, w.length);
  if (odd >= 0) throw new OptionError(`${op}: weights must be finite, got ${w[odd]} at index ${odd}`);
  const [values, bits] = forms[form](w, { rows, columns, iterations, groups, window });
  const error = squaredError(w, values);
  const kept =
    given.dtype === "float64"
      ? wrap(values, given.shape, "float64")
      : wrap(Float32Array.from(values), given.shape, "float32");
  return { values: kept, squaredError: error, bits };
}

type Sizes = { rows: number; columns: number } & Omit<SignApproximationOptions, "form">;
type Form = (w: Float64Array, sizes: Sizes) => [values: Float64Array, bits: number];

const byRows = (
  w: Float64Array,
  { rows, columns }: Sizes,
  centered: boolean,
  iterations: number,
): Float64Array => {
  const runs = rowRuns(rows, columns);
  return fitted(fitSigns(w, runs, { centered, iterations }), runs);
};

const forms: Readonly<Record<SignApproximationOptions["form"], Form>> = {
  rows: (w, sizes) => [byRows(w, sizes, false, 0), 1 + 16 / sizes.columns],
  centered: (w, sizes) => [byRows(w, sizes, true, sizes.iterations), 1 + 32 / sizes.columns],
  rowColumn: (w, { rows, columns, iterations }) => [
    rowColumnSigns(w, rows, columns, iterations),
    1 + 16 / columns + 16 / rows,
  ],
  residual: (w, { rows, columns, iterations }) => [
    secondOrderSigns(w, rows, columns, iterations),
    2 + 48 / columns,
  ],
  // A salient weight has two signs, another one and which group it is of; a row has 3 + 2 + 2 means and scales, a column
  // whether it is salient.
  split: (w, { rows, columns }) => [splitSigns(w, rows, columns).values, 2 + 112 / columns + 1 / rows],
  grouped: (w, { groups, window }) => [
    groupedSigns(w, groups, window).values,
    1 + Math.ceil(Math.log2(groups)) + (16 * groups) / w.length,
  ],
};
