/** Rows of signs, or of their bits, times signs or ternary digits, by table lookup. */

import { pairHeap, preparePairs } from "../../../kernels/lookup/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { usesSimd } from "../../backend.ts";
import { checkFinite, signBits } from "./input.ts";
import type { Operands, Way } from "./way.ts";

/** Writes floats, or with a fold bits. False where SIMD does not serve it. */
export function multiplySigns(
  out: Float32Array | Uint8Array,
  x: Float32Array | Uint8Array,
  m: number,
  of: Operands,
): boolean {
  if (!usesSimd()) return false;
  const { weight, laid, op } = of;
  const layer = laid.get("signs", () => {
    const rows = weight.pairWeights;
    return rows && preparePairs(weight.bits === 1 ? "differ" : "ternarySigns", rows, of.output(null));
  });
  if (!layer) return false;
  if (!(x instanceof Uint8Array)) checkFinite(op, x, m * layer.k);
  const bits = x instanceof Uint8Array ? x : signBits(x, m, layer.k);
  return staged((stage) => {
    const from = stage.input(bits, 0, bits.length);
    const to = stage.output(out, 0, out.length, false);
    return from !== 0 && to !== 0 && pairHeap(layer, to, from, { m });
  });
}

export const signs: Way<number> = {
  serves: ({ weight, input }) => input?.kind === "signs" && weight.bits <= 2 && !weight.coded?.zeroPoint,
  run: multiplySigns,
};
