/**
 * Process-wide state. Every copy of the library in one process (each entry, ESM and CJS) shares it, so one tape, one heap
 * and one generator rule them all.
 */

const key = Symbol.for("bitgrad/1");

const host = globalThis as unknown as Record<symbol, Record<string, unknown> | undefined>;
host[key] ??= {};
const registry = host[key];

/** The value of `slot`, made on first use. A slot belongs to one module. */
export function shared<T>(slot: string, make: () => T): T {
  registry[slot] ??= make();
  return registry[slot] as T;
}
