/** biasCorrection: the mean of what rounded weights change of a layer's output goes into its bias. */

import { dequantize, type QTensor } from "../../codes/contract.ts";
import type { QuantizedTransform } from "../../codes/transform.ts";
import type { FloatArray } from "../../dtype.ts";
import { OptionError, readOptions, show } from "../../errors.ts";
import { isParameter, type Parameter } from "../../nn/parameter.ts";
import { roundedBy, seenBy } from "./rounded.ts";
import {
  type CalibrationOptions,
  calibrationDefaults,
  matrixOf,
  type Site,
  sitesOf,
  visitInOrder,
} from "./sites.ts";

const op = "biasCorrection";

/**
 * Adds (W − Ŵ)·E[x] to the biases of linear layers and convolutions, in place, and returns the model: over the batches
 * the mean output of each is then what float weights give for the same inputs. Ŵ are the codes that a weight holds, as
 * from `gptq`, or else those of its quantizer; x are the inputs in evaluation, with the codes, and corrected biases, of
 * the layers that the model runs before. Layers without a bias are passed over, and `onLayer` hears of them too. Call
 * it once, when the codes are chosen: each call adds. Nagel et al., 2019, arXiv:1906.04721, section 4.2, the empirical
 * form.
 *
 * Rejects as `gptq` does, and with OptionError where no chosen layer has a bias, where two share one, and for a bias
 * with transforms. Biases, and codes that are held, are then as they were.
 *
 * @example
 * ```ts
 * import { Rng, rand } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { biasCorrection, plan, prepare, ste } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const inputs = rand([256, 32], { rng });
 * const layer = new Linear(32, 8, { rng });
 * const outputs = layer.forward(inputs);
 * const shift = () => layer.forward(inputs).sub(outputs).mean({ axis: 0 }).abs().max().item();
 * prepare(layer, plan({ default: { weight: ste({ bits: 2 }) } }));
 * console.log(shift() > 0.1); // true
 * await biasCorrection(layer, [inputs]);
 * console.log(shift() < 1e-6); // true
 * ```
 */
export async function biasCorrection<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<CalibrationOptions<B>>,
): Promise<M> {
  const read = readOptions<CalibrationOptions<B>>(op, options, calibrationDefaults);
  const biases = biasesOf(sitesOf(op, model, read.layers));
  const before: [bias: Parameter, data: FloatArray][] = [];
  const lent: QuantizedTransform[] = [];
  try {
    await visitInOrder(op, model, batches, read, ["mean"], (site, { mean }) => {
      const { codes: held } = site.transform;
      const codes = held ?? roundedBy(site, seenBy(op, site));
      if (!held) lent.push(site.transform);
      const bias = biases.get(site.layer);
      if (!bias) return codes;
      before.push([bias, (bias.value.data as FloatArray).slice()]);
      const shift = shiftOf(site, codes, mean.data);
      bias.update((data) => {
        for (let row = 0; row < shift.length; row++) data[row] += shift[row];
      }, op);
      return codes;
    });
  } catch (error) {
    for (const [bias, data] of before) bias.update((to) => to.set(data));
    throw error;
  }
  // Codes that were held for the layers behind alone would keep their weights from training.
  for (const transform of lent) transform.release();
  return model;
}

/** The biases of layers, by path. */
function biasesOf(sites: readonly Site[]): Map<string, Parameter> {
  const found = new Map<string, Parameter>();
  const owners = new Map<Parameter, string>();
  for (const { layer, owner } of sites) {
    const { bias } = owner as { bias?: unknown };
    if (!isParameter(bias)) continue;
    const other = owners.get(bias);
    if (other !== undefined) {
      throw new OptionError(
        `${op}: two layers share a bias, got ${show(other)} and ${show(layer)}; leave them out by { layers }`,
      );
    }
    if (bias.transforms.length > 0) {
      throw new OptionError(
        `${op}: a bias must be used as it is, got ${bias.transforms.length} transforms on that of ${show(layer)}; leave it out by { layers }`,
      );
    }
    owners.set(bias, layer);
    found.set(layer, bias);
  }
  if (found.size > 0) return found;
  throw new OptionError(
    `${op}: needs a layer with a bias, got none of ${sites.length} quantized layers with one`,
  );
}

/** (W − Ŵ)·E[x] for each row; `mean` has a number for each input of each group of rows. */
function shiftOf(site: Site, codes: QTensor, mean: Float64Array): Float64Array {
  const { rows, columns } = site;
  const weight = matrixOf(site);
  const values = dequantize(codes).data as Float32Array;
  const perGroup = rows / (mean.length / columns);
  return Float64Array.from({ length: rows }, (_, row) => {
    const of = Math.floor(row / perGroup) * columns;
    let sum = 0;
    for (let i = 0, at = row * columns; i < columns; i++, at++)
      sum += (weight[at] - values[at]) * mean[of + i];
    return sum;
  });
}
