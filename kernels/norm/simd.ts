/**
 * SIMD layerNorm, rmsNorm and batchNorm. Each function has the contract of reference.ts and returns false, nothing written,
 * where it does not apply.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows, inTasks } from "../wasm/parallel.ts";
import { type Staging, staged } from "../wasm/staging.ts";
import type { ChannelSizes, RowSizes } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports; an address of 0 is an array that is not there. */
export interface NormExports {
  layerNorm(
    out: number,
    mean: number,
    rstd: number,
    x: number,
    weight: number,
    bias: number,
    rows: number,
    n: number,
    eps: number,
  ): void;
  rmsNorm(out: number, rstd: number, x: number, weight: number, rows: number, n: number, eps: number): void;
  normGrad(
    dx: number,
    dw: number,
    db: number,
    dOut: number,
    x: number,
    weight: number,
    mean: number,
    rstd: number,
    rows: number,
    n: number,
    scratch: number,
  ): void;
  batchNorm(...numbers: number[]): void;
  batchNormGrad(...numbers: number[]): void;
}

export const normExports = /* @__PURE__ */ wasmKernel<NormExports>(bytes);

type Optional = FloatArray | null;

const applies = (floats: readonly Optional[], statistics: readonly Optional[]): boolean =>
  floats.every((array) => array === null || array instanceof Float32Array) &&
  statistics.every((array) => array === null || array instanceof Float64Array);

/** Stages arrays that may be missing and notes whether the heap had room for all. */
function optionalStaging(staging: Staging) {
  const space = { enough: true };
  const noted = (address: number): number => {
    if (address === 0) space.enough = false;
    return address;
  };
  return {
    space,
    input: (array: Optional): number => (array === null ? 0 : noted(staging.input(array, 0, array.length))),
    output: (array: Optional): number =>
      array === null ? 0 : noted(staging.output(array, 0, array.length, false)),
  };
}

/** out = (x − mean) · rstd · weight + bias; mean and rstd hold doubles. */
export function layerNorm(
  out: FloatArray,
  mean: FloatArray,
  rstd: FloatArray,
  x: FloatArray,
  weight: Optional,
  bias: Optional,
  sizes: RowSizes,
  eps: number,
  exports = normExports(),
): boolean {
  if (exports === null || !applies([out, x, weight, bias], [mean, rstd])) return false;
  return staged((staging) => {
    const { space, input, output } = optionalStaging(staging);
    const [from, scale, shift] = [x, weight, bias].map(input);
    const [to, means, scales] = [out, mean, rstd].map(output);
    if (!space.enough) return false;
    const { rows, n } = sizes;
    inRows(exports, "layerNorm", rows, 1, rows * n, (row, count) => {
      const [at, statistics] = [row * n * 4, row * 8];
      return [to + at, means + statistics, scales + statistics, from + at, scale, shift, count, n, eps];
    });
    return true;
  });
}

/** out = x · rstd · weight; rstd holds doubles. */
export function rmsNorm(
  out: FloatArray,
  rstd: FloatArray,
  x: FloatArray,
  weight: Optional,
  sizes: RowSizes,
  eps: number,
  exports = normExports(),
): boolean {
  if (exports === null || !applies([out, x, weight], [rstd])) return false;
  return staged((staging) => {
    const { space, input, output } = optionalStaging(staging);
    const [from, scale] = [x, weight].map(input);
    const [to, scales] = [out, rstd].map(output);
    if (!space.enough) return false;
    const { rows, n } = sizes;
    inRows(exports, "rmsNorm", rows, 1, rows * n, (row, count) => {
      const at = row * n * 4;
      return [to + at, scales + row * 8, from + at, scale, count, n, eps];
    });
    return true;
  });
}

/** The gradients of `layerNorm`; a null result is not computed. */
export const layerNormGrad = (
  dx: Optional,
  dw: Optional,
  db: Optional,
  dOut: FloatArray,
  x: FloatArray,
  weight: Optional,
  mean: FloatArray,
  rstd: FloatArray,
  sizes: RowSizes,
  exports = normExports(),
): boolean => grad(dx, dw, db, dOut, x, weight, mean, rstd, sizes, exports);

