/** Which executor computes: that of the run which is going on, else the CPU. */

import { cpu } from "./cpu/executor.ts";
import type { Executor } from "./executor.ts";
import { running } from "./values.ts";

export const executor = (): Executor => (running.executor as Executor | null) ?? cpu;

/** Runs `fn` with layers that hold their numbers where `other` holds them. */
export function runOn<D, R>(other: Executor<D>, fn: () => R): R {
  const before = running.executor;
  running.executor = other;
  try {
    return fn();
  } finally {
    running.executor = before;
  }
}
