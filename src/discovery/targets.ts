/** What unlabelled items are taught: soft labels that use all classes alike, and their mixture with labels. */

import { isFloat } from "../dtype.ts";
import {
  checkInteger,
  checkShare,
  DTypeError,
  OptionError,
  readOptions,
  ShapeError,
  show,
} from "../errors.ts";
import { concat } from "../ops/join.ts";
import { floats } from "../ops/softmax.ts";
import { sameShape } from "../shape.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { asTensor, type Tensor, type TensorLike, tensor } from "../tensor.ts";
import { rowsOf } from "./given.ts";

export interface SinkhornOptions {
  /** How often classes, then rows are scaled. */
  iterations: number;
  /** Divides the logits; the lower, the harder the labels. */
  temperature: number;
}

const sinkhornDefaults: SinkhornOptions = { iterations: 3, temperature: 0.05 };

/**
 * Soft labels of logits (B, K): exp(logits/temperature), scaled by turns so that each class gets B/K in all and each row
 * sums to 1. Rows end exactly so; classes come near, the nearer the more `iterations`. Without a gradient. Computed by
 * logarithms in float64, so that no logits overflow. Cuturi, 2013; as UNO does, Fini et al., 2021, arXiv:2108.08536.
 *
 * @example
 * ```ts
 * import { sinkhorn } from "bitgrad/discovery";
 *
 * const soft = sinkhorn([[1, 0], [0.9, 0]], { iterations: 50 });
 * console.log(soft.sum({ axis: 1 }).toArray()); // [1, 1]
 * ```
 */
export function sinkhorn(logits: TensorLike, options?: Partial<SinkhornOptions>): Tensor {
  const settings = readOptions<SinkhornOptions>("sinkhorn", options, sinkhornDefaults);
  return balanced("sinkhorn", "logits", logits, settings);
}

function balanced(op: string, name: string, logits: TensorLike, settings: SinkhornOptions): Tensor {
  const { iterations, temperature } = settings;
  checkInteger(op, "iterations", iterations, 1);
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new OptionError(`${op}: temperature must be a finite number above 0, got ${show(temperature)}`);
  }
  const { dtype, shape } = floats(asTensor(op, logits));
  const { data } = rowsOf(op, name, logits);
  const top = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / temperature;
  if (top === Infinity) {
    throw new OptionError(`${op}: logits over temperature must be finite, got temperature ${temperature}`);
  }
  return noGrad(() =>
    scope(() => {
      let x = tensor(data, { shape, dtype: "float64" }).div(temperature);
      for (let i = 0; i < iterations; i++) {
        for (const axis of [0, 1]) x = x.sub(x.logSumExp({ axis, keepDims: true }));
      }
      return x.exp().to(dtype);
    }),
  );
}

/**
 * alpha·hard + (1 − alpha)·soft, of one shape and without a gradient. Alpha of 1 gives `hard` bit for bit, alpha of 0
 * `soft`. Li et al., 2022, arXiv:2209.09120.
 *
 * @example
 * ```ts
 * import { mixTargets } from "bitgrad/discovery";
 *
 * console.log(mixTargets([[1, 0]], [[0.5, 0.5]], { alpha: 0.5 }).toArray()); // [[0.75, 0.25]]
 * ```
 */
export function mixTargets(hard: TensorLike, soft: TensorLike, options: { alpha: number }): Tensor {
  const op = "mixTargets";
  const { alpha } = readOptions(op, options, { alpha: undefined as unknown as number });
  checkShare(op, "alpha", alpha);
  const [a, b] = [asTensor(op, hard), asTensor(op, soft)].map((x) => floats(x.detach()));
  if (!sameShape(a.shape, b.shape)) {
    throw new ShapeError(`${op}: both must have one shape, got ${show(a.shape)} and ${show(b.shape)}`);
  }
  if (alpha === 1) return a;
  return alpha === 0 ? b : a.mul(alpha).add(b.mul(1 - alpha));
}

export interface DiscoveryTargetsOptions extends SinkhornOptions {
  /** The share of labels in the targets of labelled rows; `sinkhorn` of these rows gives the rest. */
  alpha: number;
}

/**
 * Targets (B, L + U) of a batch that holds labelled and unlabelled rows, given its logits of L labelled classes (B, L) and U
 * others (B, U). Rows whose label is below L get `mixTargets` of it and of `sinkhorn` over these rows; the others, of any
 * higher label, get `sinkhorn` of their own logits. The classes of the other kind get 0. With alpha of 1, the default, these
 * are the targets of UNO, arXiv:2108.08536.
 *
 * @example
 * ```ts
 * import { discoveryTargets } from "bitgrad/discovery";
 *
 * const targets = discoveryTargets([1, 2], [[0, 0], [0, 0]], [[0, 0], [0, 0]]);
 * console.log(targets.toArray()); // [[0, 1, 0, 0], [0, 0, 0.5, 0.5]]
 * ```
 */
export function discoveryTargets(
  labels: TensorLike,
  labelled: TensorLike,
  unlabelled: TensorLike,
  options?: Partial<DiscoveryTargetsOptions>,
): Tensor {
  const op = "discoveryTargets";
  const { alpha, ...settings } = readOptions<DiscoveryTargetsOptions>(op, options, {
    ...sinkhornDefaults,
    alpha: 1,
  });
  checkShare(op, "alpha", alpha);
  const given = asTensor(op, labels, "int32");
  if (isFloat(given.dtype) || given.dtype === "bool") {
    throw new DTypeError(`${op}: labels must be integers, got ${given.dtype}`);
  }
  const [known, other] = [rowsOf(op, "labelled", labelled), rowsOf(op, "unlabelled", unlabelled)];
  if (!sameShape(given.shape, [known.n]) || other.n !== known.n) {
    throw new ShapeError(
      `${op}: needs as many labels as rows of both, got ${show(given.shape)} for ${known.n} and ${other.n} rows`,
    );
  }
  const of = Array.from(given.data);
  const negative = of.find((label) => label < 0);
  if (negative !== undefined) throw new OptionError(`${op}: labels must not be negative, got ${negative}`);
  const width = known.d + other.d;
  const out = new Float64Array(known.n * width);
  const fill = (rows: number[], logits: TensorLike, name: string, at: number, share: number): void => {
    if (rows.length === 0) return;
    const index = tensor(rows, { dtype: "int32" });
    const soft = noGrad(() =>
      balanced(op, name, asTensor(op, logits).indexSelect(index, { axis: 0 }), settings),
    );
    const [, classes] = soft.shape;
    for (const [i, row] of rows.entries()) {
      for (let c = 0; c < classes; c++) out[row * width + at + c] = share * soft.data[i * classes + c];
    }
  };
  const isKnown = (row: number) => of[row] < known.d;
  const rows = Array.from(of.keys());
  const taught = rows.filter(isKnown);
  if (alpha < 1) fill(taught, labelled, "labelled", 0, 1 - alpha);
  for (const row of taught) out[row * width + of[row]] += alpha;
  fill(
    rows.filter((row) => !isKnown(row)),
    unlabelled,
    "unlabelled",
    known.d,
    1,
  );
  const { dtype } = noGrad(() =>
    concat([asTensor(op, labelled), asTensor(op, unlabelled)].map(floats), { axis: 1 }),
  );
  return tensor(out, { shape: [known.n, width], dtype });
}