/** The gradients of `rmsNorm`; a null result is not computed. */
export const rmsNormGrad = (
  dx: Optional,
  dw: Optional,
  dOut: FloatArray,
  x: FloatArray,
  weight: Optional,
  rstd: FloatArray,
  sizes: RowSizes,
  exports = normExports(),
): boolean => grad(dx, dw, null, dOut, x, weight, null, rstd, sizes, exports);

function grad(
  dx: Optional,
  dw: Optional,
  db: Optional,
  dOut: FloatArray,
  x: FloatArray,
  weight: Optional,
  mean: Optional,
  rstd: FloatArray,
  sizes: RowSizes,
  exports: NormExports | null,
): boolean {
  if (exports === null || !applies([dx, dw, db, dOut, x, weight], [mean, rstd])) return false;
  return staged((staging) => {
    const { space, input, output } = optionalStaging(staging);
    const inputs = [dOut, x, weight, mean, rstd].map(input);
    const outputs = [dx, dw, db].map(output);
    if (!space.enough) return false;
    const [dxAt, dwAt, dbAt] = outputs;
    const [dOutAt, xAt, weightAt, meanAt, rstdAt] = inputs;
    const { rows, n } = sizes;
    return inTasks(rows * n * 1.5, 24 * (n + 3), [exports], ({ of, local, recorded, next }) => {
      const { normGrad } = of(exports);
      const part = recorded && dx !== null ? Math.ceil(rows / 8) : 0;
      for (let row = 0; row < rows && part > 0; row += part) {
        const at = row * n * 4;
        const means = meanAt && meanAt + row * 8;
        const inputs = [dOutAt + at, xAt + at, weightAt, means, rstdAt + row * 8] as const;
        normGrad(dxAt + at, 0, 0, ...inputs, Math.min(part, rows - row), n, local);
        next();
      }
      // Sums over all rows are one task, and one call of all where there are no others.
      if (part === 0 || dwAt || dbAt)
        normGrad(part > 0 ? 0 : dxAt, dwAt, dbAt, dOutAt, xAt, weightAt, meanAt, rstdAt, rows, n, local);
      next();
    });
  });
}

// Rows of fewer pixels fill no vectors.
const leastPixels = 4;

/** By channels; mean and variance hold doubles. */
export function batchNorm(
  out: FloatArray,
  mean: Float64Array,
  variance: Float64Array,
  x: FloatArray,
  weight: Optional,
  bias: Optional,
  { n, c, pixels }: ChannelSizes,
  eps: number,
  exports = normExports(),
): boolean {
  if (exports === null || pixels < leastPixels || !applies([out, x, weight, bias], [])) return false;
  return staged((staging) => {
    const { space, input, output } = optionalStaging(staging);
    const [from, scale, shift] = [x, weight, bias].map(input);
    const [to, means, spreads] = [out, mean, variance].map(output);
    if (!space.enough) return false;
    inRows(exports, "batchNorm", c, 1, n * c * pixels, (channel, count) => {
      const [at, one, two] = [channel * pixels * 4, channel * 4, channel * 8];
      const given = [from + at, scale && scale + one, shift && shift + one];
      return [to + at, means + two, spreads + two, ...given, count, n, pixels, c * pixels * 4, eps];
    });
    return true;
  });
}

/** The gradients of `batchNorm`. */
export function batchNormGrad(
  dx: FloatArray,
  dw: FloatArray,
  db: FloatArray,
  dOut: FloatArray,
  x: FloatArray,
  weight: Optional,
  mean: Float64Array,
  variance: Float64Array,
  { n, c, pixels }: ChannelSizes,
  eps: number,
  exports = normExports(),
): boolean {
  if (exports === null || pixels < leastPixels || !applies([dx, dw, db, dOut, x, weight], [])) return false;
  return staged((staging) => {
    const { space, input, output } = optionalStaging(staging);
    const [grads, from, scale, means, spreads] = [dOut, x, weight, mean, variance].map(input);
    const [to, weights, biases] = [dx, dw, db].map(output);
    if (!space.enough) return false;
    inRows(exports, "batchNormGrad", c, 1, n * c * pixels, (channel, count) => {
      const [at, one, two] = [channel * pixels * 4, channel * 4, channel * 8];
      const given = [grads + at, from + at, scale && scale + one, means + two, spreads + two];
      return [to + at, weights + one, biases + one, ...given, count, n, pixels, c * pixels * 4, eps];
    });
    return true;
  });
}
