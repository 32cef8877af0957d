/** clipSearch: scales that clip where the error falls by it, and the search for them. */

import type { QTensor } from "../../codes/contract.ts";
import { type QuantParams, storedScale } from "../../codes/params.ts";
import { scalarCodes } from "../../codes/scalar.ts";
import type { QuantSpec } from "../../codes/spec.ts";
import { isBuiltIn, OptionError, readOptions, ShapeError, show } from "../../errors.ts";
import { isTensor, type Tensor, wrap } from "../../tensor.ts";
import { checkRounding, roundedBy, seenBy } from "./rounded.ts";
import {
  type CalibrationOptions,
  calibrationDefaults,
  holdEach,
  type Site,
  scaleIndices,
  visitInOrder,
} from "./sites.ts";

/** The shares of a scale that are tried: 1, .99, …, those above `least`. */
const ratiosAbove = (least: number): number[] =>
  Array.from({ length: 100 }, (_, i) => (100 - i) / 100).filter((ratio) => ratio > least);

/** Down to .21, as in GPTQ's public code. */
const usualLeast = 0.2;

export interface Search {
  readonly weight: ArrayLike<number>;
  /** Which scale reads each element. */
  readonly index: Int32Array;
  /** The elements that count; null for all. */
  readonly elements: Int32Array | null;
  /** What the error of each element is multiplied by; null for 1. */
  readonly importance: Float64Array | null;
  readonly norm: number;
  /** Shares above this are tried; 0.2 where it is left out. */
  readonly least?: number;
}

/**
 * Each scale times the one of 1, .99, … by which Σ |w − ŵ|^norm of its elements is least, the largest of equals, in
 * the type that the spec stores. Scales without elements stay.
 */
export function clippedScales(
  spec: QuantSpec,
  { scale, zeroPoint }: QuantParams,
  { weight, index, elements, importance, norm, least: above = usualLeast }: Search,
): QuantParams {
  const { codeOf, valueOf } = scalarCodes(spec);
  const given = scale.data as Float32Array;
  const zeros = zeroPoint?.data as Float32Array | undefined;
  const best = Float32Array.from(given);
  const least = new Float64Array(given.length).fill(Infinity);
  const errors = new Float64Array(given.length);
  const count = elements?.length ?? weight.length;
  for (const ratio of ratiosAbove(above)) {
    const scaled = wrap(
      given.map((s) => s * ratio),
      scale.shape,
      "float32",
    );
    const tried = storedScale(scaled, spec).data;
    errors.fill(0);
    for (let e = 0; e < count; e++) {
      const i = elements ? elements[e] : e;
      const k = index[i];
      // What is as large already is not taken, however the sum goes on.
      if (errors[k] >= least[k]) continue;
      const zero = zeros ? zeros[k] : 0;
      // A draw of a half rounds to the nearest where rounding is stochastic.
      const off = Math.abs(weight[i] - valueOf(codeOf(weight[i], tried[k], zero, 0.5), tried[k], zero));
      const error = norm === 2 ? off * off : off ** norm;
      errors[k] += importance ? importance[i] * error : error;
    }
    for (let k = 0; k < best.length; k++) {
      if (errors[k] >= least[k]) continue;
      least[k] = errors[k];
      best[k] = tried[k];
    }
  }
  return { scale: wrap(best, scale.shape, "float32"), zeroPoint };
}

export interface ClipSearchOptions<B> extends CalibrationOptions<B> {
  /** The power of the error that is summed. Default 2. */
  norm: number;
  /** Shares of a scale above this are tried. Default 0.2; 0 tries all of 1, .99, … .01, for tails that are far heavier. */
  least: number;
  /**
   * The sums of squares of inputs, by the paths of layers, in the place of batches: of `statistics`, or of `readImatrix`.
   * They are those of the float model, whatever the codes of earlier layers. Of layers that share a weight they add up.
   */
  importance: ReadonlyMap<string, { readonly sumOfSquares: Tensor<"float64"> }> | null;
}

const op = "clipSearch";

