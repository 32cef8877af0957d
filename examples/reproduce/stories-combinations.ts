/** Methods one after another, of the experiment on stories260k. */

import { adaRound, awq } from "bitgrad/quant";
import {
  affine,
  best,
  clippedGptq,
  corrected,
  equalized,
  type Method,
  rotated,
  weightOf,
  zeroPoint,
} from "./stories-methods.ts";

const both = [4, 3];
/** The one that did best at 4 bits on paragraphs that are neither scored nor calibrated on. */
export const chosen = "GPTQ, then AdaRound by blocks";

/** A combination is an entry. */
export const combinations: readonly Method[] = [
  {
    name: "GPTQ, EoRA",
    widths: both,
    drawn: true,
    baseline: best,
    quantize: async (model, bits, calibration) =>
      corrected(await clippedGptq(affine(model, bits), calibration), calibration, "eigen"),
  },
  {
    name: "AWQ, then GPTQ",
    widths: both,
    drawn: true,
    baseline: best,
    quantize: async (model, bits, calibration) => {
      const { stories, layers } = calibration;
      return clippedGptq(await awq(affine(model, bits), stories, { layers, clip: false }), calibration);
    },
  },
  {
    name: "rotate, then GPTQ",
    widths: both,
    drawn: true,
    baseline: best,
    quantize: async (model, bits, calibration) =>
      clippedGptq(await rotated(model, weightOf(bits, zeroPoint), calibration.seed), calibration),
  },
  {
    name: "equalize, then GPTQ",
    widths: both,
    drawn: true,
    baseline: best,
    quantize: async (model, bits, calibration) =>
      clippedGptq(await equalized(model, bits, calibration), calibration),
  },
  {
    name: chosen,
    widths: [4],
    drawn: true,
    baseline: best,
    quantize: async (model, bits, calibration) => {
      const { stories, layers, learning } = calibration;
      const found = await clippedGptq(affine(model, bits), calibration);
      return adaRound(found, stories, { layers, blocks: "blocks.*", ...learning });
    },
  },
];
