/**
 * What calibrated algorithms share: the quantized weights of a prepared model that multiply a matrix of inputs, and the
 * visit of each, in the order in which the model runs them, with the statistics of its inputs.
 */

import { undoing } from "../../changes.ts";
import { keptParams, type QTensor } from "../../codes/contract.ts";
import { chooseParams, type QuantParams } from "../../codes/params.ts";
import { type Quantizer, shapeOfCodes } from "../../codes/quantizer.ts";
import { forRuns } from "../../codes/runs.ts";
import type { QuantSpec } from "../../codes/spec.ts";
import { type QuantizedTransform, quantizedTransform } from "../../codes/transform.ts";
import { isFunction, OptionError, StageError, show } from "../../errors.ts";
import { batchRunner } from "../../nn/batches.ts";
import type { Layer } from "../../nn/layer.ts";
import { whileEvaluating, whileFloatBut } from "../../nn/modes.ts";
import { isParameter, type Parameter } from "../../nn/parameter.ts";
import type { PathPattern } from "../../nn/pattern.ts";
import {
  exactly,
  gather,
  type InputStatistics,
  type MatrixLayer,
  matrixLayers,
  type Statistic,
} from "../../nn/statistics.ts";
import { taps } from "../../nn/taps.ts";
import { findParameters } from "../../nn/tree.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { wrap } from "../../tensor.ts";
import { checkLive } from "../steps.ts";

/** Options that all calibrated algorithms take. */
export interface CalibrationOptions<B> {
  /** Paths of layers, or patterns of `matchPath`; null for all quantized linear layers and convolutions. */
  layers: PathPattern | readonly PathPattern[] | null;
  /** How a batch is run, where it is not what the model's `forward` takes. */
  forward: ((batch: B) => unknown) | null;
  /** Hears of each layer when it is done. */
  onLayer: ((progress: LayerProgress) => void) | null;
}

export interface LayerProgress {
  /** Path of the layer, empty where the model is one itself. */
  readonly layer: string;
  /** How many layers are done, of how many. */
  readonly done: number;
  readonly of: number;
}

export const calibrationDefaults: CalibrationOptions<unknown> = {
  layers: null,
  forward: null,
  onLayer: null,
};

/** Options of algorithms that look at weights alone. */
export type DataFreeOptions = Pick<CalibrationOptions<never>, "layers" | "onLayer">;

export const dataFreeDefaults: DataFreeOptions = { layers: null, onLayer: null };

/** A quantized weight of a linear layer or a convolution. */
export interface Site {
  /** Path of the layer. */
  readonly layer: string;
  /** Paths of other layers that share the weight. */
  readonly sharing: readonly string[];
  /** Path of its weight. */
  readonly path: string;
  readonly owner: Layer;
  readonly parameter: Parameter;
  readonly transform: QuantizedTransform;
  readonly quantizer: Quantizer;
  readonly spec: QuantSpec;
  /** The weight as a matrix: `rows` outputs, `columns` inputs of each. */
  readonly rows: number;
  readonly columns: number;
}

/** The weight of a site as the quantizer sees it, behind masks and other transforms in front, in double precision. */
export const matrixOf = ({ transform }: Site): Float64Array => Float64Array.from(transform.latent().data);

/** Which scale reads each element of a weight. */
export function scaleIndices({ spec, parameter }: Site): Int32Array {
  const shape = shapeOfCodes(spec, parameter.shape);
  const index = new Int32Array(parameter.size);
  forRuns(spec, shape, (from, to, k) => index.fill(k, from, to));
  return index;
}

/** The scales and zero points that fit numbers of a site's weight. */
export function paramsFor({ spec, parameter }: Site, weight: Float64Array): QuantParams {
  const shape = shapeOfCodes(spec, parameter.shape);
  return chooseParams(wrap(Float32Array.from(weight), shape, "float32"), spec);
}

/** Codes of a site's weight, in row-major order, as `hold` takes them. */
export function codesFor({ spec, parameter }: Site, codes: ArrayLike<number>, params: QuantParams): QTensor {
  const shape = shapeOfCodes(spec, parameter.shape);
  const kept =
    spec.qmin < 0 ? wrap(Int8Array.from(codes), shape, "int8") : wrap(Uint8Array.from(codes), shape, "uint8");
  return { codes: kept, ...keptParams(params), spec, shape };
}

