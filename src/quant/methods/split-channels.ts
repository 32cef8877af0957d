/** splitOutlierChannels: inputs whose weights are outliers are multiplied twice, by half the weight. */

import { frontsOf } from "../../codes/fronts.ts";
import { SpecInputQuantizer } from "../../codes/input-quantizer.ts";
import { checkPackable } from "../../codes/packable.ts";
import { isSigns } from "../../codes/spec.ts";
import { newArray } from "../../dtype.ts";
import { checkShare, readOptions, show } from "../../errors.ts";
import { CopyFeatures } from "../../nn/copy-features.ts";
import type { Linear } from "../../nn/linear.ts";
import type { Parameter } from "../../nn/parameter.ts";
import { findParameters } from "../../nn/tree.ts";
import { noGrad } from "../../tape.ts";
import { wrap } from "../../tensor.ts";
import { seenBy } from "./rounded.ts";
import { servedLayers } from "./served.ts";
import { checkOnLayer, type DataFreeOptions, dataFreeDefaults, type Site, sitesOf } from "./sites.ts";
import { type Columns, type SplitColumns, splitColumns } from "./split-columns.ts";

export interface SplitOptions extends DataFreeOptions {
  /** Columns that are added, as a share of the inputs, rounded up. Default 0.05. */
  ratio: number;
  /** Whether halves lie half a step apart, so that their codes add up to the code of the whole. Default true. */
  aware: boolean;
  /** Elements of at most this share of their column's largest magnitude stay whole. Default 0: all others are halved. */
  threshold: number;
}

const op = "splitOutlierChannels";

/** Why the columns of a layer cannot be split; null where they can. */
const refusals =
  (shared: ReadonlySet<Parameter>) =>
  ({ spec, quantizer, parameter, transform, owner }: Site): string | null => {
    const { name } = quantizer;
    if (!("inputSteps" in owner)) return `needs linear layers, got ${show(owner)}`;
    if (shared.has(parameter)) return `no other part may read the weight, got ${show(parameter.shape)}`;
    if (frontsOf(parameter, transform).length > 0)
      return `no transform may stand in front of the quantizer, got ${show(name)} behind one`;
    if (quantizer.codes)
      return `needs quantizers that round, got ${show(name)}, which brings codes of its own,`;
    if (isSigns(spec) || spec.codebook) return `needs evenly spaced codes, got ${show(name)}`;
    const { inputQuantizer: input } = owner as { inputQuantizer?: unknown };
    if (input instanceof SpecInputQuantizer && input.byChannel)
      return "needs inputs without scales of their own, got a static scale per channel";
    // Columns of one input would lie in groups of two scales.
    if (typeof spec.granularity === "object") return `needs one scale a tensor or a row, got ${show(name)}`;
    return null;
  };

/** Parameters that more than one layer owns, such as the table of tokens that is the head too. */
function sharedParameters(model: object): Set<Parameter> {
  const owners = new Map<Parameter, object>();
  const shared = new Set<Parameter>();
  for (const { item, owner } of findParameters(model)) {
    if (owners.has(item) && owners.get(item) !== owner) shared.add(item);
    owners.set(item, owner);
  }
  return shared;
}

/** A quarter of the step of each row of a matrix under the quantizer of a site. */
function quartersOf({ quantizer }: Site, { weight, rows, columns }: Columns): Float64Array {
  const x = wrap(Float32Array.from(weight), [rows, columns], "float32");
  const { data } = noGrad(() => quantizer.params(x)).scale;
  return Float64Array.from({ length: rows }, (_, r) => Math.abs(Number(data[data.length === 1 ? 0 : r])) / 4);
}

/** The columns of a site's weight, split. The halves are apart by the step of what they are part of themselves. */
function widened(site: Site, { ratio, aware, threshold }: SplitOptions): SplitColumns {
  const { rows, columns, owner } = site;
  const given = { weight: Float64Array.from(seenBy(op, site).latent.data), rows, columns };
  const splits = Math.ceil(ratio * (owner as Linear).inFeatures);
  if (rows === 0 || splits === 0) return { ...given, copies: [] };
  const equal = splitColumns(given, { splits, threshold, quarters: null });
  if (!aware) return equal;
  let found = equal;
  let quarters: Float64Array | null = null;
  // A larger step makes the halves differ more, and the step larger, by less each time.
  for (let i = 0; i < 8; i++) {
    const next = quartersOf(site, found);
    if (next.every((quarter, r) => quarter === quarters?.[r])) break;
    quarters = next;
    found = splitColumns(given, { splits, threshold, quarters });
  }
  return found;
}

