/** The process-wide random generator that draws fall back to when they are given none. */

import { Rng } from "./random.ts";
import { shared } from "./state.ts";

const slot = shared("random", () => ({ rng: new Rng(0) }));

/** The generator behind every draw that names no `rng`. */
export const defaultRng = (): Rng => slot.rng;

/**
 * Restarts the default generator, which starts from seed 0, and returns it: the same seed gives the same draws, and a run
 * whose draws name no `rng` saves and restores its `state`.
 */
export function manualSeed(seed: string | number): Rng {
  slot.rng = new Rng(seed);
  return slot.rng;
}
