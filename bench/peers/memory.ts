/** Prints the peak memory of this process in MiB, after five steps of the Gpt in the library that is named. */

import { adapters } from "./libraries/index.ts";
import { gptProblem } from "./models.ts";

const library = await adapters[process.argv[2]]();
const side = (await library.sides.gptStep!(gptProblem()))!;
for (let step = 0; step < 5; step++) await side.run();
const losses = side.result();
if (!Array.from(losses).every(Number.isFinite)) throw new Error(`memory: losses are ${losses}`);
console.log(process.resourceUsage().maxRSS / 1024);
process.exit();
