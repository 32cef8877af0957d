/** What holds a block of numbers, found by its form: tensors of this and of any other copy of the library. */

import { isBuiltIn } from "./errors.ts";
import type { Storage } from "./storage.ts";

export type Holder = { readonly storage: Storage };

/** An open scope from `scope()`, for `using`; `dispose()` ends it where `using` is not available. */
export interface Scope {
  keep<T extends Holder>(tensor: T): T;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** The tensors within a value, however deep: by a list of what is left to see, since the engine's stack is short. */
export function holders(value: unknown): Holder[] {
  const found: Holder[] = [];
  const seen = new Set<unknown>();
  const left = [value];
  while (left.length > 0) {
    const item = left.pop();
    if (item === null || typeof item !== "object" || seen.has(item)) continue;
    seen.add(item);
    if (isHolder(item)) found.push(item as Holder);
    else if (Array.isArray(item)) for (const x of item) left.push(x);
    else if (isBuiltIn("Map", item) || isBuiltIn("Set", item)) for (const x of item.values()) left.push(x);
    else if (!ArrayBuffer.isView(item)) for (const x of Object.values(item)) left.push(x);
  }
  return found;
}

/** Storage of another copy of the library (ESM beside CJS) is another class of the same form. */
export const isHolder = (value: unknown): boolean => {
  const storage = (value as { storage?: { frame?: unknown; version?: unknown } } | null | undefined)?.storage;
  return typeof storage === "object" && storage !== null && "frame" in storage && "version" in storage;
};
