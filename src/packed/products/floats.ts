/** Rows of float32 times a weight that is not quantized. */

import { gemm as inDouble } from "../../../kernels/gemm-f32/reference.ts";
import { gemm } from "../../backend.ts";
import { mended } from "../values.ts";
import type { Way } from "./way.ts";

export const floats: Way<number> = {
  serves: ({ weight }) => weight.floats !== null,

  run(out, x, m, of) {
    const { rows: n, columns: k, operand } = of.weight;
    const shape = { m, k, n, transposeA: false, transposeB: true, bias: of.lastingBias };
    gemm(out, x, operand, shape);
    mended(out, () => inDouble(out, x, operand, shape));
    return true;
  },
};
