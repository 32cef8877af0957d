/** A kernel of SIMD beside its reference, and which of the two runs. */

import * as encodeReference from "../kernels/encode/reference.ts";
import * as encodeSimd from "../kernels/encode/simd.ts";
import type { HeapUse } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import type { FloatArray, TypedArray } from "./dtype.ts";
import { shared } from "./state.ts";

export type BackendName = "simd" | "reference";

/** What really runs, for reports. */
export interface BackendInfo {
  readonly name: BackendName;
  /** How many threads run large kernels; `setThreads` chooses. */
  readonly threads: number;
  /** Whether products are rounded as relaxed SIMD does, which differs between machines in the last bits. */
  readonly relaxed: boolean;
  /** Why nothing faster runs, why threads that were asked for do not, and that the heap is exhausted, or null. */
  readonly reason: string | null;
  /**
   * Which products packed layers chose where several give the same, and what they were chosen by: a line for each kind and
   * size.
   */
  readonly choices: readonly string[];
  /**
   * Bytes that tensors of open scopes and pinned ones take on the SIMD heap, what the heap spans, what it may span, and
   * where that did not do, the budget that would have, else 0.
   */
  readonly heap: Pick<HeapUse, "bytes" | "reserved" | "budget" | "wanted">;
}

/** By product, what `src/packed/products/choice.ts` chose. */
export const choices = /* @__PURE__ */ shared("choices", () => new Map<string, string>());

/** The choice; null until something runs, so that importing instantiates nothing. */
export const current = shared("backend", () => ({ name: null as BackendName | null }));

export const active = (): BackendName => {
  current.name ??= wasmSupport().build === null ? "reference" : "simd";
  return current.name;
};

/** Whether SIMD kernels run, and tensors of a scope lie on their heap. */
export const usesSimd = (): boolean => active() === "simd";

export const anyNonFinite = (x: FloatArray, length: number): boolean =>
  (active() === "simd" ? encodeSimd.anyNonFinite(x, length) : null) ??
  encodeReference.anyNonFinite(x, length);
/**
 * The SIMD kernel where it applies (it returns false where it does not), else the reference; both have one contract. Where
 * the two round differently, the argument `by` chooses by its size, so that bits depend neither on where arrays lie nor on
 * what the heap holds: below `least`, to bring arrays to the heap and to call the kernel costs more than it saves.
 */
export const fastest =
  <A extends readonly unknown[]>(
    reference: (...args: A) => void,
    simd: (...args: NoInfer<A>) => boolean,
    by?: number,
    least = 64,
  ) =>
  (...args: A): void => {
    const few = by !== undefined && (args[by] as TypedArray).length < least;
    if (active() === "simd" && !few && simd(...args)) return;
    reference(...args);
  };

export type Places = readonly [from: number, to: number];

/** Whether all numbers of some arguments are finite; what is left out is. */
export function allFinite(args: readonly unknown[], [from, to]: Places): boolean {
  for (let i = from; i < to; i++) {
    const x = args[i] as FloatArray | null;
    if (x !== null && anyNonFinite(x, x.length)) return false;
  }
  return true;
}

/**
 * The same for sums that SIMD makes in float32; `outs` are the places of the results among the arguments, `ins` those of
 * what is summed. Where finite inputs give a result that is not finite, a sum may have left float32 on its way alone: the
 * reference, which sums in double, makes the results anew.
 */
export const summing = <A extends readonly unknown[]>(
  outs: Places,
  ins: Places,
  reference: (...args: A) => void,
  simd: (...args: NoInfer<A>) => boolean,
  by?: number,
  least?: number,
) =>
  fastest<A>(
    reference,
    (...args) => simd(...args) && (allFinite(args, outs) || !allFinite(args, ins)),
    by,
    least,
  );
