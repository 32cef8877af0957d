/** Comparison of tensors within a tolerance. */

import type { DType } from "../dtype.ts";
import { BitgradError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { sameShape } from "../shape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";

export interface CloseOptions {
  /** The error allowed, relative to the wanted value. */
  rtol?: number;
  /** The error allowed on top of it. */
  atol?: number;
}

/** PyTorch's defaults for torch.testing.assert_close. */
const defaults = (dtype: DType): Required<CloseOptions> => {
  if (dtype === "float32") return { rtol: 1.3e-6, atol: 1e-5 };
  return dtype === "float64" ? { rtol: 1e-7, atol: 1e-7 } : { rtol: 0, atol: 0 };
};

/**
 * Throws unless the shapes are equal and |got − want| ≤ atol + rtol · |want| everywhere. NaN equals NaN, an infinity only
 * itself. Without either tolerance they are those of the dtype of `got` (float32: 1.3e-6 and 1e-5, float64: 1e-7 both,
 * others: equality); with only one of them the other is 0.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { expectClose } from "bitgrad/testing";
 *
 * expectClose(tensor([0.1]).add(0.2), [0.3]);
 * expectClose(tensor([1.01]), [1], { atol: 0.02 });
 * ```
 */
export function expectClose(got: TensorLike, want: TensorLike, options?: CloseOptions): void {
  const given = readOptions<{ rtol: number | null; atol: number | null }>("expectClose", options, {
    rtol: null,
    atol: null,
  });
  const a = asTensor("expectClose", got);
  const b = wanted(want);
  const { rtol, atol } =
    given.rtol === null && given.atol === null
      ? defaults(a.dtype)
      : { rtol: given.rtol ?? 0, atol: given.atol ?? 0 };
  for (const [name, value] of Object.entries({ rtol, atol })) {
    if (!(typeof value === "number" && value >= 0))
      throw new OptionError(`expectClose: option ${name} must not be negative, got ${show(value)}`);
  }
  if (!sameShape(a.shape, b.shape))
    throw new ShapeError(`expectClose: shapes differ, got ${show(a.shape)} for ${show(b.shape)}`);
  for (let i = 0; i < a.size; i++) {
    const [x, y] = [a.data[i], b.data[i]];
    if (Object.is(x, y) || x === y) continue;
    const bound = atol + rtol * Math.abs(y);
    if (Number.isFinite(y) && Math.abs(x - y) <= bound) continue;
    throw new BitgradError(
      `expectClose: values differ at ${show(place(i, a.shape))}, got ${x} for ${y}, bound ${bound}`,
      "NOT_CLOSE",
    );
  }
}

/** Plain numbers are compared as written, not as rounded to float32. */
function wanted(want: TensorLike): Tensor {
  const isPlain = !isTensor(want) && !ArrayBuffer.isView(want);
  return asTensor("expectClose", want, isPlain ? "float64" : undefined);
}

/** The index of element i. */
function place(i: number, shape: readonly number[]): number[] {
  const at = new Array<number>(shape.length);
  for (let k = shape.length - 1, rest = i; k >= 0; k--) {
    at[k] = rest % shape[k];
    rest = (rest - at[k]) / shape[k];
  }
  return at;
}
