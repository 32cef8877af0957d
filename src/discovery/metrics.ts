/** How well clusters agree with classes, whatever either are called. */

import { checkChoice, readOptions, ShapeError } from "../errors.ts";
import type { TensorLike } from "../tensor.ts";
import { labelsOf, type Rows } from "./given.ts";
import { assign } from "./hungarian.ts";

/** How many items lie in each cluster (a row) and class (a column). */
function counts(op: string, predicted: TensorLike, labels: TensorLike): Rows & { items: number } {
  const clusters = labelsOf(op, "predicted", predicted);
  const classes = labelsOf(op, "labels", labels);
  const items = clusters.of.length;
  if (classes.of.length !== items) {
    throw new ShapeError(
      `${op}: there must be one label for each item, got ${items} predicted and ${classes.of.length} labels`,
    );
  }
  const data = new Float64Array(clusters.count * classes.count);
  for (let i = 0; i < items; i++) data[clusters.of[i] * classes.count + classes.of[i]]++;
  return { data, n: clusters.count, d: classes.count, items };
}

function margins({ data, n, d }: Rows): { rows: Float64Array; columns: Float64Array } {
  const [rows, columns] = [new Float64Array(n), new Float64Array(d)];
  for (let i = 0; i < data.length; i++) {
    rows[Math.floor(i / d)] += data[i];
    columns[i % d] += data[i];
  }
  return { rows, columns };
}

/**
 * The share of items whose cluster is the one that stands for their class, where each cluster stands for one class at most
 * and the pairs are those that make the share largest.
 *
 * @example
 * ```ts
 * import { clusterAccuracy } from "bitgrad/discovery";
 *
 * console.log(clusterAccuracy([2, 2, 0, 0], [0, 0, 1, 0])); // 0.75
 * ```
 */
export function clusterAccuracy(predicted: TensorLike, labels: TensorLike): number {
  const table = counts("clusterAccuracy", predicted, labels);
  return assign(table, -1).total / table.items;
}

const means = {
  arithmetic: (a: number, b: number) => (a + b) / 2,
  geometric: (a: number, b: number) => Math.sqrt(a * b),
  min: Math.min,
  max: Math.max,
};

export interface NmiOptions {
  /** What of the two entropies the information is divided by; default "arithmetic". */
  average: keyof typeof means;
}

/**
 * What clusters tell about classes, I(clusters; classes) over a mean of both entropies: from 0 to 1. One cluster agrees
 * wholly with one class.
 *
 * @example
 * ```ts
 * import { nmi } from "bitgrad/discovery";
 *
 * console.log(nmi([2, 2, 0, 0], [0, 0, 1, 0])); // 0.344
 * ```
 */
export function nmi(predicted: TensorLike, labels: TensorLike, options?: Partial<NmiOptions>): number {
  const { average } = readOptions<NmiOptions>("nmi", options, { average: "arithmetic" });
  checkChoice("nmi", "average", average, Object.keys(means));
  const table = counts("nmi", predicted, labels);
  const { data, n, d, items } = table;
  if (n === 1 && d === 1) return 1;
  if (n === 1 || d === 1) return 0;
  const { rows, columns } = margins(table);
  let information = 0;
  for (let i = 0; i < data.length; i++) {
    if (data[i] === 0) continue;
    const alone = (rows[Math.floor(i / d)] / items) * columns[i % d];
    information += (data[i] / items) * Math.log(data[i] / alone);
  }
  const entropy = (of: Float64Array) => of.reduce((sum, x) => sum - (x / items) * Math.log(x / items), 0);
  const share = information / means[average](entropy(rows), entropy(columns));
  return Math.min(Math.max(share, 0), 1);
}

/**
 * The Rand index of two groupings, taken over what chance gives: 1 where they are equal, about 0 for random ones. Hubert and
 * Arabie, 1985.
 *
 * @example
 * ```ts
 * import { ari } from "bitgrad/discovery";
 *
 * console.log(ari([2, 2, 0, 0], [0, 0, 1, 1]), ari([0, 1, 0, 1], [0, 0, 1, 1])); // 1 -0.5
 * ```
 */
export function ari(predicted: TensorLike, labels: TensorLike): number {
  const table = counts("ari", predicted, labels);
  const { rows, columns } = margins(table);
  const pairs = (of: Float64Array) => of.reduce((sum, x) => sum + (x * (x - 1)) / 2, 0);
  const [both, inRows, inColumns] = [pairs(table.data), pairs(rows), pairs(columns)];
  if (both === inRows && both === inColumns) return 1;
  const chance = (inRows * inColumns) / ((table.items * (table.items - 1)) / 2);
  return (both - chance) / ((inRows + inColumns) / 2 - chance);
}
