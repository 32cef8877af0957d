/** binarize: the scales and signs of 1-bit weights, by calibration. */

import type { QTensor } from "../../codes/contract.ts";
import { shapeOfCodes } from "../../codes/quantizer.ts";
import { isSigns } from "../../codes/spec.ts";
import { checkChoice, checkInteger, OptionError, readOptions, show } from "../../errors.ts";
import { fitByInputs } from "./one-bit/calibrated.ts";
import { fitSigns, isTwoLevels, runsOfRows, twoCodes, twoLevels } from "./one-bit/fit.ts";
import { servedLayers } from "./served.ts";
import {
  type CalibrationOptions,
  calibrationDefaults,
  codesFor,
  holdEach,
  matrixOf,
  type Site,
  visitInOrder,
} from "./sites.ts";

export interface BinarizeOptions<B> extends CalibrationOptions<B> {
  /**
   * "arb": means, scales and signs by turns, from the weights alone; batches may be null. "arbX": then the scales, and
   * means, that make the error of the layer's outputs least. "feedback", the default: signs chosen by that error too.
   */
  method: "arb" | "arbX" | "feedback";
  /** Turns between means, scales and signs. Default 15. */
  iterations: number;
  /** Of "feedback": the share of the mean of the Hessian's diagonal that is added to it. Default 0.01. */
  damping: number;
}

/**
 * Fits 1-bit weights of a prepared model to what its layers are given, layer by layer in the order of a run, with the codes
 * of earlier layers in place, and returns the model: its transforms hold the codes, which `freeze` keeps. The weights'
 * quantizers are those of signs, as `bwn()`, whose scales, of rows or groups, are fitted, or `bwn({ center: true })`, whose
 * means are too. They take what the spec says to store, one bit for each weight and its scales, and no map of groups.
 * `equalizeColumns` before it, and `lowRankCorrection` after it, make up for more.
 *
 * ARB and ARB-X are of ARB-LLM, Li et al., 2024, arXiv:2410.03129, by the paper's text, since its code is not released.
 * Error feedback is GPTQ's, arXiv:2210.17323, as in BiLLM, arXiv:2402.04291; then scales and single signs improve by turns.
 * For each row the error of the outputs on the batches is at most that of "arbX", and that at most that of "arb", before
 * scales are rounded. Without a mean "arb" is what `bwn` does. The batches are run through once for each layer. Rejects with
 * OptionError for layers that are named and have other weights, StageError for a model that is not prepared, or frozen; the
 * model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng, randn, relu } from "bitgrad";
 * import { Linear, Sequential } from "bitgrad/nn";
 * import { binarize, binaryWeightOnly, freeze, pack, plan, prepare } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const model = new Sequential(new Linear(64, 64, { rng }), relu, new Linear(64, 8, { rng }));
 * prepare(model, plan({ default: binaryWeightOnly({ group: 32 }) }));
 * await binarize(model, [randn([256, 64], { rng })]);
 * console.log(pack(freeze(model)).root.kind); // sequential
 * ```
 */
export async function binarize<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B> | null,
  options?: Partial<BinarizeOptions<B>>,
): Promise<M> {
  const op = "binarize";
  const read = readOptions<BinarizeOptions<B>>(op, options, {
    ...calibrationDefaults,
    method: "feedback",
    iterations: 15,
    damping: 0.01,
  });
  const { method, iterations, damping, forward, onLayer } = read;
  checkChoice(op, "method", method, ["arb", "arbX", "feedback"]);
  checkInteger(op, "iterations", iterations, 0);
  if (!(damping > 0 && damping < Infinity)) {
    throw new OptionError(`${op}: damping must be a finite number above 0, got ${show(damping)}`);
  }
  if (batches === null && method !== "arb") {
    throw new OptionError(`${op}: ${method} needs batches, got null; give some, or use { method: "arb" }`);
  }
  const layers = servedLayers(op, model, read.layers, refusal);
  if (batches === null || method === "arb") {
    holdEach(op, model, { layers, onLayer }, (site) => fitOf(op, site, null, read));
    return model;
  }
  const given = { layers, forward, onLayer };
  await visitInOrder(op, model, batches, given, ["hessian"], (site, { hessian }) =>
    fitOf(op, site, hessian.data as Float64Array, read),
  );
  return model;
}

function refusal({ spec, columns, parameter, quantizer: { name, codes } }: Site): string | null {
  if (codes) return `codes must be those of the spec, got a quantizer ${show(name)} that brings its own`;
  if (!isTwoLevels(spec)) {
    return `weights must be of signs, as bwn() makes them, got ${spec.bits} bits of ${show(name)}`;
  }
  const [first] = runsOfRows(spec, shapeOfCodes(spec, parameter.shape), columns);
  const [from, to] = first?.[0] ?? [0, 0];
  if (to - from !== 1 || columns === 1 || first.length === 1) return null;
  return `scales must be of stretches of rows, got some along axis ${spec.axis}`;
}

/** The codes of a site: by the weights alone where there is no Hessian. */
function fitOf(
  op: string,
  site: Site,
  hessian: Float64Array | null,
  { method, iterations, damping }: Pick<BinarizeOptions<never>, "method" | "iterations" | "damping">,
): QTensor {
  const { spec, rows, columns, parameter, layer } = site;
  const shape = shapeOfCodes(spec, parameter.shape);
  const weight = matrixOf(site);
  const odd = weight.findIndex((w) => !Number.isFinite(w));
  if (odd >= 0) {
    throw new OptionError(`${op}: weights must be finite, got ${weight[odd]} in layer ${show(layer)}`);
  }
  const runs = runsOfRows(spec, shape, columns);
  const how = { centered: !isSigns(spec), iterations, damping };
  const problem = { weight, rows, columns, runs, hessian: hessian! };
  const feedback = method === "feedback";
  const fit =
    hessian && weight.length > 0 ? fitByInputs(problem, { ...how, feedback }) : fitSigns(weight, runs, how);
  if (fit === null) {
    throw new OptionError(
      `${op}: the inputs' Hessian must have an inverse, got none with damping ${damping} in layer ${show(layer)}; raise damping`,
    );
  }
  return codesFor(site, twoCodes(fit, spec, runs), twoLevels(fit, spec, shape));
}
