/** Measures rows of the table, against every library that has them. */

import { pool } from "../../kernels/wasm/threads.ts";
import { scope, setThreads } from "../../src/index.ts";
import { type PairOptions, type PairResult, pair, type Side, showRatio } from "../pair.ts";
import { type Compared, type ComparedRow, figure } from "../table.ts";
import { compareFresh, freshPeers } from "./fresh.ts";
import { adapters, bundledOurs } from "./libraries/index.ts";
import type { Library } from "./library.ts";
import { type FreshRow, freshRows, type Row, threadRows, type Workload, workloads } from "./workloads.ts";

export interface CompareOptions {
  readonly quick: boolean;
  readonly peers: readonly string[];
}

const roundsFor = (quick: boolean): Omit<PairOptions, "tolerance"> =>
  quick
    ? { rounds: 9, milliseconds: 8, seconds: 1.5, fewest: 3 }
    : { rounds: 15, milliseconds: 15, seconds: 4, fewest: 5 };

const loaded = new Map<string, Promise<Library>>();

function library(name: string): Promise<Library> {
  const known = loaded.get(name) ?? (name === "bitgrad" ? bundledOurs() : adapters[name]());
  loaded.set(name, known);
  return known;
}

async function sideOf(name: string, { operation, problem }: Workload): Promise<Side | null> {
  const { sides } = await library(name);
  const found = sides[operation] ?? (operation === "levelProduct" ? sides.matmul : undefined);
  const make = found as ((problem: unknown) => Promise<Side | null> | Side | null) | undefined;
  return make === undefined ? null : make(problem());
}

/** Prints as it goes. `measure` gives null where a peer takes no part. */
async function compareRow(
  row: Row,
  peers: readonly string[],
  measure: (peer: string) => Promise<PairResult | null>,
): Promise<ComparedRow> {
  const { name, unit, work, required, reach, absolute } = row;
  const bounds = [required && `required ${required}x`, reach && `${reach}x to reach for`].filter(Boolean);
  const wanted = absolute ? [`at most ${required} ${unit}, ${reach} to reach for`] : bounds;
  console.log(`\n${[name, ...wanted].join(", ")}`);
  const load: number[] = [];
  const compared: Compared[] = [];
  for (const peer of peers) {
    const show = (text: string) => console.log(`  ${peer.padEnd(11)}${text}`);
    try {
      const result = await measure(peer);
      if (result === null) continue;
      const { ratio, interval, a, b } = result;
      load.push(...result.load);
      compared.push({ peer, native: peer === "ort-node", ratio, interval, a, b });
      show(`${figure(row, a).padStart(16)}   ours ${figure(row, b).padStart(16)}   ${showRatio(result)}`);
    } catch (error) {
      // Printed here, as tfjs shows all of its code with an error that nobody catches.
      show(`FAILED: ${error instanceof Error ? error.message : error}`);
      process.exitCode = 1;
    }
  }
  return { name, unit, work, required, reach, absolute, load, peers: compared };
}

async function compareWorkload(row: Workload, { quick, peers }: CompareOptions): Promise<ComparedRow> {
  using _ = scope({ name: row.name });
  const ours = (await sideOf("bitgrad", row))!;
  const asked = peers.filter((peer) => row.peers?.includes(peer) ?? true);
  return await compareRow(row, asked, async (peer) => {
    const theirs = await sideOf(peer, row);
    return theirs && pair(theirs, ours, { ...roundsFor(quick), tolerance: row.tolerance });
  });
}

const compareProcesses = (row: FreshRow, { quick, peers }: CompareOptions): Promise<ComparedRow> =>
  compareRow(
    row,
    peers.filter((peer) => freshPeers[row.fresh].includes(peer)),
    async (peer) => compareFresh(row.fresh, peer, quick),
  );

/** The rows that `chosen` picks by name. */
export async function compareAll(
  chosen: (row: Row) => boolean,
  options: CompareOptions,
): Promise<ComparedRow[]> {
  const results: ComparedRow[] = [];
  for (const row of workloads) if (chosen(row)) results.push(await compareWorkload(row, options));
  for (const row of freshRows) if (chosen(row)) results.push(await compareProcesses(row, options));
  return results;
}

/** Ours on two threads beside ours on one, in one pool that does or does not take part. */
export async function compareThreads(
  chosen: (row: Row) => boolean,
  { quick }: Pick<CompareOptions, "quick">,
): Promise<ComparedRow[]> {
  await setThreads(2);
  if (pool.active !== 2) throw new Error(`bench:peers: no threads here: ${pool.reason}`);
  const results: ComparedRow[] = [];
  for (const row of threadRows.filter(chosen)) {
    const workload = workloads.find(({ name }) => name === row.of)!;
    using _ = scope({ name: row.name });
    const onThreads = async (threads: number): Promise<Side> => {
      const side = (await sideOf("bitgrad", workload))!;
      return {
        name: `${threads} threads`,
        run() {
          pool.active = threads;
          return side.run();
        },
        result: () => side.result(),
      };
    };
    const [one, two] = [await onThreads(1), await onThreads(2)];
    // Threads change no bits.
    const settings = { ...roundsFor(quick), tolerance: 0 };
    results.push(await compareRow(row, ["one thread"], () => pair(one, two, settings)));
  }
  await setThreads(1);
  return results;
}
