/** Convolution of signs with filters of signs, on bits. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { type BitConvLayer, bitConvHeap, prepareBitConv } from "../../../kernels/conv-b1/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { permute, usesSimd } from "../../backend.ts";
import type { PackedWeight } from "../file/weight.ts";
import type { Fold } from "../layers/fold.ts";
import { bitRoom, room } from "../values.ts";
import { checkFinite, signBits } from "./input.ts";

const freed = /* @__PURE__ */ new FinalizationRegistry<BitConvLayer>((layer) => layer.free());

/** Filters laid out for the geometry of images that was seen last. */
export class BitConv {
  private readonly weight: PackedWeight;
  private readonly bias: Float32Array | null;
  private readonly fold: Fold | null;
  private laid: { readonly key: string; readonly layer: BitConvLayer | null } | null = null;

  /** With a fold it makes bits. */
  constructor(weight: PackedWeight, bias: Float32Array | null, fold: Fold | null = null) {
    this.weight = weight;
    this.bias = bias;
    this.fold = fold;
  }

  /** (n, o, oh, ow) of images (n, c, h, w) or of their bits, padding counting as 0; null where the kernel does not serve it. */
  run(x: Float32Array | Uint8Array, g: ConvGeometry): Float32Array | null {
    const windows = g.oh * g.ow;
    const sums = this.write(x, g, () => room(g.n * windows * g.o));
    if (sums === null) return null;
    const out = room(sums.length);
    permute(out, sums, [g.n, windows, g.o], [0, 2, 1]);
    return out;
  }

  /** The bits of the same, channels last, those of a group from a byte on. */
  signs(x: Float32Array | Uint8Array, g: ConvGeometry): Uint8Array | null {
    return this.write(x, g, ({ step }) => bitRoom(g.n * g.oh * g.ow * step));
  }

  private write<A extends Float32Array | Uint8Array>(
    x: Float32Array | Uint8Array,
    g: ConvGeometry,
    make: (layer: BitConvLayer) => A,
  ): A | null {
    const layer = usesSimd() ? this.layerFor(g) : null;
    if (layer === null) return null;
    const bits = x instanceof Uint8Array ? x : imageBits(x, g);
    const out = make(layer);
    const done = staged((stage) => {
      const from = stage.input(bits, 0, bits.length);
      const to = stage.output(out, 0, out.length, false);
      return from !== 0 && to !== 0 && bitConvHeap(layer, to, from);
    });
    return done ? out : null;
  }

  dispose(): void {
    this.laid?.layer?.free();
    this.laid = null;
    freed.unregister(this);
  }

  private layerFor(g: ConvGeometry): BitConvLayer | null {
    const key = Object.values(g).join();
    if (this.laid?.key === key) return this.laid.layer;
    this.dispose();
    const { weight, bias } = this;
    const layer = prepareBitConv(weight.bitFilters(g.kh * g.kw), g, 0, {
      to: "float32",
      scaleW: weight.coded!.scale,
      bias: bias ?? new Float32Array(g.o),
      ...this.fold,
    });
    if (layer) freed.register(this, layer, this);
    this.laid = { key, layer };
    return layer;
  }
}

/** The signs of images (n, c, h, w), channels last. */
function imageBits(x: Float32Array, { n, c, h, w, groups }: ConvGeometry): Uint8Array {
  checkFinite("conv2d", x, x.length);
  const last = room(x.length);
  permute(last, x, [n, c, h * w], [0, 2, 1]);
  return signBits(last, n * h * w * groups, c / groups);
}
