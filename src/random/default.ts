/** The process-wide random generator that draws fall back to when they are given none. */

import { changing } from "../changes.ts";
import { Rng } from "./rng.ts";
import { defaultStream } from "./threefry.ts";

/** The generator behind every draw that names no `rng`. */
export function defaultRng(): Rng {
  const { rng } = defaultStream;
  if ("fillNormal" in rng) return rng as Rng;
  const full = manualSeed(0);
  full.counter = rng.counter;
  return full;
}

/**
 * Restarts the default generator, which starts from seed 0, and returns it: the same seed gives the same draws, and a run
 * whose draws name no `rng` saves and restores its `state`.
 *
 * @example
 * ```ts
 * import { manualSeed, rand } from "bitgrad";
 *
 * manualSeed(5);
 * const first = rand([2]).toArray();
 * manualSeed(5);
 * console.log(String(rand([2]).toArray()) === String(first)); // true
 * ```
 */
export function manualSeed(seed: string | number): Rng {
  const rng = new Rng(seed);
  changing(defaultStream, saveDefault);
  defaultStream.rng = rng;
  return rng;
}

export function saveDefault(stream: typeof defaultStream): () => void {
  const { rng } = stream;
  return () => {
    stream.rng = rng;
  };
}
