/** Rows of float32 times codes: sums of floats, in the order the kernel chooses. */

import { gemmFloatHeap, prepareFloat } from "../../../kernels/gemm-i4/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { usesSimd } from "../../backend.ts";
import { mended } from "../values.ts";
import type { Operands, Way } from "./way.ts";

export const weightOnly: Way<number> = {
  serves: ({ weight, input }) => input === null && weight.coded !== null,

  run(out, x, m, of) {
    const plain = () => byRows(out, x, m, of);
    if (!bySimd(out, x, m, of)) plain();
    mended(out, plain);
    return true;
  },
};

function bySimd(out: Float32Array, x: Float32Array, m: number, of: Operands): boolean {
  if (!usesSimd()) return false;
  const { weight, bias, laid } = of;
  const layer = laid.get("weightOnly", () => prepareFloat(weight.kernelWeights, bias ?? undefined));
  if (!layer) return false;
  return staged((stage) => {
    const from = stage.input(x, 0, m * layer.k);
    const to = stage.output(out, 0, m * layer.n, false);
    return from !== 0 && to !== 0 && gemmFloatHeap(layer, to, from, m);
  });
}

/** x·weightᵀ + bias, one row of the weight as float32 at a time, sums in double. */
function byRows(out: Float32Array, x: Float32Array, m: number, { weight, bias }: Operands): void {
  const { rows: n, columns: k } = weight;
  const row = new Float32Array(k);
  for (let c = 0; c < n; c++) {
    weight.readRow(row, c);
    for (let r = 0; r < m; r++) {
      let sum = bias ? bias[c] : 0;
      for (let i = 0; i < k; i++) sum += x[r * k + i] * row[i];
      out[r * n + c] = sum;
    }
  }
}
