/** Errors inside a model that say where: `blocks.3.attention.query: linear: cannot …`. */

import { undoing } from "../changes.ts";
import { BitgradError } from "../errors.ts";
import { shared } from "../state.ts";
import { walk } from "./tree.ts";

/** Where an error arose: its path in the outermost object that it has left, and what it said. */
interface Origin {
  owner: object;
  path: string;
  readonly message: string;
}

const origins = shared("origins", () => new WeakMap<object, Origin>());

/** The first path of a part of a model, or null. No object is entered twice: graphs have more paths than time allows. */
function pathOf(owner: object, part: object): string | null {
  let found: string | null = null;
  const seen = new Set<object>();
  walk(owner, (item, path) => {
    if (item === part) found ??= path;
    if (found !== null || seen.has(item)) return false;
    seen.add(item);
    return true;
  });
  return found;
}

/** Lets an error that leaves an object begin with the path in it of the layer that threw. */
function leaves(error: BitgradError, owner: object): void {
  const origin = origins.get(error);
  if (origin === undefined) {
    origins.set(error, { owner, path: "", message: error.message });
    return;
  }
  const path = origin.owner === owner ? null : pathOf(owner, origin.owner);
  if (path === null || path === "") return;
  // What is printed of an error that nobody catches. Engines write it when it is first read.
  const { message: before, stack } = error;
  origin.owner = owner;
  origin.path = origin.path === "" ? path : `${path}.${origin.path}`;
  error.message = `${origin.path}: ${origin.message}`;
  if (typeof stack === "string") error.stack = stack.replace(before, () => error.message);
}

/**
 * Runs what a layer, a model or a step over one does. After an error what it changed is put back, and an error of the
 * library names the path of the layer that threw.
 */
export function inside<T>(owner: object, fn: () => T): T {
  try {
    return undoing(fn);
  } catch (error) {
    try {
      if (error instanceof BitgradError) leaves(error, owner);
    } catch {
      // An error that is frozen, or a model that cannot be read: what was wrong at first is told, without a path.
    }
    throw error;
  }
}
