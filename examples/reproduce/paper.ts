/** NAME.md and NAME.svg: what the results of an experiment look like. Both are made of NAME.json alone. */

import { accents, draw } from "../drawing.ts";
import { counted, duration } from "../words.ts";
import type { Column } from "./experiment.ts";
import type { Judgement, Mean, Results, Row } from "./results.ts";

/** A number as its column writes it. */
export function written(value: number, { digits, percent = false }: Column): string {
  return percent ? `${(100 * value).toFixed(digits)} %` : value.toFixed(digits);
}

/** A mean with its standard error, where that is seen in as many digits. */
function withError({ mean, error }: Mean, column: Column): string {
  const seen = error !== null && Number.parseFloat(written(error, column)) > 0;
  return seen ? `${written(mean, column)} ± ${written(error, column)}` : written(mean, column);
}

/** The heads of a table: labels, columns, and how many seeds. */
export function tableOf({ rows, columns }: Results): { heads: string[]; cells: string[][]; left: number } {
  const labels = [...new Set(rows.flatMap((row) => Object.keys(row.labels)))];
  const shown = Object.entries(columns);
  const cellsOf = ({ labels: own, means, seeds }: Row): string[] => [
    ...labels.map((label) => String(own[label] ?? "")),
    ...shown.map(([name, column]) => (means[name] ? withError(means[name], column) : "")),
    String(seeds),
  ];
  const heads = [...labels, ...shown.map(([, { title }]) => title), "seeds"];
  return { heads, cells: rows.map(cellsOf), left: labels.length };
}

/** What was found of a claim: "0.31 % ± 0.02 %, to be below 0.50 %; 3 seeds". */
export function finding({ difference, seeds, below, above, as }: Judgement): string {
  if (!difference) return "not measured";
  const bounds = [
    ...(above === undefined ? [] : [`above ${written(above, as)}`]),
    ...(below === undefined ? [] : [`below ${written(below, as)}`]),
  ];
  const of = difference.error !== null && seeds === 1 ? "nothing drawn" : counted(seeds, "seed");
  return `${as.title} ${withError(difference, as)}, to be ${bounds.join(" and ")}; ${of}`;
}

/** A line of a table, which bars and ends of lines in its cells would break. */
const line = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll(/\s+/g, " ").replaceAll("|", "\\|")).join(" | ")} |`;

const width = 125;

/** Where a line may end: before a word, but not before a sign that Markdown would take for a list, a heading or a quote. */
const gap = /\s+(?=(?!>|\d+[.)](?:\s|$))\S*[\p{L}\p{N}])/u;

/** A paragraph in lines of at most `width`; `indent` is that of all but the first. */
function filled(text: string, indent = ""): string {
  const [first, ...words] = text.split(gap);
  const lines = [first];
  for (const word of words) {
    const longer = `${lines.at(-1)} ${word}`;
    if (longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(indent + word);
  }
  return lines.join("\n");
}

const paragraphs = (text: string): string =>
  text
    .split("\n\n")
    .map((each) => filled(each))
    .join("\n\n");

const claimsOf = (claims: readonly Judgement[]): string => `
## Claims

${claims.map((claim) => filled(`- **${claim.verdict}**: ${claim.says} (${finding(claim)}).`, "  ")).join("\n")}

${filled(`A claim is shown where the 95 % interval of its difference, by Student's t over the seeds, lies within its bounds, and
refuted where it lies outside.`)}
`;

/** NAME.md. */
export function markdown(results: Results): string {
  const { name, about, text, claims, seconds, machines } = results;
  const { heads, cells, left } = tableOf(results);
  const rule = heads.map((_, i) => (i < left ? "---" : "---:"));
  const again = `\`npm run reproduce -- ${name} --fresh\` measures all of it anew, in ${duration(seconds)} of one thread on`;
  return `# ${name}

${filled(about)}

${paragraphs(text)}

![${name}](${name}.svg)

${[heads, rule, ...cells].map(line).join("\n")}

Behind ± is the standard error over seeds.
${claims.length > 0 ? claimsOf(claims) : ""}
## Again

${filled(`${again} ${machines.join("; ")}.`)}
`;
}

/** NAME.svg. */
export function picture({
  rows,
  columns,
  picture: { x, y, series, only, log = false, to },
}: Results): Promise<string> {
  const measured = rows.filter(({ means }) => means[y]);
  const points = measured
    .filter(({ labels }) => labels[x] !== undefined)
    .filter(({ labels }) => only?.includes(String(labels[series])) ?? true)
    .map(({ labels, means: { [y]: mean } }) => ({
      x: labels[x],
      y: mean.mean,
      low: mean.mean - (mean.error ?? 0),
      high: mean.mean + (mean.error ?? 0),
      series: String(labels[series]),
    }));
  const rules = measured
    .filter(({ labels }) => labels[x] === undefined)
    .map(({ labels, means: { [y]: mean } }) => ({ y: mean.mean, series: String(labels[series]) }));
  const numeric = points.every((point) => typeof point.x === "number");
  const least = 0.97 * Math.min(...[...points, ...rules].map((point) => point.y));
  const ends = to === undefined ? {} : { nice: false, domainMin: least, domainMax: to };
  const positions = [...new Set(points.map((point) => point.x))];
  const names = [...new Set(points.map((point) => point.series))];
  const { title, percent = false } = columns[y];
  const axes = {
    x: {
      field: "x",
      title: x,
      ...(numeric
        ? {
            type: "quantitative",
            scale: { nice: false, padding: 16, zero: false },
            axis: { values: positions, grid: false },
          }
        : { type: "nominal", sort: null, axis: { labelAngle: 0, labelLimit: 500 } }),
    },
    y: {
      field: "y",
      title: null,
      type: "quantitative",
      scale: { ...(log ? { type: "log" } : { zero: false }), ...ends },
      axis: percent ? { format: "~%" } : {},
    },
    color: {
      field: "series",
      type: "nominal",
      sort: null,
      scale: { domain: names, range: accents },
      legend: { columns: 2, labelLimit: 500 },
    },
  };
  const beside = numeric ? {} : { xOffset: { field: "series", type: "nominal", sort: null } };
  const bars = {
    x: axes.x,
    ...beside,
    color: axes.color,
    y: { ...axes.y, field: "low" },
    y2: { field: "high" },
  };
  return draw(
    {
      title: { text: title, anchor: "start", fontSize: 13, fontWeight: "normal" },
      width: 640,
      height: 340,
      layer: [
        ...(numeric
          ? [{ data: { values: points }, mark: { type: "line", strokeWidth: 2, clip: true }, encoding: axes }]
          : []),
        { data: { values: points }, mark: { type: "rule", strokeWidth: 2, clip: true }, encoding: bars },
        {
          data: { values: points },
          mark: { type: "point", filled: true, size: 55, opacity: 1, clip: true },
          encoding: { ...axes, ...beside },
        },
        {
          data: { values: rules },
          mark: { type: "rule", strokeDash: [4, 4], opacity: 0.6 },
          encoding: { y: axes.y },
        },
        {
          data: { values: rules },
          mark: { type: "text", align: "right", dy: -8, x: "width" },
          encoding: { y: axes.y, text: { field: "series" } },
        },
      ],
    },
    { alone: true },
  );
}
