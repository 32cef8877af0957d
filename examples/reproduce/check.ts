/** Mistakes in an experiment, which would show when hours of measuring are over, or never. */

import { Refusal } from "../run.ts";
import type { Cell, Claim, Experiment, Measures } from "./experiment.ts";

/** Throws a Refusal for an experiment whose cells, claims and columns do not belong together. */
export function checkExperiment(name: string, experiment: Experiment | undefined): asserts experiment {
  const refuse = (why: string): never => {
    throw new Refusal(`${name}: ${why}`);
  };
  if (typeof experiment?.cells !== "function")
    return refuse("the file must export an experiment as its default");
  const { columns, picture, claims } = experiment;
  const [cells, quick] = [false, true].map((how) => namesOf(experiment.cells({ quick: how }), refuse));
  const twice = cells.find((cell, i) => cells.indexOf(cell) < i);
  if (twice !== undefined) refuse(`cells must have names of their own, got "${twice}" twice`);
  const odd = quick.find((cell) => !cells.includes(cell));
  if (odd !== undefined) refuse(`quick cells must be among the others, got "${odd}"`);
  if (!Object.hasOwn(columns, picture.y)) refuse(`the picture names no column, got "${picture.y}"`);
  for (const claim of claims) {
    const { says, as, below, above } = claim;
    if (typeof as === "string" && !Object.hasOwn(columns, as))
      refuse(`the claim "${says}" names no column, got "${as}"`);
    if (below === undefined && above === undefined) refuse(`the claim "${says}" needs a bound`);
    const { difference, asked } = tried(claim, Object.keys(columns));
    const unknown = asked.find((cell) => !cells.includes(cell));
    if (unknown !== undefined)
      refuse(`the claim "${says}" asks for a cell that there is not, got "${unknown}"`);
    if (!Number.isFinite(difference))
      refuse(`the difference of the claim "${says}" must be a number, got ${difference}`);
  }
}

/** The names of cells that read none but each other. */
function namesOf(cells: readonly Cell[], refuse: (why: string) => never): string[] {
  const names = cells.map((cell) => cell.name);
  const astray = cells.find(({ reads }) => reads && !names.includes(reads.name));
  if (astray) refuse(`cells must read others of the experiment, got "${astray.reads!.name}"`);
  return names;
}

/** What a claim makes of numbers that are all apart, and the cells that it asks for. */
function tried({ difference }: Claim, columns: readonly string[]): { difference: number; asked: string[] } {
  const asked: string[] = [];
  const at = (cell: string): Measures => {
    const first = asked.push(cell) ** 2;
    return Object.fromEntries(columns.map((column, i) => [column, first + i / columns.length]));
  };
  return { difference: difference(at), asked };
}
