import {
  add,
  arange,
  broadcastTo,
  chunk,
  concat,
  diagonal,
  embedding,
  flatten,
  flip,
  gather,
  indexAdd,
  indexSelect,
  kthValue,
  maskedFill,
  maskedSelect,
  mul,
  oneHot,
  pad,
  permute,
  quantile,
  repeatInterleave,
  reshape,
  roll,
  type SliceRange,
  scatter,
  scatterAdd,
  select,
  slice,
  sort,
  split,
  stack,
  type Tensor,
  tile,
  topK,
  transpose,
  tril,
  triu,
  unfoldDim,
  unsqueeze,
} from "bitgrad";
import { listed, row, type Suite, type Tensors } from "./case.ts";

interface Dim {
  readonly dim: number;
}

const list = (inputs: Tensors): Tensor[] => Object.values(inputs);

/** PyTorch lists pads from the last axis to the first, flat. */
const pairs = (flat: readonly number[]): [number, number][] =>
  Array.from({ length: flat.length / 2 }, (_, i): [number, number] => [
    flat[2 * i],
    flat[2 * i + 1],
  ]).reverse();

/** Pads of at least 0, after cutting away what negative ones ask for. */
function padOrCrop(x: Tensor, flat: readonly number[], value: number): Tensor {
  const sides = pairs(flat);
  const cut = sides.map(([before, after]): SliceRange => [Math.max(0, -before), after < 0 ? after : null]);
  const cropped = slice(x, [...Array<null>(x.rank - cut.length).fill(null), ...cut]);
  return pad(
    cropped,
    sides.map(([before, after]) => [Math.max(0, before), Math.max(0, after)]),
    { value },
  );
}

export const shape: Suite = {
  reshape: row<{ to: number[] }>("reshape(x, shape)", ({ input }, { to }) => reshape(input, to)),
  transpose: row<{ dim0: number; dim1: number }>("transpose(x, a, b)", ({ input }, { dim0, dim1 }) =>
    transpose(input, dim0, dim1),
  ),
  permute: row<{ dims: number[] }>("permute(x, order)", ({ input }, { dims }) => permute(input, dims)),
  expand: row<{ to: number[] }>("broadcastTo(x, shape)", ({ input }, { to }) => broadcastTo(input, to)),
  squeeze_unsqueeze: row<Dim>(
    "squeeze(x, axis), unsqueeze(x, axis)",
    ({ input }, { dim }) => unsqueeze(unsqueeze(input, dim).squeeze(dim), dim),
    { torch: "squeeze, unsqueeze" },
  ),
  flip: row<{ dims: number[] }>("flip(x, axis)", ({ input }, { dims }) => flip(input, dims)),
  roll: row<{ shifts: number[]; dims: number[] }>("roll(x, shift, { axis })", ({ input }, { shifts, dims }) =>
    roll(input, shifts, { axis: dims }),
  ),
  repeat: row<{ reps: number[] }>("tile(x, repeats)", ({ input }, { reps }) => tile(input, reps)),
  repeat_interleave: row<Dim & { n: number }>(
    "repeatInterleave(x, times, { axis })",
    ({ input }, { n, dim }) => repeatInterleave(input, n, { axis: dim }),
  ),
  slice: row<Dim & { start: number; end: number; step: number }>(
    "slice(x, ranges)",
    ({ input }, { dim, start, end, step }) =>
      slice(input, [...Array<null>(dim).fill(null), [start, end, step]]),
    {
      torch: "x[…]",
      note: "one range an axis, [from, to, step] with Python's meaning or null for all of it",
    },
  ),
  select: row<Dim & { index: number }>("select(x, index, { axis })", ({ input }, { dim, index }) =>
    select(input, index, { axis: dim }),
  ),
  tril: row<{ k: number }>("tril(x, { offset })", ({ input }, { k }) => tril(input, { offset: k })),
  triu: row<{ k: number }>("triu(x, { offset })", ({ input }, { k }) => triu(input, { offset: k })),
  diagonal: row<{ k: number }>(
    "diagonal(x, { offset })",
    ({ input }, { k }) => diagonal(input, { offset: k }),
    {
      note: "of the last two axes",
    },
  ),
  pad_constant: row<{ pad: number[]; value: number }>(
    "pad(x, pads, { value })",
    ({ input }, { pad: flat, value }) => padOrCrop(input, flat, value),
    {
      torch: "pad",
      note: "one [before, after] an axis, the last axes last; PyTorch's negative pads are a slice(x, ranges)",
    },
  ),
  pad_reflect: row<{ pad: number[] }>(
    'pad(x, pads, { mode: "reflect" })',
    ({ input }, { pad: flat }) => pad(input, pairs(flat), { mode: "reflect" }),
    { torch: 'pad(mode="reflect")' },
  ),
  pad_replicate: row<{ pad: number[] }>(
    'pad(x, pads, { mode: "replicate" })',
    ({ input }, { pad: flat }) => pad(input, pairs(flat), { mode: "replicate" }),
    { torch: 'pad(mode="replicate")' },
  ),
  unfold_dim: row<Dim & { size: number; step: number }>(
    "unfoldDim(x, { axis, size, step })",
    ({ input }, { dim, size, step }) => unfoldDim(input, { axis: dim, size, step }),
    { torch: "Tensor.unfold" },
  ),
  chunk: row<Dim & { n: number }>("chunk(x, count, { axis })", ({ input }, { n, dim }) =>
    listed(chunk(input, n, { axis: dim })),
  ),
  split_sizes: row<Dim & { sizes: number[] }>(
    "split(x, sizes, { axis })",
    ({ input }, { sizes, dim }) => listed(split(input, sizes, { axis: dim })),
    { torch: "split" },
  ),
  cat: row<Dim>("concat(tensors, { axis })", (inputs, { dim }) => concat(list(inputs), { axis: dim })),
  stack: row<Dim>("stack(tensors, { axis })", (inputs, { dim }) => stack(list(inputs), { axis: dim })),
};

