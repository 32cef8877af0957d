/** Runs an example by its number or name: `npm run example -- 03`, `npm run example -- 03 --quick`. */

import { readdirSync } from "node:fs";

const [asked = "", ...rest] = process.argv.slice(2);
const names = readdirSync(import.meta.dirname).filter((name) => /^\d\d-/.test(name));
const found = names.filter((name) => asked !== "" && (name.startsWith(asked) || name.endsWith(asked)));
if (found.length === 1) {
  const main = new URL(`./${found[0]}/main.ts`, import.meta.url);
  process.argv = [process.argv[0], main.pathname, ...rest];
  await import(main.href);
} else {
  console.error(`which example? npm run example -- NUMBER\n${names.sort().join("\n")}`);
  process.exitCode = 1;
}
