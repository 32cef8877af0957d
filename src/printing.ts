/** Numbers and tables as text. */

import type { DType, TypedArray } from "./dtype.ts";
import { show } from "./errors.ts";
import { type Shape, sizeOf } from "./shape.ts";

/** What stands between the parentheses of `tensor(…)`: at most 1000 numbers, the dtype, and the shape where short axes are cut. */
export function printed(data: TypedArray, shape: Shape, dtype: DType): string {
  const counts = shape.map((n) => (n > 8 ? 6 : n));
  let shown = counts.reduce((product, n) => product * Math.max(n, 1), 1);
  const isCut = shown > 1000;
  for (const most of [2, 1])
    for (let axis = 0; axis < shape.length && shown > 1000; axis++)
      if (counts[axis] > most) {
        shown *= most / counts[axis];
        counts[axis] = most;
      }
  const text = (i: number) => (dtype === "bool" ? String(data[i] !== 0) : formatNumber(data[i]));
  const build = (axis: number, offset: number, stride: number): string => {
    if (axis === shape.length) return text(offset);
    const [n, count] = [shape[axis], counts[axis]];
    const step = n === 0 ? 0 : stride / n;
    const head = count === n ? n : Math.ceil(count / 2);
    const parts: string[] = [];
    const add = (i: number) => parts.push(build(axis + 1, offset + i * step, step));
    for (let i = 0; i < head; i++) add(i);
    if (head < n) parts.push("…");
    for (let i = n - (count - head); i < n; i++) add(i);
    return `[${parts.join(axis === shape.length - 1 ? ", " : `,\n${" ".repeat(axis + 8)}`)}]`;
  };
  return `${build(0, 0, sizeOf(shape))}, ${dtype}${isCut ? `, shape ${show(shape)}` : ""}`;
}

function formatNumber(x: number): string {
  if (Number.isInteger(x) || !Number.isFinite(x)) return String(x);
  const size = Math.abs(x);
  return size >= 1e5 || size < 1e-4 ? x.toExponential(4) : String(Number(x.toFixed(4)));
}

/** 1234567 as 1,234,567. */
export const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** A number to about four digits. */
export function brief(x: number): string {
  if (!Number.isFinite(x)) return String(x).replace("Infinity", "∞");
  const size = Math.abs(x);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? x.toExponential(2) : String(Number(x.toPrecision(4)));
}

type Cells = readonly string[];

/**
 * A head, rows, and where there is one a foot, under one another with rules between; the first `texts` columns begin at the
 * left, the others, numbers, end at the right.
 */
export function tableOf(head: Cells, rows: readonly Cells[], foot: Cells | null, texts: number): string {
  const lines = [head, ...rows, ...(foot ? [foot] : [])];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const text = lines.map((line) =>
    line
      .map((cell, i) => (i < texts ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd(),
  );
  const rule = "-".repeat(Math.max(...text.map((line) => line.length)));
  const body = text.slice(1, 1 + rows.length);
  return [text[0], rule, ...body, ...(foot ? [rule, text[text.length - 1]] : [])].join("\n");
}
