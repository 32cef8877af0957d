/** The tables of what GPUs do, from bench/results/<processor>/gpu-<adapter>.json. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Result, type Results, resultsFolder } from "./results.ts";

/** What one library does in a row. */
export interface GpuFigure {
  readonly name: string;
  /** A run: the median; null where it was left out. */
  readonly seconds: number | null;
  /** How many times as fast ours is, over the rounds; null where either was left out. */
  readonly ratio: number | null;
  readonly interval: readonly [low: number, high: number] | null;
  /** Why it was left out. */
  readonly out: string | null;
}

export interface GpuRow extends Result {
  readonly unit: string;
  /** Units that a run does. */
  readonly work: number;
  readonly sides: readonly GpuFigure[];
  /** The sides that ours is held to: to the quickest of them. */
  readonly beside: readonly string[];
  readonly required: number | null;
  readonly reach: number | null;
}

export interface GpuMachine {
  readonly adapter: string;
  /** Whether software stands for the GPU. */
  readonly software: boolean;
}

export interface GpuResults extends Results<GpuRow> {
  readonly machine: Results["machine"] & GpuMachine;
}

/** "SwiftShader Device (Subzero)" → "gpu-swiftshader-device-subzero". */
export const fileOf = (adapter: string): string =>
  `gpu-${adapter
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")}`;

export function readGpuResults(folder = resultsFolder): GpuResults[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
    .flatMap((processor) =>
      readdirSync(join(folder, processor))
        .filter((name) => name.startsWith("gpu-"))
        .sort()
        .map((name) => JSON.parse(readFileSync(join(folder, processor, name), "utf8")) as GpuResults),
    );
}

/** An adapter, so that software cannot be taken for a GPU. */
export const adapterText = ({ adapter, software }: GpuMachine): string =>
  software ? `software adapter (${adapter}): says nothing about GPUs` : adapter;

const round = (value: number): string => Number(value.toPrecision(3)).toLocaleString("en");

/** How much of its unit a row does in a second, or "–". */
export const speed = (
  { work, unit }: Pick<GpuRow, "work" | "unit">,
  figure: GpuFigure | undefined,
): string => (figure?.seconds == null ? "–" : `${round(work / figure.seconds)} ${unit}`);

/** What ours is held to: the quickest of those, if both ran. */
export const held = ({ sides, beside }: GpuRow): GpuFigure | undefined =>
  sides
    .filter(({ name, ratio }) => beside.includes(name) && ratio !== null)
    .toSorted((a, b) => a.ratio! - b.ratio!)[0];

const ratioText = ({ ratio, interval }: GpuFigure): string =>
  `${ratio!.toFixed(2)} (${interval!.map((x) => x.toFixed(2)).join("–")})`;

const engines = ["webgpu", "gpu.js", "cpu"];

/** Software meets nothing: bounds are for GPUs. */
function line(row: GpuRow, software: boolean): string {
  const { sides, required, reach } = row;
  const of = (name: string) => sides.find((side) => side.name === name);
  const others = sides.filter(({ name, seconds }) => !engines.includes(name) && seconds !== null);
  const to = held(row);
  const met = (bound: number | null): boolean => bound !== null && to!.ratio! >= bound;
  const word =
    software || !to || required === null ? "–" : met(reach) ? "both" : met(required) ? "yes" : "no";
  return `| ${[
    row.name,
    ...engines.map((name) => speed(row, of(name))),
    others.map((side) => `${side.name} ${speed(row, side)}`).join(", ") || "–",
    to ? `${to.name} ${ratioText(to)}` : "–",
    required ?? "–",
    reach ?? "–",
    word,
  ].join(" | ")} |`;
}

function table({ machine, results }: GpuResults): string {
  const text = adapterText(machine);
  return [
    `${text[0].toUpperCase()}${text.slice(1)}. ${machine.cpu ?? "unknown processor"}, Node ${machine.node}.`,
    "",
    "| workload | ours, webgpu | ours, gpu.js | ours, CPU | others | times as fast as | required | to reach for | met |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...results.map((row) => line(row, machine.software)),
  ].join("\n");
}

/** A table for each adapter. */
export const renderGpu = (results: readonly GpuResults[]): string =>
  results.length === 0
    ? "Not measured yet: `npm run bench:gpu -- --write`."
    : results.map(table).join("\n\n");
