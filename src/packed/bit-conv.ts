/** Convolution of signs with filters of signs, on bits. */

import { packSigns as packSignRows } from "../../kernels/bits.ts";
import type { ConvGeometry } from "../../kernels/conv/reference.ts";
import { type BitConvLayer, bitConvHeap, prepareBitConv } from "../../kernels/conv-b1/simd.ts";
import { staged } from "../../kernels/wasm/stage.ts";
import { packSigns, permute, usesSimd } from "../backend.ts";
import { checkFinite } from "./input.ts";
import { codeRoom, room } from "./values.ts";
import type { PackedWeight } from "./weight.ts";

const freed = /* @__PURE__ */ new FinalizationRegistry<BitConvLayer>((layer) => layer.free());

/** Filters laid out for the geometry of images that was seen last. */
export class BitConv {
  private readonly weight: PackedWeight;
  private readonly bias: Float32Array | null;
  private laid: { readonly key: string; readonly layer: BitConvLayer | null } | null = null;

  constructor(weight: PackedWeight, bias: Float32Array | null) {
    this.weight = weight;
    this.bias = bias;
  }

  /** (n, o, oh, ow) of images (n, c, h, w), padding counting as 0; null where the kernel does not serve it. */
  run(x: Float32Array, g: ConvGeometry): Float32Array | null {
    if (!usesSimd()) return null;
    const layer = this.layerFor(g);
    if (layer === null) return null;
    checkFinite("conv2d", x, x.length);
    const [pixels, windows] = [g.h * g.w, g.oh * g.ow];
    const channels = g.c / g.groups;
    const rows = g.n * pixels * g.groups;
    const last = room(x.length);
    permute(last, x, [g.n, g.c, pixels], [0, 2, 1]);
    const held = codeRoom(rows * Math.ceil(channels / 8));
    const bits = new Uint8Array(held.buffer, held.byteOffset, held.length);
    packSigns(bits, last, rows, channels);
    const sums = room(g.n * windows * g.o);
    const done = staged((stage) => {
      const from = stage.input(bits, 0, bits.length);
      const to = stage.output(sums, 0, sums.length, false);
      return from !== 0 && to !== 0 && bitConvHeap(layer, to, from);
    });
    if (!done) return null;
    const out = room(sums.length);
    permute(out, sums, [g.n, windows, g.o], [0, 2, 1]);
    return out;
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
    const channels = g.c / g.groups;
    const taps = g.kh * g.kw;
    const codes = weight.unpacked();
    // From (o, c, taps) to (o, taps, c), where every tap begins on a byte.
    const ordered = new Int8Array(codes.length);
    for (let o = 0; o < g.o; o++)
      for (let t = 0; t < taps; t++)
        for (let c = 0; c < channels; c++)
          ordered[(o * taps + t) * channels + c] = codes[(o * channels + c) * taps + t];
    const layer = prepareBitConv(packSignRows(ordered, g.o * taps, channels), g, 0, {
      to: "float32",
      scaleW: weight.coded!.scale,
      bias: bias ?? new Float32Array(g.o),
    });
    if (layer) freed.register(this, layer, this);
    this.laid = { key, layer };
    return layer;
  }
}
