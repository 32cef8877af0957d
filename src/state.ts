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

/**
 * What `instanceof` says of a branded class: that it holds instances of its twins in other copies of the library too. A class
 * derived from it holds its own.
 */
export function isInstance(asked: object, branded: object, brand: symbol, value: unknown): boolean {
  if (asked !== branded) return Function.prototype[Symbol.hasInstance].call(asked as never, value);
  return typeof value === "object" && value !== null && brand in value;
}
