/** Scales of a weight (out, …, in): how many there are, how they are found, and how they spread over the weight. */

import { toFloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import { BitgradError, show } from "../errors.ts";
import { type Tensor, wrap } from "../tensor.ts";

/** One scale for the tensor, one for each row of axis 0, or one for every `group` elements of the last axis. */
export type Granularity = "tensor" | "channel" | { readonly group: number };

/** x as (…, blocks, n) with the elements that share a scale on the last axis; a ragged last group is filled with zeros. */
function blocks(x: Tensor, granularity: Granularity): Tensor {
  if (granularity === "tensor") return x.reshape([1, x.size]);
  if (granularity === "channel") return x.reshape([x.shape[0] ?? 1, -1]);
  const { group } = granularity;
  const n = x.shape[x.rank - 1];
  const count = Math.ceil(n / group);
  // Zeros change neither a largest magnitude nor a sum.
  return x.pad([[0, count * group - n]]).reshape([...x.shape.slice(0, -1), count, group]);
}

const checked = (x: Tensor): Tensor => {
  if (x.size > 0 && !x.isFinite().all().item()) {
    throw new BitgradError(
      `quantize: every element must be finite, got NaN or infinity in a tensor of ${show(x.shape)}`,
      "NUMERICS",
    );
  }
  return x.detach();
};

/**
 * Scales as float16, which is how they are stored, so that training and storing agree to the bit. 1 for a block of zeros.
 * Throws for a scale beyond float16's range.
 */
function stored(scale: Tensor, shape: readonly number[]): Tensor {
  const smallest = 2 ** -24;
  const half = widenFloat16(
    toFloat16(
      Float32Array.from(scale.data as ArrayLike<number>, (s) => (s === 0 ? 1 : Math.max(s, smallest))),
    ),
  );
  if (half.some((s) => s === Number.POSITIVE_INFINITY)) {
    throw new BitgradError(
      `quantize: a scale exceeds float16, got ${show(Math.max(...scale.data))}; scale the tensor down`,
      "NUMERICS",
    );
  }
  return wrap(half, shape, "float32");
}

const scaleShape = (x: Tensor, granularity: Granularity): readonly number[] => {
  if (granularity === "tensor") return [1];
  if (granularity === "channel") return [x.shape[0] ?? 1];
  return [...x.shape.slice(0, -1), Math.ceil(x.shape[x.rank - 1] / granularity.group)];
};

/** max|x| / top of every block. */
export const absmaxScale = (x: Tensor, granularity: Granularity, top: number): Tensor =>
  stored(blocks(checked(x), granularity).abs().max({ axis: -1 }).div(top), scaleShape(x, granularity));

/** mean|x| of every block, over its true length. */
export function absmeanScale(x: Tensor, granularity: Granularity): Tensor {
  const magnitudes = checked(x).abs();
  const totals = blocks(magnitudes, granularity).sum({ axis: -1 });
  const counts = blocks(magnitudes.mul(0).add(1), granularity).sum({ axis: -1 });
  return stored(totals.div(counts), scaleShape(x, granularity));
}

/** Scales repeated to the shape of x. */
export function spread(scale: Tensor, x: Tensor, granularity: Granularity): Tensor {
  if (granularity === "tensor") return scale;
  if (granularity === "channel")
    return scale.reshape([scale.size, ...Array<number>(Math.max(0, x.rank - 1)).fill(1)]);
  const n = x.shape[x.rank - 1];
  const wide = scale.repeatInterleave(granularity.group, { axis: -1 });
  return wide.slice([...Array<null>(x.rank - 1).fill(null), [0, n]]);
}
