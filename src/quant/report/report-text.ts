/** A report of quantization as a table and as plain data. */

import { brief, grouped, tableOf } from "../../printing.ts";
import { nameOf } from "../labels.ts";
import type { Distortion } from "./distortion.ts";
import type { ReportedOutput } from "./end-to-end.ts";

interface Row {
  readonly layer: string;
  readonly bits: number;
  readonly inputBits: number | null;
  readonly bytes: number;
  readonly kl: number | null;
  readonly alone: Distortion;
  readonly accumulated: Distortion;
}

interface Report {
  readonly layers: readonly Row[];
  readonly output: ReportedOutput;
  readonly bytes: number;
  readonly floatBytes: number;
}

const decibels = (x: number): string => (Number.isFinite(x) ? x.toFixed(1) : brief(x));
const short = (x: number): string => brief(Number(x.toPrecision(3)));
const cells = ({ sqnr, cosine, maxError }: Distortion): string[] => [
  decibels(sqnr),
  cosine.toFixed(4),
  short(maxError),
];

/** A row per layer: what it does alone and with all others, the signal over the noise, the cosine and the largest error. */
export function reportTable({ layers, output, bytes, floatBytes }: Report): string {
  const columns = ["cosine", "error"];
  const head = ["layer", "bits", "bytes", "KL", "alone dB", ...columns, "all dB", ...columns];
  const rows = layers.map((row) => [
    nameOf(row.layer),
    `W${row.bits}A${row.inputBits ?? 32}`,
    grouped(row.bytes),
    row.kl === null ? "" : short(row.kl),
    ...cells(row.alone),
    ...cells(row.accumulated),
  ]);
  const { distortion, kl, agreement, crossEntropy } = output;
  const foot = ["output", "", grouped(bytes), kl ? short(kl.mean) : "", "", "", "", ...cells(distortion)];
  const notes = [`${grouped(bytes)} bytes of weights, ${grouped(floatBytes)} as float32`];
  if (kl) notes.push(`KL per row: mean ${brief(kl.mean)}, 99th percentile ${brief(kl.p99)} nats`);
  if (agreement !== null) notes.push(`same best class: ${(100 * agreement).toFixed(2)} %`);
  if (crossEntropy) {
    const { float, quantized, change } = crossEntropy;
    notes.push(`cross entropy: ${brief(float)} to ${brief(quantized)} nats, a change of ${brief(change)}`);
  }
  return [tableOf(head, rows, foot, 2), ...notes].join("\n");
}

/** Data with words for numbers that JSON lacks. */
function plain(value: unknown): unknown {
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

export const reportJson = (report: Report): object => plain(report) as object;
