/** Windows over images that are no products of codes. */

import { type ConvGeometry, conv2dInputGrad as transposedInDouble } from "../../../kernels/conv/reference.ts";
import { type AverageWindows, avgPool2d as averageInDouble } from "../../../kernels/pool/reference.ts";
import { avgPool2d, conv2dInputGrad, maxPool2dIndices } from "../../backend.ts";
import type { PackedWeight } from "../file/weight.ts";
import { codeRoom, mended, room, type Values } from "../values.ts";

export function pool({ data }: Values, windows: AverageWindows, type: "max" | "average"): Float32Array {
  const { n, c, oh, ow } = windows;
  const size = n * c * oh * ow;
  const out = room(size);
  if (type === "average") {
    avgPool2d(out, data, windows);
    return mended(out, () => averageInDouble(out, data, windows));
  }
  const { buffer, byteOffset } = codeRoom(4 * size);
  const places = new Int32Array(buffer, byteOffset, size);
  maxPool2dIndices(places, out, data, windows);
  return out;
}

export function convTranspose({ data }: Values, weight: PackedWeight, geometry: ConvGeometry): Float32Array {
  const { n, c, h, w } = geometry;
  const filters = weight.coded ? weight.dequantized() : weight.operand;
  const out = room(n * c * h * w);
  conv2dInputGrad(out, data, filters, geometry);
  return mended(out, () => transposedInDouble(out, data, filters, geometry));
}
