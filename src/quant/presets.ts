/** What to do with a layer's weight, by the names torchao uses. */

import type { Quantizer } from "./quantizer.ts";
import { bitnet158, bwn, nf4, ste } from "./quantizers.ts";
import type { Granularity } from "./spec.ts";

export interface QuantConfig {
  readonly weight: Quantizer;
}

/** int8 weights, one scale an output row. */
export const int8WeightOnly = (): QuantConfig => ({ weight: ste({ bits: 8 }) });
/** int4 weights, one scale for every `group` inputs; default 32. */
export const int4WeightOnly = ({ group = 32 }: { group?: number } = {}): QuantConfig => ({
  weight: ste({ bits: 4, granularity: { group } }),
});
/** Ternary weights, one scale an output row unless told otherwise. */
export const ternaryWeightOnly = ({
  granularity = "channel",
}: {
  granularity?: Granularity;
} = {}): QuantConfig => ({
  weight: bitnet158({ granularity }),
});
/** 1-bit weights, one scale an output row unless told otherwise. */
export const binaryWeightOnly = ({
  granularity = "channel",
}: {
  granularity?: Granularity;
} = {}): QuantConfig => ({
  weight: bwn({ granularity }),
});
/** NF4 weights, one scale for every `group` inputs; default 64. */
export const nf4WeightOnly = ({ group = 64 }: { group?: number } = {}): QuantConfig => ({
  weight: nf4({ granularity: { group } }),
});
