/** Measures one cell by one seed. */

import { manualSeed } from "bitgrad";
import { machine } from "../machine.ts";
import type { Experiment, Measures } from "./experiment.ts";
import type { Line, Task } from "./store.ts";

/** What a worker is told. */
export interface Order {
  readonly task: Task;
  readonly quick: boolean;
  readonly checkpoint: string;
}

/** The line of a task. Throws where the cell does, and for numbers that are not finite. */
export async function measure(
  experiment: Experiment,
  { task, quick, checkpoint }: Order,
  signal: AbortSignal,
): Promise<Line> {
  const { cell: name, seed, version } = task;
  const cell = experiment.cells({ quick }).find((each) => each.name === name)!;
  const began = performance.now();
  manualSeed(seed);
  const measures: Measures = await cell.run({ seed, quick, signal, checkpoint });
  const seconds = Number(((performance.now() - began) / 1000).toFixed(2));
  if (Object.keys(Object(measures)).length === 0)
    throw new Error(`${name}: a cell must give numbers, got ${JSON.stringify(measures)}`);
  for (const [column, value] of Object.entries(measures)) {
    if (!Object.hasOwn(experiment.columns, column))
      throw new Error(`${name}: there is no column of its number, got ${column}`);
    if (!Number.isFinite(value)) throw new Error(`${name}: ${column} must be finite, got ${value}`);
  }
  const { cpu, kernels, node } = machine();
  return { cell: name, seed, version, measures, seconds, machine: `${cpu}, ${kernels}, Node ${node}` };
}
