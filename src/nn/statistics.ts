/** Statistics of what layers are given, gathered over batches of which nothing else is kept. */

import { anyNonFinite } from "../backend.ts";
import { undoing } from "../changes.ts";
import type { FloatArray } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, StageError, show } from "../errors.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { asTensor, isTensor, type Tensor, tensor, wrap } from "../tensor.ts";
import { batchRunner } from "./batches.ts";
import type { Layer } from "./layer.ts";
import { noMatch, whileEvaluating, whileFloat } from "./modes.ts";
import { type PathPattern, pathMatcher } from "./pattern.ts";
import { type TappedCall, taps } from "./taps.ts";
import { namedLayers } from "./tree.ts";

const all = ["absmax", "mean", "meanAbs", "sumOfSquares", "hessian"] as const;

/** Of every column of the matrix X that a weight multiplies; `meanAbs` is the mean of |X|, `hessian` is XᵀX. */
export type Statistic = (typeof all)[number];

/**
 * What a layer was given, in double precision, as the matrix X that its weight, a matrix (out, columns), multiplies:
 * one row per position, or per window of a convolution, whose columns are channel · height · width. Of a convolution
 * in groups the columns of all groups stand one after another.
 */
export type InputStatistics<K extends Statistic = Statistic> = {
  /** How many rows were seen. */
  readonly rows: number;
} & {
  /** (columns); the Hessian is (columns, columns), or (groups, columns, columns) of more than one group. */
  readonly [S in K]: Tensor<"float64">;
};

export interface StatisticsOptions<B, K extends Statistic = Statistic> {
  /** Paths of layers, or patterns of `matchPath`; null for all that have an `inputMatrix`. */
  layers: PathPattern | readonly PathPattern[] | null;
  /** Which are gathered. By default absmax, mean and sumOfSquares; the size of a Hessian is the square of the columns. */
  keep: readonly K[];
  /** How a batch is run, where it is not what the model's `forward` takes. */
  forward: ((batch: B) => unknown) | null;
  /** Whether quantizers of weights and inputs are switched off meanwhile. Default true. */
  float: boolean;
}

/** A layer that tells its input as a matrix, as Linear and convolutions do. */
export interface MatrixLayer extends Layer {
  inputMatrix(x: Tensor): Tensor;
}

const hasMatrix = (layer: Layer): layer is MatrixLayer =>
  typeof (layer as Partial<MatrixLayer>).inputMatrix === "function";

/**
 * Runs batches through a model in evaluation, without gradients, and gathers statistics of the inputs of its linear layers
 * and convolutions, by path; a layer of one's own takes part by an `inputMatrix`. Every row counts alike, whatever the size
 * of its batch. Quantizers are switched off, so that a prepared model gives the statistics of the float one: masks and
 * other transforms that do not quantize stay. Rejects with OptionError for a pattern that fits no such layer and for an
 * input that is not finite, and with StageError without batches and for a layer that none reached. The model is left as
 * it was, also by an error.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { Linear, Sequential, statistics } from "bitgrad/nn";
 *
 * const model = new Sequential(new Linear(4, 8), new Linear(8, 2));
 * const found = await statistics(model, [randn([16, 4]), randn([3, 4])], { layers: "1", keep: ["absmax", "hessian"] });
 * const { rows, absmax, hessian } = found.get("1")!;
 * console.log(rows, absmax.shape, hessian.shape); // 19 [8] [8, 8]
 * ```
 */
export async function statistics<B, K extends Statistic = Exclude<Statistic, "hessian">>(
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<StatisticsOptions<B, K>>,
): Promise<Map<string, InputStatistics<K>>> {
  const op = "statistics";
  const { layers, keep, forward, float } = readOptions<StatisticsOptions<B, Statistic>>(op, options, {
    layers: null,
    keep: ["absmax", "mean", "sumOfSquares"],
    forward: null,
    float: true,
  });
  checkKeep(keep);
  const chosen = matrixLayers(op, model, layers);
  const around = (fn: () => void) => (float ? whileFloat(model, fn) : fn());
  return gather(op, model, chosen, batches, { keep: keep as readonly K[], forward, around, until: null });
}

