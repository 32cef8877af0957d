/**
 * What an experiment is: cells that are measured, some of them by several seeds, and claims about what they give. One file
 * of `experiments` holds one, as its default export:
 *
 *   export default {
 *     about: "Rounding to int8 costs nothing.", text: "…", version: 1, seeds: 3, needsData: true,
 *     columns: { loss: { title: "loss", digits: 3 } },
 *     cells: ({ quick }) => [{ name: "int8", labels: { bits: 8 }, run: async ({ seed }) => ({ loss: await … }) }],
 *     claims: [{ says: "…", difference: (at) => at("int8").loss - at("float").loss, below: 0.01, as: "loss" }],
 *   } satisfies Experiment;
 */

/** What a cell gives: finite numbers by the names of the experiment's columns. */
export type Measures = Readonly<Record<string, number>>;

export interface Setting {
  /** 1, 2, … The default generator begins at it. */
  readonly seed: number;
  /** A tiny version of seconds, to see that everything works. */
  readonly quick: boolean;
  /** Aborted by Ctrl-C: what `fit` asks, and long loops after they let it through by an `await setImmediate()`. */
  readonly signal: AbortSignal;
  /** Where a long cell keeps its state: `fit` by { checkpoint: { path, resume: true } }. Deleted when it is done. */
  readonly checkpoint: string;
}

export interface Cell {
  /** By which claims find it and its results are kept. */
  readonly name: string;
  /** What the table says of it, by the heads of its first columns; numbers are axes of pictures too. */
  readonly labels: Readonly<Record<string, string | number>>;
  /** 1 where nothing is drawn; default: those of the experiment. */
  readonly seeds?: 1;
  /** Raised when it would give other numbers; default: that of the experiment. */
  readonly version?: number;
  /** The cell whose files it reads: that is measured first, by the same seed. */
  readonly reads?: Cell;
  run(setting: Setting): Promise<Measures>;
}

/** How the numbers of a column are written. */
export interface Column {
  readonly title: string;
  readonly digits: number;
  /** Numbers are shares, and written as percentages. */
  readonly percent?: boolean;
}

/** A statement that holds where a difference, by the seeds of its cells, lies below or above a number. */
export interface Claim {
  readonly says: string;
  /** The difference at one seed. `at` gives what a cell measured, of the same seed where the cell has several. */
  difference(at: (cell: string) => Measures): number;
  readonly below?: number;
  readonly above?: number;
  /** How the difference is written: the name of a column, or its own. */
  readonly as: string | Column;
}

/** A column over a label: lines where that is a number, else points. Cells without the label are dashed lines. */
export interface Picture {
  /** A label. */
  readonly x: string;
  /** A column. */
  readonly y: string;
  /** The label whose values are told apart by colour. */
  readonly series: string;
  /** The series that are drawn; default: all. Cells without the label always are. */
  readonly only?: readonly string[];
  readonly log?: boolean;
  /** Where the axis of the column ends: what lies above leaves the picture. Default: with the largest number. */
  readonly to?: number;
}

export interface Experiment {
  /** In one sentence. */
  readonly about: string;
  /** What is measured, how, and on what, in Markdown. */
  readonly text: string;
  /** Raised when all cells would give other numbers. */
  readonly version: number;
  readonly seeds: number;
  /** Whether it reads the folder of BITGRAD_DATA. */
  readonly needsData: boolean;
  readonly columns: Readonly<Record<string, Column>>;
  readonly picture: Picture;
  cells(how: { quick: boolean }): readonly Cell[];
  readonly claims: readonly Claim[];
}
