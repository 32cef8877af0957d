/** conv-i8: the contract is that of reference.ts; integers and what follows from them are equal in every build. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type ConvIntArgs, convIntCases } from "./cases.ts";
import { conv2d as reference } from "./reference.ts";
import { convIntExports, conv2d as simd } from "./simd.ts";

export const convInt: Kernel<ConvIntArgs> = {
  name: "conv-i8",
  reference,
  implementations: simdBuilds(convIntExports, (code, ...args: ConvIntArgs) => simd(...args, code)),
  cases: convIntCases,
  tolerance: () => null,
};