export interface Gathering<B, K extends Statistic> {
  readonly keep: readonly K[];
  readonly forward: ((batch: B) => unknown) | null;
  /** Runs a batch with the model as it is to be meanwhile. */
  readonly around: (fn: () => void) => void;
  /** Path of the layer after whose first return a batch ends; null for its end. */
  readonly until: string | null;
}

/** The statistics of layers, as `statistics` tells; `op` is what errors name. */
export async function gather<B, K extends Statistic>(
  op: string,
  model: object,
  layers: ReadonlyMap<string, MatrixLayer>,
  batches: Iterable<B> | AsyncIterable<B>,
  { keep, forward, around, until }: Gathering<B, K>,
): Promise<Map<string, InputStatistics<K>>> {
  const run = batchRunner(op, model, batches, forward);
  const gathered = new Map<MatrixLayer, Gathered>();
  for (const [path, layer] of layers) {
    if (!gathered.has(layer)) gathered.set(layer, new Gathered(op, path, keep));
  }
  let batch = 0;
  const tap = taps(
    model,
    [...gathered.values()].map(({ path }) => exactly(path)),
  );
  try {
    for await (const given of batches) {
      const pass = () =>
        scope(() => {
          const { calls } =
            until === null ? tap.collect(() => run(given)) : tap.collect(() => run(given), { until });
          for (const [layer, into] of gathered) into.take(layer, calls.get(into.path)!, batch);
        });
      undoing(() => whileEvaluating(model, () => noGrad(() => around(pass))));
      batch++;
    }
  } finally {
    tap.dispose();
  }
  if (batch === 0) throw new StageError(`${op}: needs at least one batch, got none`);
  const found = new Map([...gathered].map(([layer, into]) => [layer, into.result()]));
  return new Map([...layers].map(([path, layer]) => [path, found.get(layer) as InputStatistics<K>]));
}

function checkKeep(keep: readonly Statistic[]): void {
  if (Array.isArray(keep) && keep.length > 0 && keep.every((name) => all.includes(name))) return;
  throw new OptionError(`statistics: keep must list some of ${all.join(", ")}, got ${show(keep)}`);
}

/** The layers with an input matrix that a pattern fits, by path. */
export function matrixLayers(
  op: string,
  model: object,
  layers: StatisticsOptions<never, never>["layers"],
): Map<string, MatrixLayer> {
  const named = namedLayers(model).filter((pair): pair is [string, MatrixLayer] => hasMatrix(pair[1]));
  const patterns = (
    layers === null ? ["**"] : Array.isArray(layers) ? layers : [layers]
  ) as readonly PathPattern[];
  const chosen = new Map<string, MatrixLayer>();
  for (const pattern of patterns) {
    const fits = pathMatcher(pattern);
    const found = named.filter(([path]) => fits(path));
    if (found.length === 0) {
      const names = named.map(([path]) => path);
      throw noMatch(op, "linear layer or convolution", pattern, names);
    }
    for (const [path, layer] of found) chosen.set(path, layer);
  }
  if (chosen.size === 0) throw new OptionError(`${op}: needs a pattern of layers, got ()`);
  return chosen;
}

export const exactly = (path: string): RegExp =>
  new RegExp(`^${path.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`);

/** Numbers of a part of a matrix that is made at once, so that the windows of a large batch need little memory. */
const partSize = 2 ** 20;

/** What is kept of one layer. */
class Gathered {
  private readonly op: string;
  readonly path: string;
  private readonly keep: ReadonlySet<Statistic>;
  private rows = 0;
  private groups = 0;
  private columns = 0;
  private absmax = new Float64Array(0);
  private sum = new Float64Array(0);
  private sizes = new Float64Array(0);
  private squares = new Float64Array(0);
  private hessian = new Float64Array(0);

  constructor(op: string, path: string, keep: readonly Statistic[]) {
    this.op = op;
    this.path = path;
    this.keep = new Set(keep);
  }

  take(layer: MatrixLayer, calls: readonly TappedCall[], batch: number): void {
    for (const { inputs } of calls) {
      const x = asTensor(this.op, inputs[0] as Tensor);
      for (const part of parts(x, layer)) scope(() => this.add(part(), batch));
    }
  }

