/** HQQ: zero points that are no integers, moved to where most weights are met closely and outliers are not. */

import type { QTensor } from "../../codes/contract.ts";
import { floatsOf } from "../../codes/loops.ts";
import { shapeOfCodes } from "../../codes/quantizer.ts";
import { forRuns } from "../../codes/runs.ts";
import { scalarCodes } from "../../codes/scalar.ts";
import type { QuantSpec } from "../../codes/spec.ts";
import { checkInteger, OptionError, readOptions, show } from "../../errors.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { checkRounding, roundedBy, seenBy } from "./rounded.ts";
import { type DataFreeOptions, dataFreeDefaults, holdEach, type Site } from "./sites.ts";

interface HalfQuadratic {
  /** How often zero points are moved. Default 20. */
  iterations: number;
  /** The p of Σ|w − ŵ|^p, which is made less; above 0 and at most 1. Default 0.7. */
  norm: number;
  /** How closely the first step holds to the weights; above 0. Default 10. */
  beta: number;
  /** By how much more each further step does: a factor of at least 1. Default 1.01. */
  kappa: number;
}

export interface HqqOptions extends DataFreeOptions, HalfQuadratic {}

/** Zero points, and with them the sum of |w − ŵ| over the numbers of each. */
interface Iterate {
  readonly zeros: Float32Array;
  readonly errors: Float64Array;
}

/**
 * The zero points of x by half-quadratic splitting under given scales, from those given on: codes q = round(w/s + z); what
 * is left, d = w − (q − z)·s, less its small part, e = sign(d)·max(|d| − |d|^(p−1)/β, 0); then z = mean of q − (w − e)/s.
 */
export function* iterates(
  x: Tensor,
  spec: QuantSpec,
  scales: Float32Array,
  zeros: Float32Array,
  { iterations, norm, beta, kappa }: HalfQuadratic,
): Generator<Iterate> {
  const data = floatsOf(x);
  const { codeOf, valueOf } = scalarCodes(spec);
  for (let i = 0; i <= iterations; i++, beta *= kappa) {
    const errors = new Float64Array(scales.length);
    const sums = new Float64Array(scales.length);
    const counts = new Float64Array(scales.length);
    forRuns(spec, x.shape, (from, to, k) => {
      const [scale, zero] = [scales[k], zeros[k]];
      for (let j = from; j < to; j++) {
        const code = codeOf(data[j], scale, zero, 0.5);
        const left = data[j] - valueOf(code, scale, zero);
        const size = Math.abs(left);
        // Of what is met exactly the power is infinite, and the outlier 0.
        const outlier = Math.sign(left) * Math.max(size - size ** (norm - 1) / beta, 0);
        errors[k] += size;
        sums[k] += code - (data[j] - outlier) / scale;
      }
      counts[k] += to - from;
    });
    yield { zeros, errors };
    zeros = Float32Array.from(sums, (sum, k) => sum / counts[k]);
  }
}

/**
 * Half-quadratic quantization of weights without data: the real zero point of each group moves to where Σ|w − ŵ|^p is least
 * for p = 0.7, which lets outliers be. The scales are those of the quantizers. Codes are held as by `hold`, and of all
 * iterations each group keeps the one of least mean |w − ŵ|, so that no group becomes worse; the public code stops at the
 * first that is not better for the whole tensor. For quantizers with float zero points, such as
 * `ste({ bits: 4, scheme: "affine", zeroPoint: "float", granularity: { group: 64 } })`. Badri and Shaji, 2023,
 * Half-Quadratic Quantization of Large Machine Learning Models, mobiusml.github.io/hqq_blog. Rejects with StageError for a
 * model that is not prepared, or frozen, OptionError for another quantizer of a chosen layer and for a weight that is not
 * finite; the model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { hqq, plan, prepare, ste } from "bitgrad/quant";
 *
 * const layer = new Linear(64, 8, { rng: new Rng("weights") });
 * const errorOf = () => layer.weight.value.sub(layer.weight.effective()).abs().mean().item();
 * const weight = ste({ bits: 3, scheme: "affine", zeroPoint: "float", granularity: { group: 64 } });
 * prepare(layer, plan({ default: { weight } }));
 * const rounded = errorOf();
 * await hqq(layer);
 * console.log(errorOf() < rounded); // true
 * ```
 */
export async function hqq<M extends object>(model: M, options?: Partial<HqqOptions>): Promise<M> {
  const read = readOptions<HqqOptions>("hqq", options, {
    ...dataFreeDefaults,
    iterations: 20,
    norm: 0.7,
    beta: 10,
    kappa: 1.01,
  });
  checkInteger("hqq", "iterations", read.iterations, 1);
  const within = (name: "norm" | "beta" | "kappa", want: string, is: (value: number) => boolean): void => {
    if (!is(read[name])) throw new OptionError(`hqq: ${name} must be ${want}, got ${read[name]}`);
  };
  within("norm", "above 0 and at most 1", (p) => p > 0 && p <= 1);
  within("beta", "positive and finite", (b) => b > 0 && b < Infinity);
  within("kappa", "at least 1 and finite", (k) => k >= 1 && k < Infinity);
  holdEach("hqq", model, read, (site) => bestCodes(site, read));
  return model;
}

/** The codes of a site's weight by the zero points of the least error of each group. */
function bestCodes(site: Site, how: HalfQuadratic): QTensor {
  const { layer, spec, quantizer, parameter } = site;
  if (spec.zeroPoint !== "float") {
    throw new OptionError(
      `hqq: needs float zero points, got ${show(quantizer.name)} of layer ${show(layer)} with zeroPoint ${show(spec.zeroPoint)}; use ste({ scheme: "affine", zeroPoint: "float" }), or leave the layer out by { layers }`,
    );
  }
  checkRounding("hqq", site);
  const seen = seenBy("hqq", site);
  const weight = seen.latent.reshape(shapeOfCodes(spec, parameter.shape));
  const { scale, zeroPoint } = roundedBy(site, seen);
  const scales = Float32Array.from(scale.data as Float32Array);
  const first = Float32Array.from(zeroPoint!.data as Float32Array);
  const best = { zeros: first.slice(), errors: new Float64Array(first.length).fill(Infinity) };
  for (const { zeros, errors } of iterates(weight, spec, scales, first, how)) {
    for (const [k, error] of errors.entries()) {
      if (!(error < best.errors[k])) continue;
      best.errors[k] = error;
      best.zeros[k] = zeros[k];
    }
  }
  return roundedBy(site, seen, { scale, zeroPoint: wrap(best.zeros, scale.shape, "float32") });
}
