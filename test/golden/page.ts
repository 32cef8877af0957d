import type { Row } from "./case.ts";
import { methodLines } from "./methods.ts";
import { table } from "./table.ts";

const titles: Readonly<Record<string, string>> = {
  unary: "Elementwise, one tensor",
  binary: "Elementwise, two tensors",
  reduce: "Reductions",
  matmul: "Products",
  shape: "Shapes",
  index: "Indexing",
  order: "Order",
  softmax: "Softmax",
  loss: "Losses",
  norm: "Normalisation",
  conv: "Convolution",
  pool: "Pooling",
  attention: "Attention",
  transformer: "Layers",
  quant: "Quantization",
};

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** The PyTorch names that a suite's rows answer, each once. */
const named = (suite: Readonly<Record<string, Row>>): [name: string, row: Row][] =>
  Object.entries(suite).flatMap(([op, row]): [string, Row][] =>
    row.torch === null ? [] : [[row.torch ?? op, row]],
  );

/** What differs from PyTorch on purpose, beside the notes of single lines. */
const differences = [
  "`round` and every quantizer take halves to the even neighbour, as PyTorch's `round` does; `sign` is 0 at 0, while binarizers map 0 and −0 to +1.",
  "A number beside a tensor takes the tensor's dtype where it fits; a float wins over integers, and float64 over float32. Comparisons give bool, sums of int8 and uint8 int32.",
  "Indices of `gather`, `indexSelect`, `embedding` and the like lie in 0 … n − 1: a negative index is a ShapeError. Axes may be negative, and so may the bounds of `slice`.",
  "`causal` attention with fewer queries than keys puts the last query level with the last key, as a cache needs it; PyTorch's `is_causal` puts the first query level with the first key.",
  "A query that may read no key gives 0, with a gradient of 0.",
  "`crossEntropy` of a batch in which nothing counts is 0, with a gradient of 0 (PyTorch: NaN), and what has weight 0 or is ignored is not read, whatever it holds.",
  "`kdLoss` averages over all positions of its input; `batchmean` of PyTorch's `kl_div` divides by the first axis alone.",
  "`dropout`, the random initialisers and `rand` draw from an `Rng` whose bits are the same on every machine, and are not PyTorch's.",
];

/** docs/ops.md: PyTorch's names and what they are here, from the rows that the reference cases run. */
export function page(): string {
  const sections = Object.entries(titles).map(([suite, title]) => {
    const lines = named(table[suite]).map(
      ([name, { call, note = "" }]) => `| \`${cell(name)}\` | \`${cell(call)}\` | ${cell(note)} |`,
    );
    return [`## ${title}`, "", "| PyTorch | bitgrad | |", "| --- | --- | --- |", ...lines].join("\n");
  });
  return `${[
    "---\ntitle: Ops beside PyTorch\n---",
    "# PyTorch's names and bitgrad's",
    [
      "Every line is run against reference values and gradients made with PyTorch 1.13, held in `test/golden` with the calls",
      "that this page is made from. Ops are functions of `bitgrad`, losses and layers of `bitgrad/nn`, quantizers of",
      "`bitgrad/quant`. Most ops are also methods, listed at the end: `softmax(x, axis)` is `x.softmax(axis)`. PyTorch's `dim`",
      "and `keepdim` are `axis` and `keepDims`.",
    ].join("\n"),
    [
      "Sums and products of integers (`sum`, `prod`, `cumsum`, `cumprod`, `sumTo`, `matmul` and what is made of it, `scatterAdd`,",
      "`indexAdd`) are exact, or a DTypeError where their dtype cannot hold the result, which PyTorch would hold in int64:",
      '`x.to("float64").sum()` has room up to 2⁵³. Elementwise arithmetic of integers wraps, as in PyTorch.',
    ].join("\n"),
    [
      "At kinks, poles, ties and infinities gradients are PyTorch's, or a number where PyTorch gives NaN and a number serves.",
      "`test/singular` states them, first and second, for every op and loss, and says where and why they differ.",
    ].join("\n"),
    ...sections,
    [
      "## Every method",
      "",
      "Each is a function of `bitgrad` too, with the tensor first. The dtypes are 7: float32, float64, int8, uint8, int32, uint32,",
      "bool; `gives` is the dtype of the result where all operands have one dtype. Options stand in the doc comments.",
      "",
      "| method | takes | gives | gradient | |",
      "| --- | --- | --- | --- | --- |",
      ...methodLines(),
    ].join("\n"),
    `## Differences on purpose\n\n${differences.map((line) => `- ${line}`).join("\n")}`,
  ].join("\n\n")}\n`;
}
