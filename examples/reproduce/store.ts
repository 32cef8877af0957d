/** The results of an experiment as they come in: a file of lines, one JSON object for each cell and seed. */

import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { Refusal } from "../run.ts";
import type { Cell, Experiment, Measures } from "./experiment.ts";

export interface Line {
  readonly cell: string;
  readonly seed: number;
  readonly version: number;
  readonly measures: Measures;
  readonly seconds: number;
  /** What measured it. */
  readonly machine: string;
}

/** A cell that is measured once, by one seed. */
export interface Task {
  readonly cell: string;
  readonly seed: number;
  readonly version: number;
  /** The task whose files it reads. */
  readonly reads?: Task;
}

export const keyOf = ({ cell, seed, version }: Task): string => JSON.stringify([cell, seed, version]);

const taskOf = (cell: Cell, seed: number, experiment: Experiment): Task => ({
  cell: cell.name,
  seed: Math.min(seed, cell.seeds ?? seed),
  version: cell.version ?? experiment.version,
  ...(cell.reads && { reads: taskOf(cell.reads, seed, experiment) }),
});

/** All tasks of an experiment, cell by cell. */
export const tasksOf = (experiment: Experiment, quick: boolean, seeds: number): Task[] =>
  experiment
    .cells({ quick })
    .flatMap((cell) =>
      Array.from({ length: cell.seeds ?? seeds }, (_, i) => taskOf(cell, i + 1, experiment)),
    );

function isLine(value: unknown): value is Line {
  const { cell, seed, version, measures, seconds, machine } = Object(value) as Partial<Line>;
  const numbers = Object.values(Object(measures) as Measures);
  return (
    typeof cell === "string" &&
    typeof machine === "string" &&
    [seed, version, seconds, ...numbers].every((number) => Number.isFinite(number)) &&
    numbers.length > 0
  );
}

function parsed(text: string): Line | null {
  try {
    const value: unknown = JSON.parse(text);
    return isLine(value) ? value : null;
  } catch {
    return null;
  }
}

/** Lines of a file, of which the last may be broken: the run was killed as it wrote. Throws a Refusal for another. */
export function readLines(path: string): { lines: Line[]; broken: string | null } {
  if (!existsSync(path)) return { lines: [], broken: null };
  const texts = readFileSync(path, "utf8").split("\n");
  while (texts.at(-1) === "") texts.pop();
  const lines: Line[] = [];
  for (const [i, text] of texts.entries()) {
    const line = parsed(text);
    if (line) lines.push(line);
    else if (i === texts.length - 1) return { lines, broken: text };
    else throw new Refusal(`${path} is damaged at line ${i + 1}; remove the line, or begin anew by --fresh`);
  }
  return { lines, broken: null };
}

const textOf = (lines: readonly Line[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

/** The file of lines. Of a task that two lines tell of the last one counts. */
export class Store {
  private readonly _lines: Map<string, Line>;
  readonly path: string;

  /** Drops a broken last line, and tells `say`; `fresh` drops all. */
  constructor(path: string, { fresh, say }: { fresh: boolean; say: (text: string) => void }) {
    this.path = path;
    if (fresh) rmSync(path, { force: true });
    const { lines, broken } = readLines(path);
    this._lines = new Map(lines.map((line) => [keyOf(line), line]));
    mkdirSync(dirname(path), { recursive: true });
    if (broken !== null) say(`${path}: the last line is broken and was dropped: ${broken.slice(0, 80)}`);
    // Whatever the last line was, the next one begins a line of its own.
    if (lines.length > 0 || broken !== null) this.write(lines);
  }

  get(task: Task): Line | undefined {
    return this._lines.get(keyOf(task));
  }

  /** Adds a line, at the end of the file. */
  add(line: Line): void {
    this._lines.set(keyOf(line), line);
    appendFileSync(this.path, textOf([line]));
  }

  /** The lines of an experiment's cells as they are now, in its order, by whatever seed. */
  of(experiment: Experiment, quick: boolean): Line[] {
    const lines = [...this._lines.values()].sort((a, b) => a.seed - b.seed);
    const isOf = (line: Line, { name, seeds, version = experiment.version }: Cell): boolean =>
      line.cell === name && line.version === version && line.seed <= (seeds ?? line.seed);
    return experiment.cells({ quick }).flatMap((cell) => lines.filter((line) => isOf(line, cell)));
  }

  /** Writes these lines alone. */
  write(lines: readonly Line[]): void {
    const draft = `${this.path}.part`;
    writeFileSync(draft, textOf(lines));
    renameSync(draft, this.path);
  }
}
