/** What methods that choose codes for the weights of a model share: the weights, and the codes of their quantizers. */

import type { QTensor } from "../../codes/contract.ts";
import { floatsOf, notFinite } from "../../codes/loops.ts";
import type { QuantParams } from "../../codes/params.ts";
import { type Quantizer, quantizeBy } from "../../codes/quantizer.ts";
import { OptionError, show } from "../../errors.ts";
import { noGrad } from "../../tape.ts";
import type { Tensor } from "../../tensor.ts";
import type { Site } from "./sites.ts";

/** A weight as its quantizer sees it, and where a mask in front has made it 0. */
export interface Seen {
  readonly latent: Tensor;
  readonly mask: Tensor | null;
}

/** The weight of a site. Throws OptionError, which names the layer, where it is not finite. */
export function seenBy(op: string, { layer, transform }: Pick<Site, "layer" | "transform">): Seen {
  const latent = transform.latent();
  const data = floatsOf(latent);
  const odd = notFinite(data, 0, data.length);
  if (odd < 0) return { latent, mask: noGrad(() => transform.maskOf(latent)) };
  throw new OptionError(
    `${op}: weights must be finite, got ${data[odd]} at index ${odd} of layer ${show(layer)}; mend them, or leave the layer out by { layers }`,
  );
}

/** The codes that the quantizer of a site gives a weight, by its own scales or by given ones. */
export function roundedBy(
  { quantizer }: Pick<Site, "quantizer">,
  { latent, mask }: Seen,
  given: QuantParams | null = null,
): QTensor {
  const { name, spec } = quantizer;
  const by: Quantizer = given ? { name, spec, params: () => given } : quantizer;
  return noGrad(() => quantizeBy(latent, by, { mask }));
}

/** Throws OptionError for a site whose codes are not the rounding of its spec: they cannot be chosen one after another. */
export function checkRounding(op: string, { layer, quantizer }: Site): void {
  if (!quantizer.codes) return;
  throw new OptionError(
    `${op}: needs quantizers that round, got ${show(quantizer.name)}, which brings codes of its own, in layer ${show(layer)}; give it another by the plan, or leave it out by { layers }`,
  );
}
