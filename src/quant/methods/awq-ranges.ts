/** The ranges of a weight by AWQ: the weights of each scale are clamped to what changes the outputs least. */

import { dequantize, type QTensor } from "../../codes/contract.ts";
import { quantizeBy } from "../../codes/quantizer.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { squaredOutputs } from "./awq-scales.ts";
import { matrixOf, type Site, scaleIndices } from "./sites.ts";

/** Shares of the range that are tried: 1, 0.95, … 0.55. */
const shares = Array.from({ length: 10 }, (_, i) => 1 - i / 20);

/** Whether all weights of each row share a scale. */
function wholeRows(index: Int32Array, columns: number): boolean {
  for (let i = 1; i < index.length; i++) if (i % columns !== 0 && index[i] !== index[i - 1]) return false;
  return true;
}

/** Σ‖X·δᵀ‖² of each stretch of a row whose weights share a scale, by scales; `hessian` is XᵀX, by groups of convolutions. */
function errorsOf(
  delta: Float64Array,
  index: Int32Array,
  count: number,
  { rows, columns }: Site,
  hessian: Tensor,
): Float64Array {
  const errors = new Float64Array(count);
  if (wholeRows(index, columns)) {
    const sums = squaredOutputs(delta, hessian);
    for (let r = 0; r < rows; r++) errors[index[r * columns]] += sums[r];
    return errors;
  }
  const h = hessian.data;
  const groups = hessian.size / Math.max(1, columns * columns);
  for (let r = 0; r < rows; r++) {
    const at = r * columns;
    const group = Math.floor((r * groups) / rows) * columns * columns;
    for (let from = 0, to = 0; from < columns; from = to) {
      const k = index[at + from];
      let sum = 0;
      for (to = from; to < columns && index[at + to] === k; to++) {
        const row = group + to * columns;
        let cross = 0;
        for (let j = from; j < to; j++) cross += h[row + j] * delta[at + j];
        sum += delta[at + to] * (2 * cross + h[row + to] * delta[at + to]);
      }
      errors[k] += sum;
    }
  }
  return errors;
}

/**
 * Codes of a site's weight, clamped to ± a share of the largest magnitude under each scale: the first of those shares that
 * leave the least squared error of what the weights under the scale add to the output.
 */
export function clippedCodes(site: Site, hessian: Tensor): QTensor {
  const { transform, quantizer, parameter } = site;
  const weight = matrixOf(site);
  const mask = transform.maskOf(transform.latent());
  const index = scaleIndices(site);
  const count = index.reduce((most, k) => Math.max(most, k + 1), 0);
  const most = new Float64Array(count);
  for (let i = 0; i < weight.length; i++) most[index[i]] = Math.max(most[index[i]], Math.abs(weight[i]));
  const codesOf = (share: (k: number) => number): QTensor => {
    const clamped = new Float32Array(weight.length);
    for (let i = 0; i < clamped.length; i++) {
      const end = most[index[i]] * share(index[i]);
      clamped[i] = Math.max(-end, Math.min(end, weight[i]));
    }
    return noGrad(() => quantizeBy(wrap(clamped, parameter.shape, "float32"), quantizer, { mask }));
  };
  const least = new Float64Array(count).fill(Infinity);
  const best = new Float64Array(count).fill(1);
  const delta = new Float64Array(weight.length);
  for (const share of shares) {
    scope(() => {
      const values = dequantize(codesOf(() => share)).data;
      for (let i = 0; i < delta.length; i++) delta[i] = values[i] - weight[i];
    });
    errorsOf(delta, index, count, site, hessian).forEach((error, k) => {
      if (error >= least[k]) return;
      least[k] = error;
      best[k] = share;
    });
  }
  return codesOf((k) => best[k]);
}
