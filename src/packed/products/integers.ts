/** Rows of codes times codes: exact sums, then the output transform, by SIMD or by plain loops, with the same bits. */

import { gemmInt } from "../../../kernels/gemm-i8/reference.ts";
import { gemmIntHeap, prepareInt } from "../../../kernels/gemm-i8/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { usesSimd } from "../../backend.ts";
import { type Codes, codesOf } from "./input.ts";
import type { Operands, Way } from "./way.ts";

export const integers: Way<number> = {
  serves: ({ input }) => input !== null,

  run(out, x, m, of) {
    multiplyCodes(out, codesOf(of.op, x, m, of.weight.columns, of.input!), m, of);
    return true;
  },
};

/** What becomes of m rows of codes times the weight. */
export function multiplyCodes(out: Float32Array, codes: Codes, m: number, of: Operands): void {
  if (bySimd(out, codes, m, of)) return;
  gemmInt(out, codes.codes, of.weight.kernelWeights, { m }, of.output(codes.scale));
}

function bySimd(out: Float32Array, { codes, scale }: Codes, m: number, of: Operands): boolean {
  if (!usesSimd()) return false;
  const { weight, input, laid } = of;
  const dynamic = input!.kind === "dynamic";
  const layer = laid.get("integers", () =>
    prepareInt(weight.kernelWeights, of.output(dynamic ? null : scale), codes instanceof Uint8Array),
  );
  if (!layer) return false;
  return staged((stage) => {
    const from = stage.input(codes, 0, m * layer.k);
    const to = stage.output(out, 0, m * layer.n, false);
    const scaleX = dynamic ? stage.input(scale!, 0, m) : undefined;
    return from !== 0 && to !== 0 && scaleX !== 0 && gemmIntHeap(layer, to, from, m, scaleX);
  });
}
