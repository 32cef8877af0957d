/**
 * The words of the seeded generator (rng.ts), and what alone needs no seed: single draws, and the stream that all draws
 * without a generator of their own share.
 */

import { TWO_32, threefry } from "../../kernels/random/threefry.ts";
import { changing } from "../changes.ts";
import { OptionError } from "../errors.ts";
import { shared } from "../state.ts";

/** Single draws of a stream, which its key and the next counter determine. */
export class RandomStream {
  key: readonly [number, number];
  counter = 0;

  constructor(key: readonly [number, number]) {
    this.key = key;
  }

  /** A float64 in [0, 1) with 53 random bits. Takes one counter. */
  next(): number {
    drawBlock(this, this.take("next", 1));
    return unit53(block[0], block[1]);
  }

  /** An integer in [0, 2^32). Takes one counter. */
  uint32(): number {
    drawBlock(this, this.take("uint32", 1));
    return block[0];
  }

  /** Reserves `count` counters and returns the first. */
  take(op: string, count: number): number {
    const first = this.counter;
    if (!Number.isSafeInteger(first + count)) {
      throw new OptionError(`${op}: the generator has no counters left, got counter ${first}; fork it`);
    }
    changing(this, saveStream);
    this.counter = first + count;
    return first;
  }
}

/** Keys are never written in place. */
export function saveStream(stream: RandomStream): () => void {
  const { key, counter } = stream;
  return () => {
    stream.key = key;
    stream.counter = counter;
  };
}

export const block = new Uint32Array(2);

/** Both words of `counter`, into `block`. Counters stay below 2^53, so the top 11 bits are free to number the attempts. */
export function drawBlock({ key }: RandomStream, counter: number, attempt = 0): void {
  threefry(key[0], key[1], counter >>> 0, Math.floor(counter / TWO_32) + attempt * 2 ** 21, block);
}

export const unit53 = (first: number, second: number): number =>
  ((first >>> 5) * 2 ** 26 + (second >>> 6)) * 2 ** -53;

/** The stream of draws that name none. It starts as that of seed 0, whose key is written out: seeding takes code of its own. */
export const defaultStream = shared("random", () => ({ rng: new RandomStream([163575421, 4041460903]) }));
