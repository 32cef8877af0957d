/** Convolution of codes with filters of codes: by SIMD on filters that lie on the heap, or by plain loops, with the same bits. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { type ConvOutput, conv2d } from "../../../kernels/conv-i8/reference.ts";
import { convIntHeap, prepareConvInt } from "../../../kernels/conv-i8/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { usesSimd } from "../../backend.ts";
import { type Codes, codesOf } from "./input.ts";
import type { Operands, Way } from "./way.ts";

export const convIntegers: Way<ConvGeometry> = {
  serves: ({ weight, input }) => input !== null && weight.coded!.group === null,

  run(out, x, g, of) {
    const codes = codesOf(of.op, x, g.n, g.c * g.h * g.w, of.input!);
    if (!bySimd(out, codes, g, of))
      conv2d(out, codes.codes, of.weight.kernelWeights, g, output(codes.scale, of));
    return true;
  },
};

/** Convolutions of codes make no bits. */
const output = (scaleX: Float32Array | null, of: Operands): ConvOutput => of.output(scaleX) as ConvOutput;

function bySimd(out: Float32Array, { codes, scale }: Codes, g: ConvGeometry, of: Operands): boolean {
  if (!usesSimd()) return false;
  const { weight, input, laid } = of;
  const dynamic = input!.kind === "dynamic";
  const layer = laid.get("integers", () =>
    prepareConvInt(weight.kernelWeights, g, output(dynamic ? null : scale, of), codes instanceof Uint8Array),
  );
  if (!layer) return false;
  return staged((stage) => {
    const from = stage.input(codes, 0, codes.length);
    const to = stage.output(out, 0, out.length, false);
    const scaleX = dynamic ? stage.input(scale!, 0, g.n) : undefined;
    return from !== 0 && to !== 0 && scaleX !== 0 && convIntHeap(layer, g, to, from, scaleX);
  });
}
