/** A process that measures one cell after the other: `runner.ts` tells it which, and when to stop. */

import type { Experiment } from "./experiment.ts";
import { measure, type Order } from "./measure.ts";
import type { Line } from "./store.ts";

/** What a worker answers: a line, or what went wrong. */
export type Answer = { readonly line: Line } | { readonly error: string };

const stop = new AbortController();
// Ctrl-C reaches all processes of a terminal; the runner says what becomes of it.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit());

const { default: experiment } = (await import(process.argv[2])) as { default: Experiment };
process.on("message", async (order: Order | "stop") => {
  if (order === "stop") return stop.abort();
  const answer: Answer = await measure(experiment, order, stop.signal).then(
    (line) => ({ line }),
    (error: unknown) => ({ error: error instanceof Error ? String(error.stack) : String(error) }),
  );
  process.send!(answer);
});
process.send!("ready");
