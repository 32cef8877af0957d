import { index, order, shape } from "./arrays.ts";
import type { Suite } from "./case.ts";
import { binary, unary } from "./elementwise.ts";
import { graph } from "./graph.ts";
import { transformer } from "./layers.ts";
import { loss } from "./losses.ts";
import { algebra, attention, conv, norm, pool } from "./networks.ts";
import { quant } from "./quant.ts";
import { reduce, softmaxes } from "./reductions.ts";
import { training } from "./training.ts";

/** The one map from PyTorch's names to bitgrad's, by suite. */
export const table: Readonly<Record<string, Suite>> = {
  unary,
  binary,
  reduce,
  matmul: algebra,
  shape,
  index,
  order,
  softmax: softmaxes,
  loss,
  norm,
  conv,
  pool,
  attention,
  transformer,
  graph,
  training,
  quant,
};
