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
  reference: (out, x, scales, zeros, runs, least, most) =>
    intoOne(out, x.length, least, (to) => reference.uniform(to, x, scales, zeros, runs, least, most)),
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, out, x, scales, zeros, runs, least, most) =>
    intoOne(out, x.length, least, (to) => simd.uniform(to, x, scales, zeros, runs, least, most, code)),
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

/** Has `write` write the values and what was seen, and lays both into `out`. */
function withSeen<R>(out: Float32Array, write: (values: Float32Array, seen: Uint8Array) => R): R {
  const seen = new Uint8Array(2);
  const done = write(out.subarray(0, out.length - 2), seen);
  out.set(seen, out.length - 2);
  return done;
}

export const quantizeByRows: Kernel<cases.RowArgs> = {
  name: "fake-quantize.rows",
  reference: (out, x, ...rest) => withSeen(out, (values, seen) => reference.rows(values, x, seen, ...rest)),
  implementations: simdBuilds(simd.fakeQuantizeExports, (code, out, x, ...rest) =>
    withSeen(out, (values, seen) => simd.rows(values, x, seen, ...rest, code)),
  ),
  cases: cases.rowCases,
  ...exact,
};
