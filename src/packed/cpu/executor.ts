/** The CPU's executor: kernels on typed arrays and on the SIMD heap. */

import { isFloat32Array } from "../../dtype.ts";
import type { Executor } from "../executor.ts";
import { attention, rotary } from "./attention.ts";
import { PackedCache } from "./cache.ts";
import { join, map } from "./elementwise.ts";
import { gather, pad, permute, pick } from "./layout.ts";
import { average, hadamard, norm, rows } from "./rows.ts";
import { convTranspose, pool } from "./windows.ts";

export const cpu: Executor = {
  foldsSigns: true,
  holds: isFloat32Array,
  bring: (x) => x,
  product: ({ data }, of, m) => of.run(data, m, m * of.weight.rows),
  conv: ({ data }, of, geometry) =>
    of.run(data, geometry, geometry.n * geometry.o * geometry.oh * geometry.ow),
  convTranspose,
  map,
  join,
  norm,
  attention,
  rotary,
  hadamard,
  rows,
  permute,
  pick,
  gather,
  pad,
  average,
  pool,
  newCache: () => new PackedCache(),
};
