/**
 * Process-wide state. Every copy of the library in one process (each entry, ESM and CJS) shares it, so one tape, one heap
 * and one generator rule them all.
 */

const key = Symbol.for("bitgrad/1");

const registry: Record<string, unknown> = ((globalThis as Record<symbol, unknown>)[key] ??= {}) as Record<string, unknown>;

/** The value of `slot`, made on first use. A slot belongs to one module. */
export function shared<T>(slot: string, make: () => T): T {
  registry[slot] ??= make();
  return registry[slot] as T;
}
