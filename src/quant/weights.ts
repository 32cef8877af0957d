/** What algorithms that look at weights alone share: a visit of each quantized layer, whose codes are then held. */

import type { QTensor } from "../codes/contract.ts";
import { floatsOf, notFinite } from "../codes/loops.ts";
import { shapeOfCodes } from "../codes/quantizer.ts";
import { isFunction, OptionError, show } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { type CalibrationOptions, calibrationDefaults, type Site, sitesOf } from "./sites.ts";

/** Options of all algorithms that need no data. */
export type DataFreeOptions = Pick<CalibrationOptions<never>, "layers" | "onLayer">;

export const dataFreeDefaults: DataFreeOptions = {
  layers: calibrationDefaults.layers,
  onLayer: calibrationDefaults.onLayer,
};

/** Throws OptionError for an `onLayer` that is no function. */
export function checkOnLayer(op: string, onLayer: unknown): void {
  if (onLayer === null || isFunction(onLayer)) return;
  throw new OptionError(`${op}: option onLayer must be a function, got ${show(onLayer)}`);
}

/**
 * The weight of a site as its quantizer sees it, in the shape that its codes have. Throws OptionError where a number is not
 * finite, and for a quantizer with codes of its own, which scales alone do not decide.
 */
export function weightOf(op: string, { layer, transform, quantizer, spec, parameter }: Site): Tensor {
  if (quantizer.codes) {
    throw new OptionError(
      `${op}: the codes must be those of the spec, got ${show(quantizer.name)} with codes of its own in layer ${show(layer)}; leave it out by { layers }`,
    );
  }
  const latent = transform.latent();
  const data = floatsOf(latent);
  const odd = notFinite(data, 0, data.length);
  if (odd >= 0) {
    throw new OptionError(
      `${op}: weights must be finite, got ${data[odd]} in layer ${show(layer)}; mend the weight`,
    );
  }
  return latent.reshape(shapeOfCodes(spec, parameter.shape));
}

/** What lets transforms hold again what they hold now. */
export function heldNow(sites: readonly Site[]): () => void {
  const before = sites.map(({ transform }) => transform.codes);
  return () => {
    for (const [i, { transform }] of sites.entries()) {
      const codes = before[i];
      if (codes) transform.hold(codes);
      else transform.release();
    }
  };
}

/**
 * Lets each quantized layer hold the codes that `find` gives for its weight, and returns the model. All are found before the
 * first is held, and after an error every transform holds what it held before.
 */
export function holdEach<M extends object>(
  op: string,
  model: M,
  { layers, onLayer }: DataFreeOptions,
  find: (weight: Tensor, site: Site) => QTensor,
): M {
  checkOnLayer(op, onLayer);
  const sites = sitesOf(op, model, layers);
  const found = sites.map((site) => find(weightOf(op, site), site));
  const back = heldNow(sites);
  try {
    for (const [i, { layer, transform }] of sites.entries()) {
      transform.hold(found[i]);
      onLayer?.({ layer, done: i + 1, of: sites.length });
    }
  } catch (error) {
    back();
    throw error;
  }
  return model;
}
