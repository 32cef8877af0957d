import { repeatedRun } from "../changes.ts";
import { isFunction, OptionError, ShapeError, StageError, show } from "../errors.ts";
import { isThenable } from "../storage.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { noMatch } from "./modes.ts";
import { type PathPattern, pathMatcher } from "./pattern.ts";
import { namedLayers } from "./tree.ts";

/** What ran while `collect` ran. */
export interface Tapped<R> {
  /** What the function returned. */
  readonly result: R;
  /** What each tapped layer returned, by its path, one entry a call. A layer with two names stands under both. */
  readonly calls: ReadonlyMap<string, readonly unknown[]>;
  /** The tensor that the layer at `path` returned. Throws if it ran not exactly once or returned something else. */
  output(path: string): Tensor;
}

export interface Taps {
  /** The paths of the tapped layers. */
  readonly paths: readonly string[];
  /** Runs `fn` and gathers what the tapped layers return meanwhile; gradients flow through it. `fn` must be synchronous. Throws StageError for one that runs inside `checkpoint`. */
  collect<R>(fn: () => R): Tapped<R>;
  /** Gives the layers their own `forward` back. */
  dispose(): void;
  [Symbol.dispose](): void;
}

type Listener = (layer: Layer, output: unknown) => void;

interface Wrapped {
  readonly listeners: Set<Listener>;
  /** The layer's own `forward`, if it had one that is not its class's. */
  readonly before: PropertyDescriptor | undefined;
}

/** One wrapper a layer, however many taps it has, so that taps may end in any order. */
const wrapped = new WeakMap<Layer, Wrapped>();

function listen(layer: Layer, listener: Listener): void {
  const present = wrapped.get(layer);
  if (present) {
    present.listeners.add(listener);
    return;
  }
  const { forward } = layer;
  const listeners = new Set([listener]);
  const before = Object.getOwnPropertyDescriptor(layer, "forward");
  wrapped.set(layer, { listeners, before });
  Object.defineProperty(layer, "forward", {
    configurable: true,
    // A clone made meanwhile finds its class's forward, or a copy of this one where there was an own one.
    enumerable: before?.enumerable ?? false,
    writable: true,
    value(this: Layer, ...args: Parameters<Layer["forward"]>): unknown {
      const output = forward.apply(this, args);
      for (const hear of listeners) hear(layer, output);
      return output;
    },
  });
}

function leave(layer: Layer, listener: Listener): void {
  const state = wrapped.get(layer);
  if (!state?.listeners.delete(listener) || state.listeners.size > 0) return;
  wrapped.delete(layer);
  if (state.before) Object.defineProperty(layer, "forward", state.before);
  else delete (layer as { forward?: unknown }).forward;
}

/**
 * Listens to the layers of a model whose paths fit a pattern: `taps(model, "blocks.*")`. Until `dispose()`, `collect` gathers
 * their outputs, for distillation and analysis. Throws OptionError for a pattern that fits no layer.
 */
export function taps(model: object, patterns: PathPattern | readonly PathPattern[]): Taps {
  const list = Array.isArray(patterns) ? patterns : [patterns];
  if (list.length === 0) throw new OptionError("taps: needs a pattern, got ()");
  const named = namedLayers(model);
  const chosen = new Map<string, Layer>();
  for (const pattern of list as PathPattern[]) {
    const fits = pathMatcher(pattern);
    const found = named.filter(([path]) => fits(path));
    if (found.length === 0) {
      throw noMatch(
        "taps",
        "layer",
        pattern,
        named.map(([path]) => path),
      );
    }
    for (const [path, layer] of found) chosen.set(path, layer);
  }
  const pathsOf = new Map<Layer, string[]>();
  for (const [path, layer] of chosen) pathsOf.set(layer, [...(pathsOf.get(layer) ?? []), path]);

  let open: Map<string, unknown[]> | null = null;
  let ended = false;
  const hear: Listener = (layer, output) => {
    const run = open && repeatedRun();
    // The second run of what ran before; its tensors go with the gradient.
    if (run === "again") return;
    for (const path of pathsOf.get(layer) ?? []) {
      if (run === "first") {
        throw new StageError(
          `collect: a tapped layer ran inside checkpoint, which releases its output, got ${show(path)}; collect without checkpoint`,
        );
      }
      open?.get(path)?.push(output);
    }
  };
  for (const layer of pathsOf.keys()) listen(layer, hear);

  const dispose = () => {
    ended = true;
    for (const layer of pathsOf.keys()) leave(layer, hear);
  };
  return {
    paths: [...chosen.keys()],
    collect(fn) {
      if (ended) throw new StageError("collect: the taps were disposed of; make new ones");
      if (!isFunction(fn)) throw new OptionError(`collect: expected a function, got ${show(fn)}`);
      if (open) throw new StageError("collect: it is running already, got a call from inside its function");
      const calls = new Map<string, unknown[]>([...chosen.keys()].map((path) => [path, []]));
      open = calls;
      try {
        const result = fn();
        if (isThenable(result)) {
          throw new StageError("collect: the function must be synchronous, got a promise");
        }
        return { result, calls, output: (path) => single(path, calls) };
      } finally {
        open = null;
      }
    },
    dispose,
    [Symbol.dispose ?? (Symbol.for("Symbol.dispose") as typeof Symbol.dispose)]: dispose,
  };
}

function single(path: string, calls: ReadonlyMap<string, readonly unknown[]>): Tensor {
  const outputs = calls.get(path);
  if (!outputs) {
    throw new OptionError(
      `output: not a tapped layer, got ${show(path)}; tapped are ${show([...calls.keys()])}`,
    );
  }
  if (outputs.length !== 1) {
    throw new StageError(`output: the layer must run once, got ${outputs.length} calls of ${show(path)}`);
  }
  const [output] = outputs;
  if (!isTensor(output)) {
    throw new ShapeError(`output: the layer must return a tensor, got ${show(output)} from ${show(path)}`);
  }
  return output;
}
