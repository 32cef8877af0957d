/** Makes the one WebAssembly memory: shared between threads where the platform allows. */

export interface Reserved {
  readonly memory: WebAssembly.Memory;
  readonly isShared: boolean;
  /** Why it is not shared, or null. */
  readonly reason: string | null;
}

export function reserveMemory(): Reserved {
  let reason = "a page that is not cross-origin isolated has none";
  // A page that may not share memory between threads has no SharedArrayBuffer, or says that it is not isolated.
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false;
  if (isolated && typeof SharedArrayBuffer === "function")
    try {
      return { memory: reserve(true), isShared: true, reason: null };
    } catch (error) {
      reason = `this platform gives none: ${(error as Error).message}`;
    }
  return { memory: reserve(false), isShared: false, reason };
}

interface Platform {
  readonly navigator?: { readonly deviceMemory?: number };
  readonly process?: {
    constrainedMemory?(): number;
    getBuiltinModule?(id: "node:os"): { totalmem(): number };
  };
}

/** What a memory can span, and what a size in 32 bits can say. */
export const mostBytes = 2 ** 32;

/**
 * Half of the memory that the machine has, or that the process may have of it, up to what a heap can span; 1 GiB where the
 * platform does not say.
 */
export function usualBudget(platform = globalThis as Platform): number {
  const { navigator, process } = platform;
  const device = (navigator?.deviceMemory ?? 2) * 2 ** 30;
  const total = process?.getBuiltinModule?.("node:os").totalmem() ?? device;
  return Math.min(mostBytes, Math.floor(Math.min(total, process?.constrainedMemory?.() || total) / 2));
}

/** Engines reserve the maximum at once; one that cannot gets less. */
function reserve(isShared: boolean): WebAssembly.Memory {
  // One that is not shared cannot grow while tensors lie in it: it starts with room for small models.
  const initial = isShared ? 64 : 512;
  for (let maximum = 65536; ; maximum /= 2)
    try {
      return new WebAssembly.Memory({ initial, maximum, shared: isShared });
    } catch (error) {
      if (maximum <= 1024) throw error;
    }
}
