/** The process-wide random generator that draws fall back to when they are given none. */

import { Rng } from "./random.ts";
import { shared } from "./state.ts";

const slot = shared("random", () => ({ rng: new Rng(0) }));

/** The generator behind every draw that names no `rng`. */
export const defaultRng = (): Rng => slot.rng;

/** Restarts the default generator: the same seed gives the same draws. It starts from seed 0. */
export function manualSeed(seed: string | number): void {
  slot.rng = new Rng(seed);
}
