/** The report: one HTML file that needs nothing else, the curves and the table drawn as pictures. */

import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { JobResult, Row } from "./job.ts";

const colours = { background: "white", config: { view: { stroke: null }, font: "system-ui, sans-serif" } };

async function draw(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile({ ...colours, ...spec } as TopLevelSpec).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

/** Training losses, averaged over stretches of 1 % so that the curve can be read. */
function curvePoints({ curves }: JobResult) {
  return curves.flatMap(({ name, losses }) => {
    const width = Math.max(1, Math.floor(losses.length / 100));
    return Array.from({ length: Math.floor(losses.length / width) }, (_, i) => {
      const part = losses.slice(i * width, (i + 1) * width);
      return { name, step: (i + 1) * width, loss: part.reduce((a, b) => a + b, 0) / part.length };
    });
  });
}

const curves = (result: JobResult) =>
  draw({
    width: 640,
    height: 300,
    title: "Training loss (nats a byte)",
    layer: [
      {
        data: { values: curvePoints(result) },
        mark: { type: "line", strokeWidth: 2 },
        encoding: {
          x: { field: "step", type: "quantitative", title: "step" },
          y: { field: "loss", type: "quantitative", title: "loss", scale: { zero: false } },
          color: { field: "name", type: "nominal", title: null, sort: null },
        },
      },
      {
        data: { values: [{ entropy: result.unigram }] },
        mark: { type: "rule", strokeDash: [4, 4], color: "#888", tooltip: "entropy of single bytes" },
        encoding: { y: { field: "entropy", type: "quantitative" } },
      },
    ],
  });

const bars = (rows: readonly Row[], field: "bytes" | "loss" | "tokensPerSecond", title: string) =>
  draw({
    width: 460,
    height: rows.length * 26,
    title,
    data: { values: rows.map((row) => ({ name: row.name, value: row[field] })) },
    encoding: {
      y: { field: "name", type: "nominal", sort: null, title: null },
      x: { field: "value", type: "quantitative", title: null, axis: { grid: false } },
    },
    layer: [
      { mark: { type: "bar", color: "#4c78a8" } },
      {
        mark: { type: "text", align: "left", dx: 4 },
        encoding: {
          text: { field: "value", type: "quantitative", format: field === "loss" ? ".3f" : ",.0f" },
        },
      },
    ],
  });

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Table cells of a row, as text. */
export const cells = (row: Row): string[] => [
  row.name,
  row.bitsPerWeight.toFixed(2),
  row.bytes.toLocaleString("en"),
  row.loss.toFixed(3),
  row.perplexity.toFixed(2),
  row.tokensPerSecond.toFixed(0),
];

export const heads = ["model", "bits/weight", "bytes", "validation loss", "perplexity", "tokens/s"];

export async function writeReport(result: JobResult, title: string): Promise<string> {
  const pictures = await Promise.all([
    curves(result),
    bars(result.rows, "loss", "Validation loss (nats a byte)"),
    bars(result.rows, "bytes", "Size (bytes)"),
    bars(result.rows, "tokensPerSecond", "Decoding (tokens/s)"),
  ]);
  const row = (tag: string, list: readonly string[]) =>
    `<tr>${list.map((c) => `<${tag}>${escape(c)}</${tag}>`).join("")}</tr>`;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escape(title)}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; } pre { background: #f6f6f6; padding: 1rem; white-space: pre-wrap; }
svg { max-width: 100%; height: auto; display: block; margin: 1.5rem 0; }
</style>
<h1>${escape(title)}</h1>
<p>A GPT of ${result.parameters.toLocaleString("en")} parameters, trained on bytes. A model that knows only how often
each byte occurs would lose ${result.unigram.toFixed(3)} nats a byte (dashed). The tables of tokens and positions keep 8 bits
in every compressed model; bits a weight count everything, scales included. Compressed models are packed: what is measured is
the file, run on integer kernels, with the inputs of every product rounded to int8.</p>
<table>${row("th", heads)}${result.rows.map((r) => row("td", cells(r))).join("\n")}</table>
${pictures.join("\n")}
<h2>A sample of the float model</h2>
<pre>${escape(result.sample)}</pre>
</html>
`;
}