export const index: Suite = {
  gather: row<Dim>("gather(x, index, { axis })", ({ input, index }, { dim }) =>
    gather(input, index, { axis: dim }),
  ),
  scatter: row<Dim>(
    "scatter(x, index, source, { axis })",
    ({ input, index, src }, { dim }) => scatter(input, index, src, { axis: dim }),
    { note: "where an index repeats, the last one counts" },
  ),
  scatter_add: row<Dim>("scatterAdd(x, index, source, { axis })", ({ input, index, src }, { dim }) =>
    scatterAdd(input, index, src, { axis: dim }),
  ),
  index_select: row<Dim>("indexSelect(x, index, { axis })", ({ input, index }, { dim }) =>
    indexSelect(input, index, { axis: dim }),
  ),
  index_add: row<Dim & { alpha: number }>(
    "indexAdd(x, index, source, { axis, alpha })",
    ({ input, index, source }, { dim, alpha }) => indexAdd(input, index, source, { axis: dim, alpha }),
  ),
  advanced_index: row(
    "indexSelect(flatten(x), add(mul(i, columns), j)), indexSelect(x, i)",
    ({ input, i, j }) => ({
      pairs: indexSelect(flatten(input), add(mul(i, input.shape[1]), j)),
      rows: indexSelect(input, i),
    }),
    { torch: "x[i, j], x[i]" },
  ),
  masked_fill: row<{ value: number }>("maskedFill(x, mask, value)", ({ input, mask }, { value }) =>
    maskedFill(input, mask, value),
  ),
  masked_select: row("maskedSelect(x, mask)", ({ input, mask }) => maskedSelect(input, mask)),
  embedding: row<{ padding_idx?: number }>(
    "embedding(table, ids, { paddingIndex })",
    ({ weight, index }, { padding_idx: paddingIndex }) => embedding(weight, index, { paddingIndex }),
    { note: "the row paddingIndex gets no gradient" },
  ),
  one_hot: row<{ num_classes: number }>("oneHot(ids, { classes })", ({ index }, { num_classes: classes }) =>
    oneHot(index, { classes }),
  ),
  setitem: row(
    "scatter(flatten(x), flatten(places), flatten(values))",
    ({ input, value }) => {
      const places = arange(0, input.size, 1, { dtype: "int32" }).reshape(input.shape);
      const written = scatter(
        flatten(input),
        flatten(
          slice(places, [
            [1, 3],
            [null, null, 2],
          ]),
        ),
        flatten(value),
      ).reshape(input.shape);
      return written.mul(written);
    },
    {
      torch: "x[…] = values",
      note: "tensors are not written in place; places holds the flat position of each element that changes",
    },
  ),
};

export const order: Suite = {
  sort: row<Dim & { descending: boolean }>(
    "sort(x, { axis, descending })",
    ({ input }, { dim, descending }) => ({ ...sort(input, { axis: dim, descending }) }),
    { note: "{ values, indices }; stable" },
  ),
  topk: row<Dim & { k: number; largest: boolean }>(
    "topK(x, k, { axis, largest })",
    ({ input }, { k, dim, largest }) => ({ ...topK(input, k, { axis: dim, largest }) }),
    { note: "{ values, indices }, best first" },
  ),
  kthvalue: row<Dim & { k: number }>(
    "kthValue(x, k, { axis })",
    ({ input }, { k, dim }) => ({ ...kthValue(input, k, { axis: dim }) }),
    { note: "{ values, indices }; k from 1" },
  ),
  quantile: row<Dim & { q: number | number[]; keepdim: boolean; interpolation: "linear" }>(
    "quantile(x, q, { axis, keepDims, interpolation })",
    ({ input }, { q, dim, keepdim, interpolation }) =>
      quantile(input, q, { axis: dim, keepDims: keepdim, interpolation }),
    { note: "an infinite element that is met exactly is given (PyTorch: NaN)" },
  ),
  stable_sort_ties: row("sort(x)", ({ input }) => ({ ...sort(input) }), { torch: null }),
};
