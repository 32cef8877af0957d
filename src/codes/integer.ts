/**
 * Layers computed the integer way, in ops: codes, exact integer sums, then the scales in the order of the packed kernels. What
 * packed inference gives is equal to this, bit for bit.
 */

import type { Conv1d, Conv2d } from "../nn/conv.ts";
import type { Parameter } from "../nn/parameter.ts";
import type { Tensor } from "../tensor.ts";
import type { QTensor } from "./contract.ts";
import { isSigns } from "./spec.ts";

/** code − zero point, as doubles, whose sums are exact. */
function integers({ codes, zeroPoint }: QTensor): Tensor {
  const wide = (codes as Tensor).to("float64");
  return zeroPoint ? wide.sub(zeroPoint.to("float64")) : wide;
}

/** Times the scales of the input, one a row or one for each of `samples`; signs have none, nor has an empty batch. */
function inputScaled(f: Tensor, { scale, spec }: QTensor, samples: number[] | null = null): Tensor {
  if (isSigns(spec) || f.size === 0) return f;
  return f.mul(samples ? scale.reshape(samples) : scale);
}

/** (…, out) of (…, in) and a weight (out, in). */
export function integerLinear(x: QTensor, weight: QTensor, bias: Parameter | null): Tensor {
  const [left, right] = [integers(x), integers(weight)];
  const { granularity } = weight.spec;
  const [rows, k] = weight.shape;
  const group = typeof granularity === "object" ? granularity.group : Math.max(1, k);
  const scales = weight.scale.reshape([weight.scale.size === 1 ? 1 : rows, -1]);
  let f: Tensor | null = null;
  for (let from = 0, g = 0; g === 0 || from < k; from += group, g++) {
    const columns: [number, number] = [from, Math.min(k, from + group)];
    const part = left.slice([...Array<null>(left.rank - 1).fill(null), columns]);
    const sums = part.matmul(right.slice([null, columns]), { transposeB: true }).to("float32");
    const scaled = sums.mul(scales.slice([null, [g, g + 1]]).reshape([-1]));
    f = f === null ? scaled : f.add(scaled);
  }
  const y = inputScaled(f!, x);
  // Adding 0 where there is no bias turns −0 into 0, as the packed kernels do.
  return y.add(bias?.effective() ?? 0);
}

const isConv1d = (layer: Conv1d | Conv2d): layer is Conv1d => layer.weight.shape.length === 3;

/** The convolution of a layer, along one axis or two, with other weights. */
export function convolved(x: Tensor, weight: Tensor, bias: Tensor | null, layer: Conv1d | Conv2d): Tensor {
  const { groups } = layer;
  if (isConv1d(layer)) {
    const { stride, padding, dilation } = layer;
    return x.conv1d(weight, bias, { stride, padding, dilation, groups });
  }
  const { stride, padding, dilation } = layer;
  return x.conv2d(weight, bias, { stride, padding, dilation, groups });
}

/** (N, O, …) of (N, C, …) with one scale or one a sample, and filters with one scale or one each. Padding counts as 0. */
export function integerConv(x: QTensor, weight: QTensor, layer: Conv1d | Conv2d): Tensor {
  const filters = [-1, ...Array<number>(x.shape.length - 2).fill(1)];
  const sums = convolved(integers(x), integers(weight), null, layer).to("float32");
  const y = inputScaled(sums.mul(weight.scale.reshape(filters)), x, [...filters, 1]);
  return y.add(layer.bias?.effective().reshape(filters) ?? 0);
}
