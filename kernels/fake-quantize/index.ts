/** fake-quantize: the contracts are those of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

const exact = { tolerance: () => null };
const { intoOne } = cases;

export const quantizeRanges: Kernel<cases.RangeArgs> = {
  name: "fake-quantize.ranges",
  reference: reference.ranges,
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, ...args) => simd.ranges(...args, code)),
  cases: cases.rangeCases,
  ...exact,
};

export const quantizeUniform: Kernel<cases.UniformArgs> = {
  name: "fake-quantize.uniform",
  reference: (out, x, scales, zeros, runs, least, ...rest) =>
    intoOne(out, x.length, least, (to) => reference.uniform(to, x, scales, zeros, runs, least, ...rest)),
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, out, x, scales, zeros, runs, least, ...rest) =>
    intoOne(out, x.length, least, (to) => simd.uniform(to, x, scales, zeros, runs, least, ...rest, code)),
  ),
  cases: cases.uniformCases,
  ...exact,
};

export const quantizeLevels: Kernel<cases.LevelArgs> = {
  name: "fake-quantize.levels",
  reference: (out, x, ...rest) => intoOne(out, x.length, 0, (to) => reference.levels(to, x, ...rest)),
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, out, x, ...rest) =>
    intoOne(out, x.length, 0, (to) => simd.levels(to, x, ...rest, code)),
  ),
  cases: cases.levelCases,
  ...exact,
};

export const quantizeSigns: Kernel<cases.SignArgs> = {
  name: "fake-quantize.signs",
  reference: (out, x, ...rest) => intoOne(out, x.length, -1, (to) => reference.signs(to, x, ...rest)),
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, out, x, ...rest) =>
    intoOne(out, x.length, -1, (to) => simd.signs(to, x, ...rest, code)),
  ),
  cases: cases.signCases,
  ...exact,
};

/** Has `write` write the values, what was seen, and scales where they are wanted, and lays all into `out`. */
function rowsIntoOne<R>(
  out: Float32Array,
  size: number,
  scaled: boolean,
  write: (values: Float32Array, seen: Uint8Array, scales: Float32Array | null) => R,
): R {
  const seen = new Uint8Array(2);
  const done = write(out.subarray(0, size), seen, scaled ? out.subarray(size + 2) : null);
  out.set(seen, size);
  return done;
}

export const quantizeByRows: Kernel<cases.RowArgs> = {
  name: "fake-quantize.rows",
  reference: (out, x, runs, top, scaled) =>
    rowsIntoOne(out, x.length, scaled, (values, seen, scales) =>
      reference.rows(values, x, seen, runs, top, scales),
    ),
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, out, x, runs, top, scaled) =>
    rowsIntoOne(out, x.length, scaled, (values, seen, scales) =>
      simd.rows(values, x, seen, runs, top, scales, code),
    ),
  ),
  cases: cases.rowCases,
  ...exact,
};
