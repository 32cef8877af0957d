/** What the lines of an experiment come to: means by cell, and what became of its claims. */

import type { Claim, Column, Experiment, Measures, Picture } from "./experiment.ts";
import type { Line } from "./store.ts";

/** A mean over seeds, with its standard error: 0 where nothing is drawn, null of a single draw. */
export interface Mean {
  readonly mean: number;
  readonly error: number | null;
}

export interface Row {
  readonly cell: string;
  readonly labels: Readonly<Record<string, string | number>>;
  /** How many seeds measured it. */
  readonly seeds: number;
  readonly means: Readonly<Record<string, Mean>>;
}

/** "not shown" also where the cells of a claim were not measured, or by one draw alone. */
export type Verdict = "shown" | "not shown" | "refuted";

export interface Judgement {
  readonly says: string;
  readonly verdict: Verdict;
  /** The mean difference; null where it was not measured. */
  readonly difference: Mean | null;
  readonly seeds: number;
  readonly below?: number;
  readonly above?: number;
  readonly as: Column;
}

/** All that NAME.md and NAME.svg are written from: the contents of NAME.json. */
export interface Results {
  readonly name: string;
  readonly about: string;
  readonly text: string;
  readonly columns: Readonly<Record<string, Column>>;
  readonly picture: Picture;
  readonly rows: readonly Row[];
  readonly claims: readonly Judgement[];
  readonly seconds: number;
  readonly machines: readonly string[];
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** The mean of draws; `exact` says that nothing was drawn. */
export function meanOf(numbers: readonly number[], exact = false): Mean {
  const n = numbers.length;
  const mean = sum(numbers) / n;
  if (exact || n === 1) return { mean, error: exact ? 0 : null };
  const variance = sum(numbers.map((x) => (x - mean) ** 2)) / (n - 1);
  return { mean, error: Math.sqrt(variance / n) };
}

/** Two-sided 95 % quantiles of Student's t by degrees of freedom, from 1. */
const quantiles = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/** Beyond the table by two terms of the expansion in 1/df (Abramowitz and Stegun, 26.7.5), good to three digits there. */
export const studentT = (df: number): number =>
  quantiles[df - 1] ?? 1.96 + (1.96 ** 3 + 1.96) / (4 * df) + 271 / (96 * df ** 2);

/** A claim holds where the 95 % interval of its difference lies on its side, and is refuted where it lies on the other. */
export function verdictOf({ mean, error }: Mean, seeds: number, { below, above }: Claim): Verdict {
  if (error === null) return "not shown";
  const room = error === 0 ? 0 : error * studentT(seeds - 1);
  const [low, high] = [mean - room, mean + room];
  const holds = (below === undefined || high < below) && (above === undefined || low > above);
  const fails = (below !== undefined && low >= below) || (above !== undefined && high <= above);
  if (holds) return "shown";
  return fails ? "refuted" : "not shown";
}

/** A claim asks for a cell that no line tells of. */
class NotMeasured extends Error {}

/** What a claim is judged by: how columns are written, lines by cell, and the cells that several seeds measure. */
interface Evidence {
  readonly columns: Experiment["columns"];
  readonly lines: ReadonlyMap<string, readonly Line[]>;
  readonly drawn: ReadonlySet<string>;
}

/** The differences by seed, as far as there are lines; `exact` where nothing that they are of is drawn. */
function differencesOf(claim: Claim, { lines, drawn }: Evidence): { numbers: number[]; exact: boolean } {
  const numbers: number[] = [];
  for (let seed = 1; ; seed++) {
    let exact = true;
    const at = (cell: string): Measures => {
      exact &&= !drawn.has(cell);
      const own = drawn.has(cell) ? seed : 1;
      const line = lines.get(cell)?.find((each) => each.seed === own);
      if (line) return line.measures;
      throw new NotMeasured(cell);
    };
    try {
      numbers.push(claim.difference(at));
    } catch (error) {
      if (error instanceof NotMeasured) return { numbers, exact: false };
      throw error;
    }
    if (exact) return { numbers, exact };
  }
}

function judge(claim: Claim, evidence: Evidence): Judgement {
  const { says, below, above, as } = claim;
  const { numbers, exact } = differencesOf(claim, evidence);
  const difference = numbers.length === 0 ? null : meanOf(numbers, exact);
  const verdict = difference ? verdictOf(difference, numbers.length, claim) : "not shown";
  const column = typeof as === "string" ? evidence.columns[as] : as;
  return { says, verdict, difference, seeds: numbers.length, below, above, as: column };
}

/** The results of lines, in the order of the cells. */
export function resultsOf(
  name: string,
  experiment: Experiment,
  quick: boolean,
  lines: readonly Line[],
): Results {
  const cells = experiment.cells({ quick });
  const linesOf = new Map(cells.map((cell) => [cell.name, lines.filter((line) => line.cell === cell.name)]));
  const drawn = new Set(cells.filter(({ seeds }) => seeds !== 1).map((cell) => cell.name));
  const rows = cells.flatMap(({ name: cell, labels }): Row[] => {
    const own = linesOf.get(cell)!;
    if (own.length === 0) return [];
    const means = Object.keys(experiment.columns)
      .filter((column) => own.every(({ measures }) => column in measures))
      .map((column) => [
        column,
        meanOf(
          own.map(({ measures }) => measures[column]),
          !drawn.has(cell),
        ),
      ]);
    return [{ cell, labels, seeds: own.length, means: Object.fromEntries(means) }];
  });
  const { about, text, columns, picture } = experiment;
  return {
    name,
    about,
    text,
    columns,
    picture,
    rows,
    claims: experiment.claims.map((claim) => judge(claim, { columns, lines: linesOf, drawn })),
    seconds: Math.ceil(sum(lines.map(({ seconds }) => seconds))),
    machines: [...new Set(lines.map(({ machine }) => machine))].sort(),
  };
}
