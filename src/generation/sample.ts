/** Choosing the next token from logits. */

import { OptionError, readOptions, show } from "../errors.ts";
import type { Rng } from "../random/rng.ts";
import { defaultStream } from "../random/threefry.ts";

export interface SampleOptions {
  /** Divides the logits; 0 takes the likeliest token, the lowest id among equals. */
  temperature: number;
  /** Only the k likeliest tokens; null for all. */
  topK: number | null;
  /**
   * Only the likeliest tokens that together have probability p, the one that reaches it included; null for all. Holtzman et
   * al., 2019, arXiv:1904.09751.
   */
  topP: number | null;
  rng: Rng | null;
}

export const sampleDefaults: SampleOptions = { temperature: 1, topK: null, topP: null, rng: null };

export function checkSampling(op: string, { temperature, topK, topP }: SampleOptions): void {
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new OptionError(`${op}: temperature must be finite and not negative, got ${show(temperature)}`);
  }
  if (topK !== null && !(Number.isInteger(topK) && topK >= 1)) {
    throw new OptionError(`${op}: topK must be a positive integer, got ${show(topK)}`);
  }
  if (topP !== null && !(typeof topP === "number" && topP > 0 && topP <= 1)) {
    throw new OptionError(`${op}: topP must lie in (0, 1], got ${show(topP)}`);
  }
}

/**
 * The id drawn from softmax(logits/temperature), cut by topK, then by topP.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { sampleToken } from "bitgrad/models";
 *
 * console.log(sampleToken([0.1, 2, -1], { temperature: 0 })); // 1
 * const id = sampleToken([0.1, 2, -1], { temperature: 0.8, topK: 2, rng: new Rng(1) });
 * console.log(id < 2); // true
 * ```
 */
export function sampleToken(logits: ArrayLike<number>, options?: Partial<SampleOptions>): number {
  const settings = readOptions<SampleOptions>("sampleToken", options, sampleDefaults);
  checkSampling("sampleToken", settings);
  const { temperature, topK, topP, rng } = settings;
  if (typeof logits !== "object" || typeof logits?.length !== "number")
    throw new OptionError(`sampleToken: expected a list of logits, got ${show(logits)}`);
  if (temperature === 0) return likeliest(logits);
  const peak = logits[likeliest(logits)];
  const cut = topK !== null || topP !== null;
  // The order of the ids is the order of the draw where nothing is cut off, so no sort is needed.
  let ids = Array.from(logits, (_, id) => id);
  if (cut) ids = ids.sort((a, b) => logits[b] - logits[a] || a - b).slice(0, topK ?? undefined);
  const weights = Float64Array.from(ids, (id) => Math.exp((logits[id] - peak) / temperature));
  let total = weights.reduce((sum, w) => sum + w, 0);
  let count = ids.length;
  if (topP !== null) {
    const wanted = topP * total;
    total = 0;
    for (count = 0; count < ids.length && (count === 0 || total < wanted); count++) total += weights[count];
  }
  let left = (rng ?? defaultStream.rng).next() * total;
  for (let i = 0; i < count; i++) {
    left -= weights[i];
    if (left < 0) return ids[i];
  }
  return ids[count - 1];
}

function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (typeof logits[id] !== "number" || !(logits[id] < Infinity)) {
      throw new OptionError(
        `sampleToken: logits must be finite or −Infinity, got ${show(logits[id])} for id ${id}`,
      );
    }
    if (logits[id] > logits[best]) best = id;
  }
  if (!(logits[best] > -Infinity)) {
    throw new OptionError(
      `sampleToken: no token is possible, got ${logits.length} logits, none of them finite`,
    );
  }
  return best;
}
