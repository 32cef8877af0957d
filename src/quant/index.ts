/** The public list of `bitgrad/quant`. */

import "../ops/all.ts";

export { type BlockFormat, formats } from "../../kernels/formats/index.ts";
export { type PackedState, packedBytes, packedState, unpackedState } from "./packed-state.ts";
export { type Plan, type PlannedParameter, type PlanOptions, type PlanRule, plan, prepare } from "./plan.ts";
export {
  binaryWeightOnly,
  int4WeightOnly,
  int8WeightOnly,
  type QuantConfig,
  ternaryWeightOnly,
} from "./presets.ts";
export {
  dequantize,
  fakeQuantize,
  type QTensor,
  type QuantizedTransform,
  type Quantizer,
  type QuantParams,
  quantize,
  quantized,
} from "./quantizer.ts";
export { bitnet158, bwn, type ScaleOptions, type SteOptions, ste } from "./quantizers.ts";
export type { Granularity } from "./scale.ts";
