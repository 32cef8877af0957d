/** lowRankCorrection: two thin matrices beside a quantized weight that make up for what it has lost. */

import { eigh } from "../../../kernels/linalg/eigh.ts";
import { addScaled, dot, transposed } from "../../../kernels/linalg/rows.ts";
import { dequantize, type QTensor } from "../../codes/contract.ts";
import { checkChoice, checkInteger, OptionError, readOptions, show } from "../../errors.ts";
import { withoutDraws } from "../../nn/blank.ts";
import { LowRank } from "../../nn/low-rank.ts";
import type { InputStatistics, Statistic } from "../../nn/statistics.ts";
import { tensor } from "../../tensor.ts";
import { roundedBy, seenBy } from "./rounded.ts";
import { servedLayers } from "./served.ts";
import {
  type CalibrationOptions,
  calibrationDefaults,
  holdEach,
  matrixOf,
  type Site,
  visitInOrder,
} from "./sites.ts";

export interface LowRankCorrectionOptions<B> extends CalibrationOptions<B> {
  /** Of the corrections, at most the smaller side of a weight. Default 16. */
  rank: number;
  /**
   * What is made least of E = W − Ŵ − b·a. "svd": the sum of squares; batches may be null. "activation": that of E with its
   * columns times the mean magnitudes of the inputs, as LQER weighs them. "eigen", the default: the squared error of the
   * layer's outputs on the batches, as EoRA.
   */
  method: "svd" | "activation" | "eigen";
}

/** a (rank, columns) and b (rows, rank), whose product b·a stands for a matrix (rows, columns). */
export interface LowRankFactors {
  readonly rank: number;
  readonly a: Float64Array;
  readonly b: Float64Array;
}

/**
 * Gives the quantized linear layers of a prepared model a `correction` of low rank: a layer computes x·Ŵᵀ + (x·aᵀ)·bᵀ, with
 * b·a close to what its weight W lost. Layers are corrected in the order of a run, with the codes and corrections of
 * earlier ones in place, and hold the codes that were corrected, as found by `gptq` or by their quantizers. Returns the
 * model, which trains, freezes and packs as before; a and b are float32 parameters, `correction.a` and `correction.b` of a
 * layer, which `freeze` leaves trainable; `prepare` with a rule for "**.correction.*" gives them fewer bits. A model that
 * such a state is loaded into needs corrections of the same ranks (`LowRank`). Convolutions have none: with `layers` null
 * they are passed over.
 *
 * LQER, Zhang et al., 2024, arXiv:2402.02446, which weighs by the largest mean magnitude of a batch where "activation" takes
 * that of all rows; EoRA, Liu et al., 2024, arXiv:2410.21271. No other matrix of the rank has a smaller
 * error on the batches than that of "eigen", up to float32. Rejects with OptionError for a layer that is named and cannot be
 * corrected, or is already, and for batches of null where the method reads them; the model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 * import { Linear, type LowRank, Sequential } from "bitgrad/nn";
 * import { freeze, int4WeightOnly, lowRankCorrection, pack, plan, prepare } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const layer = new Linear(64, 32, { rng });
 * const model = prepare(new Sequential(layer), plan({ default: int4WeightOnly() }));
 * await lowRankCorrection(model, [randn([256, 64], { rng })], { rank: 4 });
 * const { a, b } = layer.correction as LowRank;
 * console.log(a.shape, b.shape); // [4, 64] [32, 4]
 * console.log(pack(freeze(model)).root.kind); // sequential
 * ```
 */
export async function lowRankCorrection<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B> | null,
  options?: Partial<LowRankCorrectionOptions<B>>,
): Promise<M> {
  const op = "lowRankCorrection";
  const read = readOptions<LowRankCorrectionOptions<B>>(op, options, {
    ...calibrationDefaults,
    rank: 16,
    method: "eigen",
  });
  const { rank, method, forward, onLayer } = read;
  checkInteger(op, "rank", rank, 1);
  checkChoice(op, "method", method, ["svd", "activation", "eigen"]);
  if (batches === null && method !== "svd") {
    throw new OptionError(`${op}: ${method} needs batches, got null; give some, or use { method: "svd" }`);
  }
  const layers = servedLayers(op, model, read.layers, refusal);
  const corrected: Partial<Correctable>[] = [];
  const correct = (site: Site, statistics: Partial<InputStatistics> | null): QTensor => {
    const codes = site.transform.codes ?? roundedBy(site, seenBy(op, site));
    const values = dequantize(codes).data;
    const lost = matrixOf(site).map((w, i) => w - (values[i] as number));
    const owner = site.owner as Partial<Correctable>;
    owner.correction = layerOf(op, site, factorsOf(lost, site, rank, statistics));
    corrected.push(owner);
    return codes;
  };
  try {
    if (batches === null || method === "svd") {
      holdEach(op, model, { layers, onLayer }, (site) => correct(site, null));
    } else {
      const keep: Statistic[] = [method === "eigen" ? "hessian" : "meanAbs"];
      await visitInOrder(op, model, batches, { layers, forward, onLayer }, keep, correct);
    }
  } catch (error) {
    for (const owner of corrected) owner.correction = null;
    throw error;
  }
  return model;
}

