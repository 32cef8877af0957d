/**
 * What a call changes beside its result: positions of generators, running statistics, caches. It is put back after an error,
 * and for the second run of a function that `checkpoint` runs twice.
 */

import { shared } from "./state.ts";

/** Gives what puts an object back into the state that it is in. */
type Save<O> = (owner: O) => () => void;
type Saved = Map<object, { save: () => () => void; back: () => void }>;

interface Changes {
  /** What changed since the record began, with its state before. */
  readonly saved: Saved;
  readonly outer: Changes | null;
  /** The run of a function that runs twice. */
  readonly run: "first" | "again" | null;
}

const state = shared("changes", () => ({ record: null as Changes | null }));

/** To be called by what is about to change: how it is now is kept where somebody may want it back. */
export function changing<O extends object>(owner: O, save: Save<O>): void {
  for (let record = state.record; record; record = record.outer) {
    if (!record.saved.has(owner)) record.saved.set(owner, { save: () => save(owner), back: save(owner) });
  }
}

/** Which run is going on of a function that runs twice; null outside of any. */
export function repeatedRun(): "first" | "again" | null {
  let run: Changes["run"] = null;
  for (let record = state.record; record; record = record.outer) run = record.run ?? run;
  return run;
}

function recorded<T>(run: Changes["run"], fn: (saved: Saved) => T, saved: Saved = new Map()): T {
  const before = state.record;
  // A second run leaves no change behind, so those around it need not know.
  state.record = { saved, outer: run === "again" ? null : before, run };
  try {
    return fn(saved);
  } finally {
    state.record = before;
  }
}

const restore = (saved: Saved): void => {
  for (const { back } of saved.values()) back();
};

/** Runs `fn`; where it throws, what it changed is put back. */
export const undoing = <T>(fn: () => T): T => undoable(fn)[0];

/** The same with what puts it back later. */
export function undoable<T>(fn: () => T): [result: T, undo: () => void] {
  return recorded(null, (saved) => {
    try {
      return [fn(), () => restore(saved)];
    } catch (error) {
      restore(saved);
      throw error;
    }
  });
}

/** Runs functions, and puts back all that they changed, to where it was before the first of them. */
export interface UndoableRuns {
  run<T>(fn: () => T): T;
  undo(): void;
}

/** One record of what several functions change: of each object the state before the first change alone is kept. */
export function undoableRuns(): UndoableRuns {
  const saved: Saved = new Map();
  return { run: (fn) => recorded(null, fn, saved), undo: () => restore(saved) };
}

/** Runs `fn`. What comes with its result runs it again from the same state, and puts all back to where it is at that time. */
export function repeatable<T>(fn: () => T): [result: T, again: () => T] {
  return recorded("first", (first) => {
    const result = fn();
    const again = (): T => {
      const now = [...first.values()].map(({ save }) => save());
      return recorded("again", (saved) => {
        try {
          restore(first);
          return fn();
        } finally {
          restore(saved);
          for (const back of now) back();
        }
      });
    };
    return [result, again];
  });
}