/**
 * Finds for every scale the share, of 1, .99, … .21, by which the error Σ h |w − ŵ|^norm of its weights is least, in
 * place, and returns the model: weights that become larger than the largest code are clipped, and all others are rounded
 * more finely. h is the sum of squares of a weight's inputs over the batches, which layers are given in the order in
 * which the model runs them, with the codes of earlier layers in place; or what `importance` says, or 1 where both are
 * null. The scales are those of the quantizers, zero points stay, and no error is larger than with the quantizer's own
 * scale. The codes are held until a weight is written, and `freeze` keeps them (`QuantizedTransform.hold`). The search
 * is that of
 * GPTQ's public code, which takes norm 2.4 and h = 1. With h = 1 and norm 2 it is OMSE (Choukroun et al., 2019,
 * arXiv:1902.06822), which the observer `mse` is for inputs.
 *
 * Rejects with StageError for a model that is not prepared, or frozen, without a batch, and for a layer that no batch
 * reaches, and with OptionError for a quantizer with codes of its own, a pattern that fits no layer, and numbers that
 * are not finite. The model is then as it was.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { clipSearch, int4WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const layer = prepare(new Linear(64, 8), plan({ default: int4WeightOnly() }));
 * layer.weight.assign(randn([8, 64], { rng: new Rng(1) }));
 * const error = () => layer.weight.effective().sub(layer.weight.value).square().mean().item();
 * const rounded = error();
 * await clipSearch(layer);
 * console.log(error() < rounded); // true
 * ```
 */
export async function clipSearch<M extends object, B>(
  model: M,
  batches?: Iterable<B> | AsyncIterable<B> | null,
  options?: Partial<ClipSearchOptions<B>>,
): Promise<M> {
  const read = readOptions<ClipSearchOptions<B>>(op, options, {
    ...calibrationDefaults,
    norm: 2,
    least: usualLeast,
    importance: null,
  });
  const { norm, least, importance } = read;
  if (!(norm > 0 && norm < Infinity)) {
    throw new OptionError(`${op}: norm must be positive and finite, got ${norm}`);
  }
  if (!(least >= 0 && least < 1)) throw new OptionError(`${op}: least must lie in [0, 1), got ${least}`);
  if (importance !== null && !isBuiltIn("Map", importance)) {
    throw new OptionError(`${op}: importance must be a Map by paths of layers, got ${show(importance)}`);
  }
  if (batches !== null && batches !== undefined) {
    if (importance) {
      throw new OptionError(`${op}: importance takes the place of batches, got both; leave one out`);
    }
    await visitInOrder(op, model, batches, read, ["sumOfSquares"], (site, { sumOfSquares }) =>
      clipped(site, read, sumOfSquares.data),
    );
    return model;
  }
  if (read.forward !== null) {
    throw new OptionError(`${op}: forward runs batches, got ${show(batches)} for them; leave it out`);
  }
  holdEach(op, model, read, (site) => clipped(site, read, importance && squaresOf(site, importance)));
  return model;
}

type Importance = NonNullable<ClipSearchOptions<never>["importance"]>;

/** What an importance says of the inputs of a site's columns, in all layers that share the weight. */
const squaresOf = (site: Site, importance: Importance): Float64Array =>
  [site.layer, ...site.sharing]
    .map((layer) => squaresOfLayer(layer, site, importance))
    .reduce((sum, squares) => sum.map((v, i) => v + squares[i]));

function squaresOfLayer(layer: string, { owner, columns }: Site, importance: Importance): Float64Array {
  const found = importance.get(layer)?.sumOfSquares;
  if (!isTensor(found)) {
    throw new OptionError(
      `${op}: importance must tell of every layer, got ${show(found)} of ${show(layer)}; leave it out of layers`,
    );
  }
  // Of a convolution in groups the columns of all groups stand one after another, as statistics has them.
  const { groups = 1 } = owner as { groups?: number };
  if (found.size !== groups * columns) {
    throw new ShapeError(
      `${op}: importance must have a number for each column, got ${found.size} for ${groups * columns} of layer ${show(layer)}`,
    );
  }
  const bad = Array.from(found.data).findIndex((v) => !(v >= 0 && v < Infinity));
  if (bad === -1) return found.data as Float64Array;
  throw new OptionError(
    `${op}: importance must be finite and not negative, got ${found.data[bad]} of column ${bad} of layer ${show(layer)}`,
  );
}

/** The codes of a site by the scales with the least error; `squares` has a number for each input of each group of rows. */
function clipped(
  site: Site,
  { norm, least }: Pick<ClipSearchOptions<never>, "norm" | "least">,
  squares: Float64Array | null,
): QTensor {
  checkRounding(op, site);
  const { rows, columns, spec } = site;
  const seen = seenBy(op, site);
  const search: Search = {
    weight: seen.latent.data as ArrayLike<number>,
    index: scaleIndices(site),
    elements: null,
    importance: squares && spread(squares, rows, columns),
    norm,
    least,
  };
  return roundedBy(site, seen, clippedScales(spec, roundedBy(site, seen), search));
}

/** What belongs to the columns of each group of rows, for every element of a weight (rows, columns). */
function spread(of: Float64Array, rows: number, columns: number): Float64Array {
  const perGroup = (rows * columns) / (of.length / columns);
  return Float64Array.from(
    { length: rows * columns },
    (_, at) => of[Math.floor(at / perGroup) * columns + (at % columns)],
  );
}
