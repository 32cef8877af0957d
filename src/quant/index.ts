/** The public list of `bitgrad/quant`. */

import "../ops/all.ts";

export { type BlockFormat, formats } from "../../kernels/formats/index.ts";
export { dequantize, fakeQuantize, type QTensor, type QuantizeOptions, quantize } from "./contract.ts";
export { minMax, movingAverage, type Observer } from "./observers.ts";
export { type PackedState, packedBytes, packedState, unpackedState } from "./packed-state.ts";
export { chooseParams, type QuantParams } from "./params.ts";
export { type Plan, type PlannedParameter, type PlanOptions, type PlanRule, plan, prepare } from "./plan.ts";
export {
  binaryWeightOnly,
  int4WeightOnly,
  int8WeightOnly,
  nf4WeightOnly,
  type QuantConfig,
  ternaryWeightOnly,
} from "./presets.ts";
export { type QuantizedTransform, type Quantizer, quantized } from "./quantizer.ts";
export { bitnet158, bwn, nf4, type ScaleOptions, type SteOptions, ste } from "./quantizers.ts";
export { type Granularity, type QuantSpec, type Rounding, type SpecOptions, spec } from "./spec.ts";
