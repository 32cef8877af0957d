/** Convolution of float32 with the values of filters. */

import { type ConvGeometry, conv2d as inDouble } from "../../../kernels/conv/reference.ts";
import { plus } from "../../../kernels/elementwise/arithmetic.ts";
import { binary, conv2d } from "../../backend.ts";
import { mended, room } from "../values.ts";
import type { Way } from "./way.ts";

export const convFloats: Way<ConvGeometry> = {
  serves: ({ input }) => input === null,

  run(out, x, g, { weight, bias }) {
    const filters = weight.coded ? weight.dequantized() : weight.operand;
    const sums = bias ? room(out.length) : out;
    conv2d(sums, x, filters, g);
    mended(sums, () => inDouble(sums, x, filters, g));
    const shape = [g.n, g.o, g.oh * g.ow];
    if (bias) binary(out, shape, sums, shape, bias, [g.o, 1], plus);
    return true;
  },
};
