/** equalizeColumns: scales of columns for 1-bit weights, written into what makes the columns' inputs. */

import { quantizedTransform } from "../../codes/transform.ts";
import { checkInteger, readOptions } from "../../errors.ts";
import { isTwoLevels } from "./one-bit/fit.ts";
import { forElements, type Pair, type Part } from "./pairs.ts";
import { Scaling, type ScalingOptions } from "./scaling.ts";

export interface EqualizeColumnsOptions extends ScalingOptions {
  /** Turns between scales of rows and of columns. Default 15. */
  iterations: number;
}

/** Scales of columns further below the largest than this share of it count as so large. */
const leastShare = 1e-5;

/** Whether a part is a weight of signs, with a mean or without. */
const isOfSigns = ({ parameter }: Part): boolean => {
  const transform = quantizedTransform(parameter);
  return transform !== null && isTwoLevels(transform.quantizer.spec);
};

const withoutSigns = ({ consumers }: Pair): string | null =>
  consumers.some(isOfSigns) ? null : "none of its consumers has weights of signs";

/**
 * Gives the columns of 1-bit weights of a prepared model scales of their own, which no code stores: the columns are divided
 * by them, and what makes their inputs is multiplied, so that the float function stays the same and scales of rows fit
 * better. They are those of rowScale · columnScale · sign with the least squared error, by turns, one for each channel of a
 * pair of the model's `scalePairs()`, whose consumers share it: ARB-RC of ARB-LLM, Li et al., 2024, arXiv:2410.03129, by the
 * paper's text, since its code is not released. It needs no data, and comes before `binarize`, which fits scales and signs
 * to the inputs. Columns of zeros stay as they are. Pairs that cannot be scaled, and those that no weights of signs read,
 * are left as they are, and told to `onPair`. Codes that scaled weights hold are let go. Returns the model. Rejects with
 * StageError for a model that is not prepared, frozen or calibrated before, OptionError for one without pairs, or none of
 * which can be scaled, and for weights that are not finite; the model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { Gpt } from "bitgrad/models";
 * import { binaryWeightOnly, equalizeColumns, plan, prepare } from "bitgrad/quant";
 *
 * const gpt = new Gpt({ vocabulary: 16, context: 8, dim: 16, layers: 1, heads: 2, rng: new Rng(1) });
 * prepare(gpt, plan({ default: null, rules: [["blocks.**.{query,key,value,out,up,down}.weight", binaryWeightOnly()]] }));
 * const scaled: string[] = [];
 * await equalizeColumns(gpt, { onPair: ({ producer, factors }) => factors && scaled.push(producer!) });
 * console.log(scaled); // ["blocks.0.norm1", "blocks.0.attention.value", "blocks.0.norm2"]
 * ```
 */
export async function equalizeColumns<M extends object>(
  model: M,
  options?: Partial<EqualizeColumnsOptions>,
): Promise<M> {
  const op = "equalizeColumns";
  const { iterations, layers, onPair } = readOptions<EqualizeColumnsOptions>(op, options, {
    iterations: 15,
    layers: null,
    onPair: null,
  });
  checkInteger(op, "iterations", iterations, 0);
  const scaling = new Scaling(op, model, { layers, onPair }, withoutSigns);
  for (const pair of scaling.pairs) {
    const scales = columnScales(scaling, pair, iterations);
    const most = scales.reduce((a, b) => Math.max(a, b), 0);
    scaling.scale(
      pair,
      scales.map((scale) => (scale === 0 ? 1 : most / Math.max(scale, leastShare * most))),
    );
    scaling.tell(pair);
  }
  scaling.write();
  return model;
}

/** A part's weight and, for each of its elements, the row that it is in. */
interface Rows {
  readonly part: Part;
  readonly weight: Float64Array;
  /** Elements of a row. */
  readonly columns: number;
  readonly scales: Float64Array;
}

/** The scales of the channels of a pair, by its weights of signs. */
function columnScales(scaling: Scaling, pair: Pair, iterations: number): Float64Array {
  const parts = pair.consumers.filter(isOfSigns).map((part): Rows => {
    const [rows] = part.parameter.shape;
    const weight = scaling.weight(part).map(Math.abs);
    return { part, weight, columns: weight.length / rows, scales: new Float64Array(rows).fill(1) };
  });
  let scales = new Float64Array(pair.channels).fill(1);
  for (let t = 0; t <= iterations; t++) {
    for (const { part, weight, columns, scales: ofRow } of parts) {
      const [sums, squares] = [new Float64Array(ofRow.length), new Float64Array(ofRow.length)];
      forElements(part, (i, c) => {
        const row = Math.floor(i / columns);
        sums[row] += weight[i] * scales[c];
        squares[row] += scales[c] ** 2;
      });
      sums.forEach((sum, row) => {
        ofRow[row] = squares[row] === 0 ? 0 : sum / squares[row];
      });
    }
    const [sums, squares] = [new Float64Array(pair.channels), new Float64Array(pair.channels)];
    for (const { part, weight, columns, scales: ofRow } of parts) {
      forElements(part, (i, c) => {
        const scale = ofRow[Math.floor(i / columns)];
        sums[c] += weight[i] * scale;
        squares[c] += scale ** 2;
      });
    }
    scales = sums.map((sum, c) => (squares[c] === 0 ? 0 : sum / squares[c]));
  }
  return scales;
}
