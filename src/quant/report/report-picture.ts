/** A report of quantization as a picture: bars of SQNR in SVG, in the ink of the page that shows it. */

import { brief } from "../../printing.ts";
import { nameOf } from "../labels.ts";
import type { Distortion } from "./distortion.ts";

interface Row {
  readonly layer: string;
  readonly alone: Distortion;
  readonly accumulated: Distortion;
}

const width = 640;
const rowHeight = 34;
const barHeight = 11;
const top = 26;
const accents = { alone: "#4c8fd6", accumulated: "#e8802f" } as const;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const text = (x: number, y: number, words: string, anchor = "start"): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`;
const bar = (x: number, y: number, size: number, fill: string): string =>
  `<rect x="${x}" y="${y}" width="${size.toFixed(1)}" height="${barHeight}" fill="${fill}"/>`;

const decibels = (x: number): string => `${Number.isFinite(x) ? x.toFixed(1) : brief(x)} dB`;

/** Two bars a layer, from 0 dB: the layer alone, and accumulated. One without any error takes the whole width. */
export function reportPicture(rows: readonly Row[]): string {
  const names = rows
    .map(({ layer }) => nameOf(layer))
    .map((name) => (name.length > 32 ? `…${name.slice(-31)}` : name));
  // Letters of the font are about this wide.
  const left = 12 + 7 * Math.max(...names.map(({ length }) => length));
  const room = width - left - 76;
  const shown = rows
    .flatMap(({ alone, accumulated }) => [alone.sqnr, accumulated.sqnr])
    .filter(Number.isFinite);
  const most = Math.max(1, ...shown);
  const lengthOf = (sqnr: number): number => (room * Math.min(most, Math.max(0, sqnr))) / most;
  const parts = rows.flatMap((row, i) => {
    const y = top + i * rowHeight;
    return [
      text(left - 8, y + 15, names[i], "end"),
      ...(["alone", "accumulated"] as const).flatMap((kind, k) => {
        const { sqnr } = row[kind];
        const at = y + k * (barHeight + 2);
        const size = lengthOf(sqnr);
        return [bar(left, at, size, accents[kind]), text(left + size + 4, at + barHeight, decibels(sqnr))];
      }),
    ];
  });
  const height = top + rows.length * rowHeight;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    '  role="img" aria-label="SQNR of each layer in dB" font-family="system-ui, sans-serif" font-size="11"',
    '  fill="currentColor">',
    bar(left, 6, 18, accents.alone),
    text(left + 22, 14, "layer alone"),
    bar(left + 110, 6, 18, accents.accumulated),
    text(left + 132, 14, "accumulated"),
    ...parts,
    "</svg>",
  ].join("\n");
}
