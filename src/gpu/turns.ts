/** What rotary positions turn pairs by. */

import type { RotaryCall } from "../packed/executor.ts";

/** Cosines and sines of angles, by the CPU in double: those of float32 are off at far positions. */
export function turnsOf({ t, d, offset, base }: RotaryCall): Float32Array {
  const half = d / 2;
  const turns = new Float32Array(t * d);
  for (let p = 0, at = 0; p < t; p++)
    for (let j = 0; j < half; j++) {
      const angle = (p + offset) * base ** ((-2 * j) / d);
      turns[at++] = Math.cos(angle);
      turns[at++] = Math.sin(angle);
    }
  return turns;
}