interface Correctable {
  correction: LowRank | null;
}

function refusal({ owner }: Site): string | null {
  return "correction" in owner ? null : "corrections go to linear layers, got another";
}

function factorsOf(
  lost: Float64Array,
  { rows, columns }: Site,
  rank: number,
  statistics: Partial<InputStatistics> | null,
): LowRankFactors | null {
  const { hessian, meanAbs } = statistics ?? {};
  if (hessian) return eigenFactors(lost, rows, columns, rank, hessian.data as Float64Array);
  if (meanAbs) return scaledFactors(lost, rows, columns, rank, meanAbs.data as Float64Array);
  return lowRankFactors(lost, rows, columns, rank);
}

function layerOf(op: string, { rows, columns, layer }: Site, factors: LowRankFactors | null): LowRank {
  if (factors === null) {
    throw new OptionError(
      `${op}: the weight and its codes must be finite, got others in layer ${show(layer)}`,
    );
  }
  const { rank, a, b } = factors;
  const made = withoutDraws(() => new LowRank(columns, rows, rank));
  made.a.assign(tensor(Float32Array.from(a), { shape: [rank, columns] }));
  made.b.assign(tensor(Float32Array.from(b), { shape: [rows, rank] }));
  return made;
}

/**
 * The factors of a matrix of doubles whose product is the nearest of rank `rank`, each with half of the singular values;
 * null for numbers that are not finite. Of the smaller side's singular vectors, as eigenvectors of its products, the first
 * are kept, and the matrix is projected on them: small ones are not told apart to full precision, and need not be.
 */
export function lowRankFactors(
  matrix: Float64Array,
  rows: number,
  columns: number,
  rank: number,
): LowRankFactors | null {
  if (rows > columns) {
    const turned = lowRankFactors(transposed(matrix, rows, columns), columns, rows, rank);
    if (turned === null) return null;
    const { rank: r, a, b } = turned;
    return { rank: r, a: transposed(b, columns, r), b: transposed(a, r, rows) };
  }
  const gram = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j <= i; j++) gram[i * rows + j] = dot(matrix, i * columns, matrix, j * columns, columns);
  const found = eigh(gram, rows);
  if (found === null) return null;
  const r = Math.min(rank, rows);
  const a = new Float64Array(r * columns);
  const b = new Float64Array(rows * r);
  for (let k = 0; k < r; k++) {
    // The largest come last.
    const vector = (rows - 1 - k) * rows;
    for (let i = 0; i < rows; i++) {
      addScaled(a, k * columns, found.vectors[vector + i], matrix, i * columns, columns);
    }
    const root = dot(a, k * columns, a, k * columns, columns) ** 0.25;
    if (root === 0) continue;
    for (let j = 0; j < columns; j++) a[k * columns + j] /= root;
    for (let i = 0; i < rows; i++) b[i * r + k] = root * found.vectors[vector + i];
  }
  return { rank: r, a, b };
}

/** Inputs of less than this share of the largest count as so much: what is divided by them stays in range. */
const leastShare = 1e-5;

/** The same where column j counts by `sizes[j]`: LQER's, of E·diag(sizes) and then divided by them. */
export function scaledFactors(
  matrix: Float64Array,
  rows: number,
  columns: number,
  rank: number,
  sizes: Float64Array,
): LowRankFactors | null {
  const most = sizes.reduce((a, b) => Math.max(a, b), 0);
  if (most === 0) return lowRankFactors(matrix, rows, columns, rank);
  const by = sizes.map((size) => Math.max(size / most, leastShare));
  const found = lowRankFactors(
    matrix.map((e, i) => e * by[i % columns]),
    rows,
    columns,
    rank,
  );
  return found && { ...found, a: found.a.map((v, i) => v / by[i % columns]) };
}

/**
 * The same for the least tr(E H Eᵀ) of what is left, with H = XᵀX of the inputs: EoRA's, in the eigenvectors of H, each of
 * which counts by the root of its eigenvalue.
 */
export function eigenFactors(
  matrix: Float64Array,
  rows: number,
  columns: number,
  rank: number,
  hessian: Float64Array,
): LowRankFactors | null {
  const found = eigh(hessian, columns);
  if (found === null) return null;
  const { values, vectors } = found;
  const turned = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < columns; k++)
      turned[i * columns + k] = dot(matrix, i * columns, vectors, k * columns, columns);
  const sizes = values.map((value) => Math.sqrt(Math.max(0, value)));
  const factors = scaledFactors(turned, rows, columns, rank, sizes);
  if (factors === null) return null;
  const a = new Float64Array(factors.a.length);
  for (let r = 0; r < factors.rank; r++)
    for (let k = 0; k < columns; k++)
      addScaled(a, r * columns, factors.a[r * columns + k], vectors, k * columns, columns);
  return { ...factors, a };
}