/**
 * Outlier channel splitting of weights without data: columns with the largest weights become two of half the weight, and the
 * layer multiplies their inputs twice (`CopyFeatures` among its `inputSteps`), so that the function of floats stays and the
 * range of codes is halved where outliers made it wide. The halves lie half a step apart, so that their codes add up to the
 * code of the whole. For linear layers with one scale a tensor or a row; with `layers` null others, and those whose weight
 * is a table's too, are passed over. A clip after it, as by `clipSearch`, finds less to clip. The latent weights are wider
 * from then on, also after `unprepare`: a state is that of a model whose layers were split, and optimizers begin anew with
 * them. Channels that are split are neither scaled nor pruned by `scalePairs()` and `units()`: scale and prune before. Zhao
 * et al., 2019, arXiv:1901.09504; for language models Hu et al., 2022, arXiv:2210.16621. Rejects with StageError for a model
 * that is not prepared, or frozen, OptionError for a layer that is named, and where all are, not linear, share their weight,
 * have a transform in front of the quantizer, scales by groups, or codes that are not even, and for a layer with a
 * correction; the model is then as it was.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 * import { type CopyFeatures, Linear } from "bitgrad/nn";
 * import { plan, prepare, splitOutlierChannels, ste } from "bitgrad/quant";
 *
 * const layer = new Linear(64, 8);
 * layer.weight.update((w) => {
 *   w[3] = 2; // an outlier among weights within 1/8
 * });
 * prepare(layer, plan({ default: { weight: ste({ bits: 6, granularity: "tensor" }) } }));
 * await splitOutlierChannels(layer, { ratio: 0.03 });
 * console.log(layer.weight.shape, layer.inFeatures, (layer.inputSteps[0] as CopyFeatures).copies.toArray());
 * // [8, 66] 64 [3, 3]
 * console.log(layer.forward(ones([1, 64])).shape); // [1, 8]
 * ```
 */
export async function splitOutlierChannels<M extends object>(
  model: M,
  options?: Partial<SplitOptions>,
): Promise<M> {
  const read = readOptions<SplitOptions>(op, options, {
    ...dataFreeDefaults,
    ratio: 0.05,
    aware: true,
    threshold: 0,
  });
  checkShare(op, "ratio", read.ratio);
  checkShare(op, "threshold", read.threshold);
  checkOnLayer(op, read.onLayer);
  const served = servedLayers(op, model, read.layers, refusals(sharedParameters(model)));
  const sites = sitesOf(op, model, served);
  const wide = sites.map((site) => {
    const found = widened(site, read);
    const { inputQuantizer } = site.owner as { inputQuantizer?: unknown };
    const largest = inputQuantizer instanceof SpecInputQuantizer ? inputQuantizer.largest : null;
    checkPackable(site.path, site.spec, [found.rows, found.columns], largest);
    return found;
  });
  const undo: (() => void)[] = [];
  try {
    for (const [i, site] of sites.entries()) {
      undo.push(widen(site, wide[i]));
      read.onLayer?.({ layer: site.layer, done: i + 1, of: sites.length });
    }
  } catch (error) {
    for (const back of undo) back();
    throw error;
  }
  return model;
}

/** Gives a layer its wider weight. Returns what takes it back. */
function widen({ parameter, transform, owner, columns }: Site, wide: SplitColumns): () => void {
  if (wide.columns === columns) return () => {};
  const layer = owner as Linear;
  const { value } = parameter;
  const before = { inputSteps: layer.inputSteps, codes: transform.codes };
  const data = newArray(value.dtype, wide.weight.length);
  data.set(wide.weight);
  parameter.replace(wrap(data, [wide.rows, wide.columns], value.dtype));
  layer.inputSteps = [...layer.inputSteps, new CopyFeatures(columns, wide.copies)];
  return () => {
    parameter.replace(value);
    layer.inputSteps = before.inputSteps;
    if (before.codes) transform.hold(before.codes);
  };
}
