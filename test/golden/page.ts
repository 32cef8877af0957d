import type { Row } from "./case.ts";
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

/** docs/ops.md: PyTorch's names and what they are here, from the rows that the reference cases run. */
export function page(): string {
  const sections = Object.entries(titles).map(([suite, title]) => {
    const lines = named(table[suite]).map(
      ([name, { call, note = "" }]) => `| \`${cell(name)}\` | \`${cell(call)}\` | ${cell(note)} |`,
    );
    return [`## ${title}`, "", "| PyTorch | bitgrad | |", "| --- | --- | --- |", ...lines].join("\n");
  });
  return `${[
    "# PyTorch's names and bitgrad's",
    [
      "Every line is run against reference values and gradients made with PyTorch 1.13, held in `test/golden` with the calls",
      "that this page is made from. Ops are functions of `bitgrad`, losses and layers of `bitgrad/nn`, quantizers of `bitgrad/quant`. Most ops are also methods:",
      "`softmax(x, axis)` is `x.softmax(axis)`. PyTorch's `dim` and `keepdim` are `axis` and `keepDims`.",
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
  ].join("\n\n")}\n`;
}
