/**
 * Numbers of few bits: quantizers, presets, plans, training through rounding, and packing.
 *
 * @module bitgrad/quant
 */

import "../ops/all.ts";

export { MXFP4, NF4 } from "../../kernels/formats/codebook.ts";
export { type BlockFormat, type EncodeOptions, formats } from "../../kernels/formats/index.ts";
export { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from "../../kernels/formats/k-quants.ts";
export { Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 } from "../../kernels/formats/legacy.ts";
export { IQ4_NL, IQ4_XS } from "../../kernels/formats/nonlinear.ts";
export { TQ1_0, TQ2_0 } from "../../kernels/formats/ternary.ts";
export { dequantize, type QTensor, type QuantizeOptions, quantize } from "../codes/contract.ts";
export { type Boundary, type FakeQuantizeOptions, fakeQuantize } from "../codes/fake-quantize.ts";
export { SpecInputQuantizer } from "../codes/input-quantizer.ts";
export type { Observer } from "../codes/observer.ts";
export { chooseParams, type QuantParams } from "../codes/params.ts";
export type { QuantContext, Quantizer } from "../codes/quantizer.ts";
export { dequantizeScalar, quantizeScalar } from "../codes/scalar.ts";
export {
  type Granularity,
  type QuantSpec,
  type Rounding,
  type ScaleDtype,
  type SpecOptions,
  spec,
} from "../codes/spec.ts";
export { QuantizedTransform, quantized, quantizedTransform } from "../codes/transform.ts";
export { heldCodes, holdCodes } from "./held.ts";
export {
  dynamicInput,
  type InputConfig,
  type MixedOptions,
  mixedInput,
  signInput,
  staticInput,
} from "./inputs.ts";
export { type AciqOptions, type AciqPrior, aciq, aciqObserver } from "./methods/aciq.ts";
export { type AdaRoundOptions, adaRound } from "./methods/ada-round.ts";
export { type AwqOptions, type AwqProgress, awq } from "./methods/awq.ts";
export { biasCorrection } from "./methods/bias-correction.ts";
export { type BinarizeOptions, binarize } from "./methods/binarize.ts";
export type { BlockLoss, BlockPatterns } from "./methods/blocks.ts";
export { type ClipSearchOptions, clipSearch } from "./methods/clip-search.ts";
export { type EqualizeOptions, equalize } from "./methods/equalize.ts";
export { type EqualizeColumnsOptions, equalizeColumns } from "./methods/equalize-columns.ts";
export { type GptqOptions, gptq } from "./methods/gptq.ts";
export { type HqqOptions, hqq } from "./methods/hqq.ts";
export { type LapqOptions, lapq } from "./methods/lapq.ts";
export type { LearningOptions } from "./methods/learn-roundings.ts";
export { type LowRankCorrectionOptions, lowRankCorrection } from "./methods/low-rank.ts";
export {
  type SignApproximation,
  type SignApproximationOptions,
  signApproximation,
} from "./methods/one-bit/approximation.ts";
export type { RotateOptions } from "./methods/rotatable.ts";
export { rotate } from "./methods/rotate.ts";
export type { PairProgress, ScalingOptions } from "./methods/scaling.ts";
export { type SignRoundOptions, signRound } from "./methods/sign-round.ts";
export type { CalibrationOptions, DataFreeOptions, LayerProgress } from "./methods/sites.ts";
export { type SmoothQuantOptions, smoothQuant } from "./methods/smooth-quant.ts";
export type { SoftOptions } from "./methods/soft-rounding.ts";
export { type SplitOptions, splitOutlierChannels } from "./methods/split-channels.ts";
export { entropy, histogram, minMax, movingAverage, mse, percentile } from "./observers.ts";
export type { ScaleOptions, WeightOptions } from "./options.ts";
export {
  type Plan,
  type PlanJson,
  type PlannedParameter,
  type PlanOptions,
  type PlanRule,
  plan,
} from "./plan.ts";
export { type PrepareOptions, prepare, unprepare } from "./prepare.ts";
export {
  type BinaryOptions,
  binaryDynamic,
  binarySigns,
  binaryWeightOnly,
  type GroupOptions,
  int4Dynamic,
  int4WeightOnly,
  int8Dynamic,
  int8Mixed,
  int8Static,
  int8WeightOnly,
  type MeanOptions,
  type MixedPresetOptions,
  nf4WeightOnly,
  type PresetCall,
  type QuantConfig,
  type SignOptions,
  type StaticPresetOptions,
  ternaryDynamic,
  ternaryWeightOnly,
  type UniformOptions,
} from "./presets.ts";
export { type BwnOptions, bitnet158, bwn, nf4, type SteOptions, ste } from "./quantizers.ts";
export {
  type AllocatedLayer,
  type AllocateOptions,
  type Allocation,
  allocateBits,
} from "./report/allocate.ts";
export { type BudgetChoice, type BudgetOption, chooseUnderBudget } from "./report/budget.ts";
export type { Measure } from "./report/costs.ts";
export type { Distortion } from "./report/distortion.ts";
export type { ReportedOutput } from "./report/end-to-end.ts";
export { type QuantReport, quantReport, type ReportedLayer, type ReportOptions } from "./report/report.ts";
export {
  type LayerOption,
  type LayerSensitivity,
  type Sensitivity,
  type SensitivityOptions,
  sensitivity,
} from "./report/sensitivity.ts";
export type { Choices, StudyOptions } from "./report/study.ts";
export { calibrate, freeze, type PackOptions, pack } from "./steps.ts";
