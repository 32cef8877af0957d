/** lookup: the contract is that of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type DigitArgs, digitCases } from "./cases.ts";
import { digitArrays } from "./digits.ts";
import { digits as reference } from "./reference.ts";
import { lookupExports } from "./simd.ts";

export const gemmDigits: Kernel<DigitArgs> = {
  name: "lookup",
  reference: (out, x, w, shape, kind, output) => reference(kind, out, x, w, shape, output),
  implementations: simdBuilds(lookupExports, (code, out, x, w, shape, kind, output) =>
    digitArrays(kind, out, x, w, shape, output, code),
  ),
  cases: digitCases,
  tolerance: () => null,
};
