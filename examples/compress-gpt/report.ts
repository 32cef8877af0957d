/** The report: one HTML file that needs nothing else, neither a script nor the network. */

import type { Machine } from "../machine.ts";
import { counted, duration, grouped } from "../words.ts";
import type { JobResult, Row, Sizes } from "./job.ts";
import { curves, lossOverBytes, speeds } from "./pictures.ts";

/** What was run, on what, and where. */
export interface About {
  /** The name of the text. */
  text: string;
  bytes: number;
  sha256: string;
  steps: number;
  seed: number;
  sizes: Sizes;
  machine: Machine;
  seconds: number;
}

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

export const heads = ["model", "bits/weight", "bytes", "validation loss", "perplexity", "tokens/s"] as const;

/** Table cells of a row, as text. */
export const cells = (row: Row): string[] => [
  row.name,
  row.bitsPerWeight.toFixed(2),
  grouped(row.bytes),
  row.loss.toFixed(3),
  row.perplexity.toFixed(2),
  row.tokensPerSecond.toFixed(0),
];

const tableRow = (tag: "th" | "td", list: readonly string[]): string =>
  `<tr>${list.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;

const sample = (prompt: string, { name, bytes, loss, sample }: Row): string => `<section>
<h3>${escape(name)}</h3>
<p>${grouped(bytes)} bytes, loss ${loss.toFixed(3)}</p>
<pre><b>${escape(prompt)}</b>${escape(sample)}</pre>
</section>`;

function facts({ text, bytes, sha256, steps, seed, sizes, machine, seconds }: About): string {
  const { dim, layers, heads, context, batch } = sizes;
  const { cpu, platform, node, bitgrad, kernels, threads } = machine;
  const list: [string, string][] = [
    ["Text", `${text}, ${grouped(bytes)} bytes`],
    ["SHA-256", sha256],
    ["Seed", String(seed)],
    ["Steps", `${grouped(steps)}, and ${grouped(Math.ceil(steps / 3))} of the fine-tune`],
    [
      "Sizes",
      `${counted(layers, "layer")}, width ${dim}, ${counted(heads, "head")}, a context of ${context} bytes, batches of ${batch}`,
    ],
    ["Machine", `${cpu}, ${platform}`],
    ["Software", `bitgrad ${bitgrad}, Node ${node}`],
    ["Kernels", `${kernels}, ${counted(threads, "thread")}`],
    ["Time", duration(seconds)],
  ];
  return `<dl>${list.map(([name, value]) => `<dt>${name}</dt><dd>${escape(value)}</dd>`).join("\n")}</dl>`;
}

const style = `
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6370; --page: #fff; --line: #dcdfe4; --card: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #a0a7b4; --page: #16181c; --line: #363b44; --card: #20242a; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem;
  margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin: 2.5rem 0 .5rem; } h3 { margin: 0; font-size: 1rem; }
figure { margin: 2rem 0; } figcaption { font-weight: 600; margin-bottom: .5rem; }
svg { display: block; max-width: 100%; height: auto; }
.narrow { display: none; }
@media (max-width: 58rem) { .wide { display: none; } .narrow { display: block; } .narrow svg { width: 30rem; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: var(--page); }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
section { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; min-width: 0; }
section p { margin: 0; color: var(--soft); font-size: .85rem; }
pre { font: .8rem/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: .6rem 0 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
`;

export async function writeReport(
  result: JobResult,
  about: About,
  title = "A GPT, compressed",
): Promise<string> {
  const { rows, prompt, parameters, unigram } = result;
  const [first, second, third] = await Promise.all([lossOverBytes(rows), curves(result), speeds(rows)]);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escape(title)}</h1>
<p>A GPT of ${grouped(parameters)} parameters, trained on the bytes of ${escape(about.text)}, then stored in fewer and fewer
bits. Bits a weight count everything, scales included; the tables of tokens and positions keep 8 bits in every compressed
model. Compressed models are packed: what is measured is the file, run on integer kernels, with the inputs of every product
rounded to int8.</p>
${first}
<div class="scroll"><table>
${tableRow("th", heads)}
${rows.map((row) => tableRow("td", cells(row))).join("\n")}
</table></div>
${second}
<p>A model that knows only how often each byte occurs would lose ${unigram.toFixed(3)} nats a byte, the dashed line.</p>
${third}
<h2>What each model writes</h2>
<p>All go on from the same prompt, in bold, by the same draws.</p>
<div class="samples">
${rows.map((row) => sample(prompt, row)).join("\n")}
</div>
<h2>This run</h2>
${facts(about)}
</body>
</html>
`;
}
