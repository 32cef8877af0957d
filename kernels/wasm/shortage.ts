/** Says that the heap's budget is exhausted. */

import { shared } from "../../src/state.ts";
import { heapUse } from "./heap.ts";
import { mostBytes } from "./memory.ts";

const said = /* @__PURE__ */ shared("shortage", () => ({ it: false }));

/** What the heap lacks, and what to do, or null. */
export function shortage(): string | null {
  const { budget, wanted } = heapUse();
  if (wanted === 0) return null;
  const mib = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MiB`;
  const more = wanted > budget && wanted <= mostBytes;
  return `the heap's budget of ${mib(budget)} is exhausted, and tensors lie in slower arrays: ${more ? `setHeapBudget(${wanted}) holds them, ${mib(wanted)}` : `they need ${mib(wanted)}, more than this platform gives`}`;
}

/** Warns of it, once in a process. */
export function warnOfShortage(): void {
  if (said.it || heapUse().wanted === 0) return;
  said.it = true;
  const { process } = globalThis as { process?: { emitWarning?(text: string, name: string): void } };
  if (process?.emitWarning) process.emitWarning(shortage()!, "BitgradWarning");
  else console.warn(`bitgrad: ${shortage()}`);
}
