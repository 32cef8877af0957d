/** The block formats by name. */

import type { BlockFormat } from "./block.ts";
import { MXFP4, NF4 } from "./codebook.ts";
import { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from "./k-quants.ts";
import { Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 } from "./legacy.ts";
import { IQ4_NL, IQ4_XS } from "./nonlinear.ts";
import { TQ1_0, TQ2_0 } from "./ternary.ts";

export type { BlockFormat, EncodeOptions } from "./block.ts";

/** `formats.Q4_0.encode(row)`: ggml's block formats and the two codebooks. */
export const formats = {
  Q8_0,
  Q5_0,
  Q5_1,
  Q4_0,
  Q4_1,
  Q6_K,
  Q5_K,
  Q4_K,
  Q3_K,
  Q2_K,
  IQ4_NL,
  IQ4_XS,
  Q2_0,
  Q1_0,
  TQ1_0,
  TQ2_0,
  NF4,
  MXFP4,
} as const satisfies Record<string, BlockFormat>;
