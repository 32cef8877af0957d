/** Runs the modules named on the command line, one after another, and holds what they print to what they say of it. */

import { inspect } from "node:util";
import { agrees, plain } from "./agrees.ts";

const problems: string[] = [];
const heard = new Set<string>();

const shown = (value: unknown): string =>
  typeof value === "string" ? value : inspect(value, { breakLength: Infinity, depth: 5 });

/** The comment says what a line prints. */
const says =
  (place: string, said: string) =>
  (...given: unknown[]) => {
    heard.add(place);
    const printed = given.map(shown).join(" ");
    if (!agrees(printed, said)) problems.push(`${place}: prints ${plain(printed)}, says ${said}`);
  };

Object.assign(globalThis, { says });
const list = JSON.parse(process.argv[2]) as { name: string; file: string; places: readonly string[] }[];
for (const { name, file, places } of list) {
  try {
    await import(file);
    for (const place of places) if (!heard.has(place)) problems.push(`${place}: is not reached`);
  } catch (error) {
    problems.push(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
process.stdout.write(`\n${JSON.stringify(problems)}\n`);
process.exit(0);
