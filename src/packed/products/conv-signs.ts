/** Convolution of signs with filters of signs, on bits. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { type BitConvLayer, bitConvHeap, prepareBitConv } from "../../../kernels/conv-b1/simd.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { permute, usesSimd } from "../../backend.ts";
import { bitRoom, room } from "../values.ts";
import { checkFinite, signBits } from "./input.ts";
import type { Operands, Way } from "./way.ts";

/** Writes (n, o, oh, ow) of images (n, c, h, w) or of their bits. False where the kernel does not serve it. */
export function convolveSigns(
  out: Float32Array,
  x: Float32Array | Uint8Array,
  g: ConvGeometry,
  of: Operands,
): boolean {
  const windows = g.oh * g.ow;
  const sums = written(x, g, of, () => room(out.length));
  if (sums === null) return false;
  permute(out, sums, [g.n, windows, g.o], [0, 2, 1]);
  return true;
}

/** The bits of the same, by a fold: channels last, those of a group from a byte on. Null where the kernel does not serve it. */
export const convolvedBits = (
  x: Float32Array | Uint8Array,
  g: ConvGeometry,
  of: Operands,
): Uint8Array | null => written(x, g, of, ({ step }) => bitRoom(g.n * g.oh * g.ow * step));

export const convSigns: Way<ConvGeometry> = {
  serves: ({ weight: { bits, coded }, input }) =>
    input?.kind === "signs" && bits === 1 && coded?.signed === true && coded.group === null,
  run: convolveSigns,
};

function written<A extends Float32Array | Uint8Array>(
  x: Float32Array | Uint8Array,
  g: ConvGeometry,
  of: Operands,
  make: (layer: BitConvLayer) => A,
): A | null {
  if (!usesSimd()) return null;
  const { weight, laid } = of;
  // Laid out for the geometry of images that was seen last.
  const lay = () => prepareBitConv(weight.bitFilters(g.kh * g.kw), g, 0, of.output(null));
  const layer = laid.get("signs", lay, Object.values(g).join());
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

/** The signs of images (n, c, h, w), channels last. */
function imageBits(x: Float32Array, { n, c, h, w, groups }: ConvGeometry): Uint8Array {
  checkFinite("conv2d", x, x.length);
  const last = room(x.length);
  permute(last, x, [n, c, h * w], [0, 2, 1]);
  return signBits(last, n * h * w * groups, c / groups);
}
