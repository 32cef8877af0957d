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