/** The sites of a prepared model, as `weightSites` finds them. Throws OptionError for two layers that share a weight too. */
export function sitesOf(op: string, model: object, layers: CalibrationOptions<never>["layers"]): Site[] {
  const sites = weightSites(op, model, layers);
  for (const { layer, sharing } of sites) {
    if (sharing.length === 0) continue;
    throw new OptionError(
      `${op}: two layers share a weight, got ${show(layer)} and ${show(sharing[0])}; leave them out by { layers }`,
    );
  }
  return sites;
}

/**
 * The sites of a prepared model, one for each weight. Throws StageError for a model that is not prepared, or frozen,
 * OptionError for a pattern that fits no linear layer or convolution, for layers none of which is quantized, and for one
 * that has a correction: codes come before it.
 */
function weightSites(op: string, model: object, layers: CalibrationOptions<never>["layers"]): Site[] {
  checkLive(op, model);
  const paths = new Map<Parameter, string>();
  for (const { item, path } of findParameters(model)) if (!paths.has(item)) paths.set(item, path);
  const sites: Site[] = [];
  const seen = new Map<Parameter, string[]>();
  const owners = new Set<Layer>();
  for (const [layer, owner] of matrixLayers(op, model, layers)) {
    const { weight } = owner as { weight?: unknown };
    const transform = isParameter(weight) ? quantizedTransform(weight) : null;
    if (!transform || !isParameter(weight) || owners.has(owner)) continue;
    owners.add(owner);
    if ((owner as { correction?: unknown }).correction) {
      throw new OptionError(
        `${op}: a layer must have no correction yet, which fits the codes as they are, got one of ${show(layer)}; set it to null`,
      );
    }
    const others = seen.get(weight);
    if (others) {
      others.push(layer);
      continue;
    }
    const sharing: string[] = [];
    seen.set(weight, sharing);
    const rows = weight.shape[0];
    const { quantizer } = transform;
    const columns = rows === 0 ? 0 : weight.size / rows;
    const path = paths.get(weight) ?? `${layer}.weight`;
    sites.push({
      layer,
      sharing,
      path,
      owner,
      parameter: weight,
      transform,
      quantizer,
      spec: quantizer.spec,
      rows,
      columns,
    });
  }
  if (sites.length > 0) return sites;
  throw new OptionError(
    `${op}: needs quantized linear layers or convolutions, got none${layers === null ? "" : ` by ${show(layers)}`}; give them a quantizer in the plan`,
  );
}

/** Throws OptionError for batches that can be run through once only. */
export function checkAgain(op: string, batches: Iterable<unknown> | AsyncIterable<unknown>): void {
  if (!isFunction((Object(batches) as { next?: unknown }).next)) return;
  throw new OptionError(
    `${op}: batches are run through once for each layer, got an iterator; put them in a list, or give a loader`,
  );
}

interface Found extends Site {
  readonly input: unknown;
  /** Whether every batch runs it, and once. */
  readonly once: boolean;
}

/** The sites in the order in which batches first reach them. All batches are run, since each may take another way. */
async function ordered<B>(
  op: string,
  model: object,
  sites: readonly Site[],
  batches: Iterable<B> | AsyncIterable<B>,
  forward: ((batch: B) => unknown) | null,
): Promise<Found[]> {
  const run = batchRunner(op, model, batches, forward);
  const left = new Map(sites.map((site) => [site.layer, site]));
  const found: (Site & { input: unknown })[] = [];
  const varied = new Set<string>();
  let batch = 0;
  const tap = taps(
    model,
    sites.map(({ layer }) => exactly(layer)),
  );
  try {
    for await (const given of batches) {
      const pass = () =>
        scope(() => {
          const { order, calls } = tap.collect(() => run(given));
          for (const layer of order) {
            const site = left.get(layer);
            if (!site) continue;
            left.delete(layer);
            found.push({ ...site, input: calls.get(layer)![0].inputs[0] });
          }
          for (const [layer, { length }] of calls) if (length !== 1) varied.add(layer);
        });
      undoing(() => whileEvaluating(model, () => noGrad(() => whileFloatBut(model, () => false, pass))));
      batch++;
    }
  } finally {
    tap.dispose();
  }
  if (batch === 0) throw new StageError(`${op}: needs at least one batch, got none`);
  if (left.size === 0) return found.map((site) => ({ ...site, once: !varied.has(site.layer) }));
  throw new StageError(
    `${op}: no batch reached a layer, got no input of ${show([...left.keys()][0])}; run it by { forward }, or leave it out by { layers }`,
  );
}

