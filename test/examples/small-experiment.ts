/** An experiment of milliseconds, whose cells tell in a file how often they ran. */

import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { rand } from "bitgrad";
import type { Cell, Experiment } from "../../examples/reproduce/experiment.ts";

/**
 * The environment tells workers too: a file of calls, and the name of a cell that fails, waits, gives NaN or nothing, ends
 * its process, or throws when it has answered, after SMALL_DELAY ms, while others take longer than that.
 */
const { SMALL_CALLS = "", SMALL_FAILS, SMALL_WAITS, SMALL_NAN, SMALL_NOTHING } = process.env;
const { SMALL_LATE, SMALL_ENDS } = process.env;
const delay = Number(process.env.SMALL_DELAY ?? 0);

const cellOf = (method: string, bits: number, seeds?: 1): Cell => ({
  name: `${method} ${bits}`,
  labels: { method, bits },
  ...(seeds ? { seeds } : {}),
  async run({ seed, signal, checkpoint }) {
    const name = `${method} ${bits}`;
    appendFileSync(SMALL_CALLS, `${name}, ${seed}${existsSync(checkpoint) ? ", goes on" : ""}\n`);
    if (SMALL_LATE === name) {
      globalThis.setTimeout(() => {
        throw new Error("too late");
      }, delay);
    } else if (SMALL_LATE) await setTimeout(4 * delay);
    if (SMALL_ENDS === name) process.exit(7);
    if (SMALL_FAILS === name) throw new Error("no such numbers");
    while (SMALL_WAITS === name && !signal.aborted) await setTimeout(5);
    if (signal.aborted) {
      writeFileSync(checkpoint, "half");
      throw signal.reason;
    }
    const loss = (10 / bits) * (seeds ? 1 : 1 + rand([1]).item() / 100);
    if (SMALL_NOTHING === name) return {} as { loss: number };
    return { loss: SMALL_NAN === name ? Number.NaN : loss };
  },
});

export default {
  about: "Fewer bits lose more.",
  text: "Nothing is measured.",
  version: 1,
  seeds: 3,
  needsData: false,
  columns: { loss: { title: "loss", digits: 3 } },
  picture: { x: "bits", y: "loss", series: "method" },
  cells: () => [
    {
      name: "float",
      labels: { method: "float32" },
      seeds: 1,
      run: async () => ({ loss: 1 }),
    },
    cellOf("nearest", 4, 1),
    cellOf("drawn", 4),
    cellOf("drawn", 2),
  ],
  claims: [
    {
      says: "4 bits lose",
      difference: (at) => at("nearest 4").loss - at("float").loss,
      above: 0,
      as: "loss",
    },
    {
      says: "2 bits lose less",
      difference: (at) => at("drawn 2").loss - at("drawn 4").loss,
      below: 0,
      as: "loss",
    },
    {
      says: "draws tell",
      difference: (at) => at("drawn 4").loss - at("nearest 4").loss,
      above: 0.0125,
      as: "loss",
    },
  ],
} satisfies Experiment;
