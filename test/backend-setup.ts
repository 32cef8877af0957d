/**
 * Runs every test file on the backend that BITGRAD_BACKEND names: `npm run test:reference` sets it. BITGRAD_MEMORY=unshared
 * takes a memory that may not be shared, as in a page that is not cross-origin isolated, runs every test inside a scope, and
 * lets the memory grow, which detaches its views, before every op.
 */

import { afterEach, beforeEach } from "vitest";
import type { Scope } from "../src/storage.ts";

if (process.env.BITGRAD_MEMORY === "unshared") {
  // Before anything makes the memory.
  (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated = false;
  const { memoryIsShared, setHeapBudget } = await import("../kernels/wasm/heap.ts");
  const { shared } = await import("../src/state.ts");
  const { scope } = await import("../src/storage.ts");
  if (memoryIsShared()) throw new Error("setup: the memory is shared");
  // Each growth makes a buffer of the whole memory, for the collector to find.
  setHeapBudget(2 ** 30);
  const heap = shared("heap", () => ({}));
  Object.defineProperty(heap, "lacking", { configurable: true, get: () => 1, set: () => {} });
  // Small tensors too are to lie on the heap.
  shared("memory", () => ({ least: 0 })).least = 1;
  shared("packed.arena", () => ({ blocks: null, least: 0 })).least = 1;
  let open: Scope;
  beforeEach(() => {
    open = scope();
  });
  afterEach(() => open.dispose());
}

const name = process.env.BITGRAD_BACKEND;
if (name) {
  const { useBackend } = await import("../src/backend.ts");
  useBackend(name as "simd" | "reference");
}
