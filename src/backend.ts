/** Which kernel serves which op. An op that a backend does not serve runs its own reference. */

import type { TypedArray } from "./dtype.ts";
import { BackendError, OptionError, readOptions, show } from "./errors.ts";
import { shared } from "./state.ts";

/** What really runs, for reports. */
export interface BackendInfo {
  readonly name: string;
  readonly threads: number;
  readonly relaxed: boolean;
  /** Why a faster way is not taken. */
  readonly reason: string;
}

type Forward = (
  outs: readonly TypedArray[],
  inputs: readonly unknown[],
  options: object,
  outputs: readonly unknown[],
) => void;

const current = shared("backend", () => ({
  info: {
    name: "reference",
    threads: 1,
    relaxed: false,
    reason: "the reference kernels are the only ones so far",
  } as BackendInfo,
  serves: new Map<string, Forward>(),
}));

/** The backend's own kernel for an op, or null for the op's reference. */
export const servedBy = (op: string): Forward | null => current.serves.get(op) ?? null;

/** The backend in use. */
export const backendInfo = (): BackendInfo => current.info;

/** Chooses the kernels. Only 'reference' exists so far; anything else is a BackendError. */
export function useBackend(name: "reference", options?: { relaxed?: boolean }): void {
  readOptions("useBackend", options, { relaxed: false });
  if (name !== "reference")
    throw new BackendError(`useBackend: no such backend, got ${show(name)}; use "reference"`);
}

/** Asks for `n` threads. There is one so far: more is a BackendError. */
export async function setThreads(n: number): Promise<void> {
  if (!Number.isInteger(n) || n < 1)
    throw new OptionError(`setThreads: needs a positive integer, got ${show(n)}`);
  if (n > 1) throw new BackendError(`setThreads: the reference backend runs on one thread, got ${n}`);
}

/** Sets the bytes the SIMD heap may take. The reference backend has no heap: a BackendError. */
export function setHeapBudget(bytes: number): void {
  if (!(bytes >= 0)) throw new OptionError(`setHeapBudget: needs a number of bytes, got ${show(bytes)}`);
  throw new BackendError(`setHeapBudget: the reference backend has no heap, got ${bytes} bytes`);
}
