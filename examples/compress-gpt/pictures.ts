/** The pictures of the report, as SVG: of two widths each, since letters that shrink with a picture cannot be read. */

import { accents, draw } from "../drawing.ts";
import type { JobResult, Row } from "./job.ts";
import { type Frame, placeLabels } from "./labels.ts";

/** Pixels across, for a page and for a phone. */
const widths = { wide: 900, narrow: 328 };
/** Of them left of the plot, for the axis. */
const margin = 56;

/** A picture of `of(width)` in both widths, of which the page shows one. */
async function figure(caption: string, of: (width: number) => object): Promise<string> {
  const [wide, narrow] = await Promise.all(Object.values(widths).map((width) => draw(of(width - margin))));
  return `<figure><figcaption>${caption}</figcaption>
<div class="wide">${wide}</div><div class="narrow">${narrow}</div></figure>`;
}

/** 1, 2 and 5 times the powers of ten in a range. */
const roundNumbers = (from: number, to: number): number[] =>
  [3, 4, 5, 6, 7, 8, 9]
    .flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power))
    .filter((value) => value >= from && value <= to);

/** Loss over bytes, both of what a file holds; names stand at the points. */
export const lossOverBytes = (rows: readonly Row[]): Promise<string> =>
  figure("Validation loss (nats a byte) over the size of the model", (width) => {
    const losses = rows.map((row) => row.loss);
    const sizes = rows.map((row) => row.bytes);
    const span = Math.max(...losses) - Math.min(...losses) || 1;
    const frame: Frame = {
      width,
      height: 340,
      x: [Math.min(...sizes) / 1.35, Math.max(...sizes) * 1.35],
      y: [Math.min(...losses) - 0.15 * span, Math.max(...losses) + 0.15 * span],
    };
    const x = (field: string) => ({
      field,
      type: "quantitative",
      title: "bytes",
      scale: { type: "log", domain: frame.x, nice: false },
      axis: { values: roundNumbers(...frame.x), format: "~s", grid: true },
    });
    const y = (field: string) => ({
      field,
      type: "quantitative",
      title: null,
      scale: { domain: frame.y, nice: false, zero: false },
    });
    const points = rows.map(({ name, bytes, loss }) => ({ name, x: bytes, y: loss }));
    return {
      width,
      height: frame.height,
      layer: [
        {
          data: { values: points },
          mark: { type: "point", filled: true, size: 90, color: accents[0], opacity: 1 },
          encoding: { x: x("x"), y: y("y") },
        },
        {
          data: { values: placeLabels(points, frame) },
          mark: { type: "text", align: "center", baseline: "middle" },
          encoding: { x: x("x"), y: y("y"), text: { field: "name" } },
        },
      ],
    };
  });

/** Training losses, averaged over stretches of 1 % of the longest so that the curves can be read. */
function curvePoints({ curves }: JobResult) {
  const width = Math.max(1, Math.floor(Math.max(...curves.map(({ losses }) => losses.length)) / 100));
  return curves.flatMap(({ name, losses }) => {
    return Array.from({ length: Math.floor(losses.length / width) }, (_, i) => {
      const part = losses.slice(i * width, (i + 1) * width);
      return { name, step: (i + 1) * width, loss: part.reduce((a, b) => a + b, 0) / part.length };
    });
  });
}

export const curves = (result: JobResult): Promise<string> =>
  figure("Training loss (nats a byte) by step", (width) => ({
    width,
    height: 280,
    layer: [
      {
        data: { values: curvePoints(result) },
        mark: { type: "line", strokeWidth: 2 },
        encoding: {
          x: { field: "step", type: "quantitative", title: "step", axis: { grid: false } },
          y: { field: "loss", type: "quantitative", title: null, scale: { zero: false } },
          color: { field: "name", type: "nominal", sort: null, scale: { range: accents.slice(0, 2) } },
        },
      },
      {
        data: { values: [{ entropy: result.unigram }] },
        mark: { type: "rule", strokeDash: [4, 4], color: "currentColor", opacity: 0.6 },
        encoding: { y: { field: "entropy", type: "quantitative" } },
      },
      {
        data: { values: [{ entropy: result.unigram }] },
        mark: { type: "text", align: "right", dy: -8, x: width, text: "entropy of single bytes" },
        encoding: { y: { field: "entropy", type: "quantitative" } },
      },
    ],
  }));

export const speeds = (rows: readonly Row[]): Promise<string> =>
  figure("Decoding (tokens a second)", (width) => ({
    // Names take the margin of two axes, numbers behind the bars what is left.
    width: width - 110,
    height: rows.length * 28,
    data: { values: rows.map((row) => ({ name: row.name, value: row.tokensPerSecond })) },
    encoding: {
      y: { field: "name", type: "nominal", sort: null, title: null, axis: { ticks: false, domain: false } },
      x: { field: "value", type: "quantitative", axis: null },
    },
    layer: [
      { mark: { type: "bar", color: accents[0] } },
      {
        mark: { type: "text", align: "left", dx: 4 },
        encoding: { text: { field: "value", type: "quantitative", format: ",.0f" } },
      },
    ],
  }));
