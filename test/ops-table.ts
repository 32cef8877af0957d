/** Every op by its exported name, public or not: the table that tests and documents iterate. */

import * as activation from "../src/ops/activation.ts";
import * as attention from "../src/ops/attention.ts";
import * as batchNorm from "../src/ops/batch-norm.ts";
import * as binary from "../src/ops/binary.ts";
import * as conv from "../src/ops/conv.ts";
import * as indexing from "../src/ops/index-ops.ts";
import * as join from "../src/ops/join.ts";
import * as matmul from "../src/ops/matmul.ts";
import * as movement from "../src/ops/movement.ts";
import * as norm from "../src/ops/norm.ts";
import type { Op, OpRules } from "../src/ops/op.ts";
import * as pool from "../src/ops/pool.ts";
import * as reduce from "../src/ops/reduce.ts";
import * as repeat from "../src/ops/repeat.ts";
import * as rotary from "../src/ops/rotary.ts";
import * as scan from "../src/ops/scan.ts";
import * as softmax from "../src/ops/softmax.ts";
import * as sort from "../src/ops/sort.ts";
import * as unary from "../src/ops/unary.ts";
import * as variance from "../src/ops/variance.ts";
import type { Tensor } from "../src/tensor.ts";

const modules = {
  ...unary,
  ...activation,
  ...binary,
  ...reduce,
  ...variance,
  ...scan,
  ...movement,
  ...join,
  ...repeat,
  ...indexing,
  ...sort,
  ...matmul,
  ...softmax,
  ...norm,
  ...batchNorm,
  ...attention,
  ...rotary,
  ...conv,
  ...pool,
};

type Modules = typeof modules;

/** The exported names of ops. */
export type OpName = {
  [K in keyof Modules]: Modules[K] extends { readonly rules: OpRules } ? K : never;
}[keyof Modules];

/** Every op by its exported name. */
export const table = Object.fromEntries(
  Object.entries(modules).filter(([, value]) => typeof value === "function" && "rules" in value),
) as unknown as { readonly [K in OpName]: Op<readonly Tensor[], object, Tensor | readonly Tensor[]> };