  private add(given: Tensor, batch: number): void {
    const at = `layer ${show(this.path)}, batch ${batch}`;
    if (!isTensor(given) || given.rank !== 3) {
      throw new ShapeError(
        `${this.op}: an inputMatrix must be (groups, rows, columns), got ${show(given)} of ${at}`,
      );
    }
    const [groups, rows, columns] = given.shape;
    const x = given.dtype === "float64" ? given : tensor(given, { dtype: "float64" });
    if (anyNonFinite(x.data as Float64Array, x.size)) {
      const bad = (x.data as Float64Array).find((v) => !Number.isFinite(v));
      throw new OptionError(
        `${this.op}: inputs must be finite, got ${bad} in ${at}; mend the batch or the layers before it`,
      );
    }
    this.size(groups, columns, at);
    this.rows += rows;
    this.addColumns(x.data as Float64Array, rows);
    if (!this.keep.has("hessian") || rows === 0) return;
    const product = x.matmul(x, { transposeA: true }).data;
    for (let i = 0; i < product.length; i++) this.hessian[i] += product[i] as number;
  }

  /** Makes room at first; later matrices must fit. */
  private size(groups: number, columns: number, at: string): void {
    if (this.groups === 0) {
      this.groups = groups;
      this.columns = columns;
      const size = groups * columns;
      for (const name of ["absmax", "sum", "sizes", "squares"] as const) this[name] = new Float64Array(size);
      if (this.keep.has("hessian")) this.hessian = new Float64Array(size * columns);
    }
    if (this.groups === groups && this.columns === columns) return;
    throw new ShapeError(
      `${this.op}: a layer's inputs must have the same columns, got ${show([groups, columns])} after ${show([this.groups, this.columns])} in ${at}`,
    );
  }

  private addColumns(x: FloatArray, rows: number): void {
    const { absmax, sum, sizes, squares, groups, columns } = this;
    for (let g = 0, i = 0; g < groups; g++) {
      for (let r = 0; r < rows; r++) {
        for (let c = g * columns; c < (g + 1) * columns; c++, i++) {
          const v = x[i];
          absmax[c] = Math.max(absmax[c], Math.abs(v));
          sum[c] += v;
          sizes[c] += Math.abs(v);
          squares[c] += v * v;
        }
      }
    }
  }

  result(): InputStatistics {
    const { path, rows, groups, columns, absmax, sum, sizes, squares, hessian } = this;
    if (rows === 0) {
      throw new StageError(
        `${this.op}: no batch reached a layer, got no input of ${show(path)}; run it by { forward }, or leave it out of layers`,
      );
    }
    const square = groups === 1 ? [columns, columns] : [groups, columns, columns];
    const [mean, meanAbs] = [sum, sizes].map((total) => total.map((s) => s / rows));
    const made = { absmax, mean, meanAbs, sumOfSquares: squares, hessian };
    const kept = [...this.keep].map((name): [Statistic, Tensor<"float64">] => {
      const data = made[name];
      if (anyNonFinite(data, data.length)) {
        throw new OptionError(
          `${this.op}: ${name} is beyond double precision, got ${data.find((v) => !Number.isFinite(v))} in layer ${show(path)}; scale its inputs`,
        );
      }
      return [name, wrap(data, name === "hessian" ? square : [groups * columns], "float64")];
    });
    return { rows, ...Object.fromEntries(kept) } as InputStatistics;
  }
}

/** What makes the matrix of an input, a few samples at a time: as many as keep it small, whatever the number of threads. */
function* parts(x: Tensor, layer: MatrixLayer): Generator<() => Tensor> {
  const samples = x.rank < 2 ? 1 : x.shape[0];
  if (samples <= 1) return yield () => layer.inputMatrix(x);
  let many = 1;
  for (let from = 0; from < samples; ) {
    const to = Math.min(samples, from + many);
    yield () => {
      const part = layer.inputMatrix(x.slice([[from, to]]));
      if (from === 0) many = Math.max(1, Math.floor(partSize / Math.max(1, part.size)));
      return part;
    };
    from = to;
  }
}
