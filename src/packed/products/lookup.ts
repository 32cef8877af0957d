/** Few rows of integer codes times signs or ternary digits, by table lookup. */

import { digitHeap, prepareDigits } from "../../../kernels/lookup/digits.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { usesSimd } from "../../backend.ts";
import { rowsByLookup } from "./choice.ts";
import { codesOf } from "./input.ts";
import type { Way } from "./way.ts";

/** Rows up to which it is faster, by weight. */
const fewRows = /* @__PURE__ */ new WeakMap<object, number>();

export const lookup: Way<number> = {
  serves: ({ weight, input }) =>
    input !== null && input.kind !== "signs" && (weight.bits === 1 || weight.bits === 2),

  run(out, x, m, of) {
    if (!usesSimd()) return false;
    const { weight, laid, op } = of;
    const input = of.input!;
    const { rows: n, columns: k } = weight;
    const bits = weight.bits as 1 | 2;
    if (k === 0) return false;
    const few = fewRows.get(of) ?? (weight.pairWeights ? rowsByLookup(bits, n, k) : 0);
    fewRows.set(of, few);
    if (m > few) return false;
    const layer = laid.get("lookup", () => {
      const [lowest, highest] = input.kind === "static" && input.least >= 0 ? [0, 255] : [-128, 127];
      const kind = { weights: bits === 1 ? "signs" : "ternary", bits, lowest, highest } as const;
      const rows = weight.pairWeights;
      const fixed = input.kind === "static" ? Float32Array.of(input.scale) : null;
      return rows && prepareDigits(kind, rows, of.output(fixed));
    });
    if (!layer) return false;
    const { codes, scale } = codesOf(op, x, m, k, input);
    return staged((stage) => {
      const from = stage.input(codes, 0, m * k);
      const to = stage.output(out, 0, m * n, false);
      const scaleX = input.kind === "dynamic" ? stage.input(scale!, 0, m) : undefined;
      return from !== 0 && to !== 0 && scaleX !== 0 && digitHeap(layer, to, from, { m, scaleX });
    });
  },
};
