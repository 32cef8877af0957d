/** Convolution of codes with filters of codes: by SIMD on filters that lie on the heap, or by plain loops, with the same bits. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { type ConvOutput, conv2d } from "../../../kernels/conv-i8/reference.ts";
import { type ConvIntLayer, convIntHeap, prepareConvInt } from "../../../kernels/conv-i8/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { usesSimd } from "../../backend.ts";
import { FormatError, show } from "../../errors.ts";
import type { PackedWeight } from "../file/weight.ts";
import { room } from "../values.ts";
import { type Codes, codesOf, type PackedInput } from "./input.ts";
import { checkSums, isMissing } from "./product.ts";

const freed = /* @__PURE__ */ new FinalizationRegistry<ConvIntLayer>((layer) => layer.free());

export class IntConv {
  private readonly weight: PackedWeight;
  private readonly input: PackedInput;
  private readonly bias: Float32Array | null;
  /** Made at first use: on the heap, or null where SIMD does not run. */
  private laid: ConvIntLayer | null | undefined;

  /** Throws what `checkSums` does, and FormatError for groups of codes with scales of their own. */
  constructor(weight: PackedWeight, input: PackedInput, bias: Float32Array | null) {
    checkSums("conv2d", weight, input);
    const { group } = weight.coded!;
    if (group !== null) {
      throw new FormatError(`conv2d: needs one scale, or one a filter, got groups of ${show(group)}`);
    }
    this.weight = weight;
    this.input = input;
    this.bias = bias;
  }

  /** (n, o, oh, ow) of images (n, c, h, w), padding counting as 0. */
  run(x: Float32Array, g: ConvGeometry): Float32Array {
    const codes = codesOf("conv2d", x, g.n, g.c * g.h * g.w, this.input);
    const out = room(g.n * g.o * g.oh * g.ow);
    if (!this.bySimd(out, codes, g))
      conv2d(out, codes.codes, this.weight.kernelWeights, g, this.output(codes.scale));
    return out;
  }

  dispose(): void {
    this.laid?.free();
    this.laid = undefined;
    freed.unregister(this);
  }

  private bySimd(out: Float32Array, { codes, scale }: Codes, g: ConvGeometry): boolean {
    if (!usesSimd()) return false;
    const dynamic = this.input.kind === "dynamic";
    if (isMissing(this.laid)) {
      const output = this.output(dynamic ? null : scale);
      this.laid = prepareConvInt(this.weight.kernelWeights, g, output, codes instanceof Uint8Array);
      if (this.laid) freed.register(this, this.laid, this);
    }
    const layer = this.laid;
    if (!layer) return false;
    return staged((stage) => {
      const from = stage.input(codes, 0, codes.length);
      const to = stage.output(out, 0, out.length, false);
      const scaleX = dynamic ? stage.input(scale!, 0, g.n) : undefined;
      return from !== 0 && to !== 0 && scaleX !== 0 && convIntHeap(layer, g, to, from, scaleX);
    });
  }

  private output(scaleX: Float32Array | null): ConvOutput {
    return {
      to: "float32",
      zeroX: this.input.kind === "static" ? this.input.zeroPoint : 0,
      scaleW: this.weight.coded!.scale,
      ...(scaleX && { scaleX }),
      // A bias of 0 where there is none: a sum of −0 then becomes 0 everywhere.
      bias: this.bias ?? new Float32Array(this.weight.rows),
    };
  }
}