/** Sites that were given the same tensor one after another, as query, key and value are, share their statistics. */
function* together(sites: readonly Found[]): Generator<Found[]> {
  for (let from = 0, to = 1; from < sites.length; from = to++) {
    while (to < sites.length && sites[to].input === sites[from].input) to++;
    yield sites.slice(from, to);
  }
}

/**
 * Visits the sites in the order in which the model runs them: `visit` is given the statistics of a site's inputs, with the
 * codes in place that earlier visits returned, which the site's transform holds, and all else float. A null holds nothing.
 * After an error every transform holds what it held before.
 */
export async function visitInOrder<B, K extends Statistic>(
  op: string,
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options: CalibrationOptions<B>,
  keep: readonly K[],
  visit: (site: Site, statistics: InputStatistics<K>) => QTensor | null | Promise<QTensor | null>,
): Promise<void> {
  const { layers, forward, onLayer } = options;
  checkOnLayer(op, onLayer);
  const sites = sitesOf(op, model, layers);
  checkAgain(op, batches);
  const putBack = holding(sites);
  const chosen = new Set(sites.map(({ parameter }) => parameter));
  const done = new Set<Parameter>();
  // A weight that is not chosen and holds codes keeps them; a chosen one is float until it is visited.
  const stays = (parameter: Parameter): boolean =>
    done.has(parameter) || (!chosen.has(parameter) && quantizedTransform(parameter)!.codes !== null);
  const around = (fn: () => void): void => whileFloatBut(model, stays, fn);
  let count = 0;
  try {
    for (const unit of together(await ordered(op, model, sites, batches, forward))) {
      const last = unit[unit.length - 1];
      const until = unit.every(({ once }) => once) ? last.layer : null;
      const of = new Map(unit.map(({ layer, owner }) => [layer, owner as MatrixLayer]));
      const found = await gather(op, model, of, batches, { keep, forward, around, until });
      for (const site of unit) {
        const codes = await visit(site, found.get(site.layer)!);
        if (codes) site.transform.hold(codes);
        if (codes) done.add(site.parameter);
        onLayer?.({ layer: site.layer, done: ++count, of: sites.length });
      }
    }
  } catch (error) {
    putBack();
    throw error;
  }
}

/** The same where no inputs are needed: the codes of each weight, one after another, whatever layers share it. */
export function holdEach(
  op: string,
  model: object,
  { layers, onLayer }: DataFreeOptions,
  visit: (site: Site) => QTensor,
): void {
  checkOnLayer(op, onLayer);
  const sites = weightSites(op, model, layers);
  const putBack = holding(sites);
  try {
    for (const [i, site] of sites.entries()) {
      site.transform.hold(visit(site));
      onLayer?.({ layer: site.layer, done: i + 1, of: sites.length });
    }
  } catch (error) {
    putBack();
    throw error;
  }
}

/** Throws OptionError for an `onLayer` that is no function. */
export function checkOnLayer(op: string, onLayer: unknown): void {
  if (onLayer === null || isFunction(onLayer)) return;
  throw new OptionError(`${op}: option onLayer must be a function, got ${show(onLayer)}`);
}

/** What lets the transforms of sites hold again what they hold now. */
export function holding(sites: readonly Site[]): () => void {
  const before = sites.map(({ transform }) => transform.codes);
  return () => {
    for (const [i, { transform }] of sites.entries()) {
      const codes = before[i];
      if (codes) transform.hold(codes);
      else transform.release();
    }
  };
}
