/** Which sites an algorithm serves. */

import { OptionError, show } from "../../errors.ts";
import { exactly } from "../../nn/statistics.ts";
import { type CalibrationOptions, type Site, sitesOf } from "./sites.ts";

/**
 * The paths of the sites that an algorithm serves, as patterns: those of `layers`, all of which it must serve, or where that
 * is null those of all sites that it does. `refuses` says why it does not serve one, or null. Throws OptionError for a site
 * that is named and not served, and where none is.
 */
export function servedLayers(
  op: string,
  model: object,
  layers: CalibrationOptions<never>["layers"],
  refuses: (site: Site) => string | null,
): RegExp[] {
  const sites = sitesOf(op, model, layers);
  const served = sites.filter((site) => refuses(site) === null);
  const odd = sites.find((site) => refuses(site) !== null);
  if (odd && (layers !== null || served.length === 0)) {
    throw new OptionError(`${op}: ${refuses(odd)} in layer ${show(odd.layer)}`);
  }
  return served.map(({ layer }) => exactly(layer));
}
