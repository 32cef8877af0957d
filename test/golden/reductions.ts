import {
  all,
  any,
  argmax,
  argmin,
  cumprod,
  cumsum,
  div,
  logSoftmax,
  logSumExp,
  max,
  mean,
  median,
  min,
  norm,
  prod,
  softmax,
  softmin,
  std,
  sum,
  type Tensor,
  variance,
  where,
} from "bitgrad";
import { row, type Suite } from "./case.ts";

interface Over {
  readonly dim?: number | number[];
  readonly keepdim: boolean;
}
type OverOne = Over & { readonly dim: number };

const axes = ({ dim, keepdim }: Over) => ({ axis: dim, keepDims: keepdim });
const axis = ({ dim, keepdim }: OverOne) => ({ axis: dim, keepDims: keepdim });

const reduction = (
  name: string,
  op: (x: Tensor, options: ReturnType<typeof axes>) => Tensor,
  note?: string,
) => row<Over>(`${name}(x, { axis, keepDims })`, ({ input }, over) => op(input, axes(over)), { note });

const ties = "equal elements share the gradient";

export const reduce: Suite = {
  sum: reduction("sum", sum),
  mean: reduction("mean", mean),
  logsumexp: reduction("logSumExp", logSumExp),
  amax: reduction("max", max, ties),
  amax_ties: row("max(x)", ({ input }) => max(input), { torch: null }),
  amin: reduction("min", min, ties),
  var: row<Over & { correction: number }>(
    "variance(x, { axis, keepDims, correction })",
    ({ input }, { correction, ...over }) => variance(input, { ...axes(over), correction }),
    { note: "the sample variance by default (correction 1), as in PyTorch" },
  ),
  std: row<Over & { correction: number }>(
    "std(x, { axis, keepDims, correction })",
    ({ input }, { correction, ...over }) => std(input, { ...axes(over), correction }),
  ),
  norm: row<Over & { p: number | "inf" }>(
    "norm(x, { p, axis, keepDims })",
    ({ input }, { p, ...over }) =>
      norm(input, { ...axes(over), p: p === "inf" ? Number.POSITIVE_INFINITY : p }),
    { torch: "linalg.vector_norm" },
  ),
  argmax: row<OverOne>("argmax(x, { axis, keepDims })", ({ input }, over) => argmax(input, axis(over)), {
    note: "the first among equals",
  }),
  argmin: row<OverOne>("argmin(x, { axis, keepDims })", ({ input }, over) => argmin(input, axis(over)), {
    note: "the first among equals",
  }),
  max_dim: row<OverOne>(
    "max(x, { axis, keepDims }), argmax(x, { axis, keepDims })",
    ({ input }, over) => ({ values: max(input, axis(over)), indices: argmax(input, axis(over)) }),
    { torch: "max(dim)", note: "values and indices by two calls" },
  ),
  min_dim: row<OverOne>(
    "min(x, { axis, keepDims }), argmin(x, { axis, keepDims })",
    ({ input }, over) => ({ values: min(input, axis(over)), indices: argmin(input, axis(over)) }),
    { torch: "min(dim)", note: "values and indices by two calls" },
  ),
  median_dim: row<OverOne>(
    "median(x, { axis, keepDims })",
    ({ input }, over) => ({ ...median(input, axis(over)) }),
    { torch: "median(dim)", note: "{ values, indices }; the lower of two middle elements" },
  ),
  prod: reduction("prod", prod),
  all: reduction("all", all),
  any: reduction("any", any),
  cumsum: row<{ dim: number }>("cumsum(x, { axis })", ({ input }, { dim }) => cumsum(input, { axis: dim })),
  cumprod: row<{ dim: number }>("cumprod(x, { axis })", ({ input }, { dim }) =>
    cumprod(input, { axis: dim }),
  ),
};

export const softmaxes: Suite = {
  softmax: row<{ dim: number }>("softmax(x, axis)", ({ input }, { dim }) => softmax(input, dim)),
  log_softmax: row<{ dim: number }>("logSoftmax(x, axis)", ({ input }, { dim }) => logSoftmax(input, dim)),
  softmin: row<{ dim: number }>("softmin(x, axis)", ({ input }, { dim }) => softmin(input, dim)),
  large_logits: row(
    "softmax(x), logSoftmax(x)",
    ({ input }) => ({ softmax: softmax(input), log_softmax: logSoftmax(input) }),
    { torch: null },
  ),
  masked: row(
    "softmax(where(mask, x, -Infinity))",
    ({ input, mask }) => softmax(where(mask, input, Number.NEGATIVE_INFINITY)),
    { torch: "softmax(masked_fill(x, ~mask, -inf))" },
  ),
  temperature: row<{ temperature: number }>(
    "logSoftmax(div(x, temperature))",
    ({ input }, { temperature }) => logSoftmax(div(input, temperature)),
    { torch: "log_softmax(x / temperature)" },
  ),
};
