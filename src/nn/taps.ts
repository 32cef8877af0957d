import { repeatedRun } from "../changes.ts";
import {
  isFunction,
  OptionError,
  readOptions,
  ShapeError,
  StageError,
  show,
  synchronous,
} from "../errors.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { noMatch } from "./modes.ts";
import { type PathPattern, pathMatcher } from "./pattern.ts";
import { namedLayers } from "./tree.ts";

/** One call of a tapped layer: what its `forward` was given and what it returned. */
export interface TappedCall {
  readonly inputs: readonly unknown[];
  readonly output: unknown;
}

/** What ran while `collect` ran. */
export interface Tapped<R> {
  /** What the function returned. */
  readonly result: R;
  /** The calls of each tapped layer, by its path. A layer with two names stands under both. */
  readonly calls: ReadonlyMap<string, readonly TappedCall[]>;
  /** The paths of the tapped layers that ran, in the order in which they first returned. */
  readonly order: readonly string[];
  /** What the layer at `path` was given. Throws if it ran not exactly once. */
  inputs(path: string): readonly unknown[];
  /** The tensor that the layer at `path` returned. Throws if it ran not exactly once or returned something else. */
  output(path: string): Tensor;
}

export interface Taps {
  /** The paths of the tapped layers. */
  readonly paths: readonly string[];
  /**
   * Runs `fn` and gathers what the tapped layers return meanwhile; gradients flow through it. `fn` must be synchronous.
   * Throws StageError for one that runs inside `checkpoint`.
   */
  collect<R>(fn: () => R): Tapped<R>;
  /**
   * The same up to the first return of the tapped layer at `until`: what `fn` has left to do does not run, and what it
   * changed beside its result (caches, running statistics) is put back where it is a model's `forward`. Something that is no
   * Error is thrown through `fn` to stop it: one that catches everything, and returns, is a StageError. So is one in which
   * the layer does not run.
   */
  collect(fn: () => unknown, options: { until: string }): Tapped<undefined>;
  /** Gives the layers their own `forward` back. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Hears a call, and gives what is to be thrown after it, an error or the mark of a pass that ends; null for nothing. */
type Listener = (layer: Layer, call: TappedCall) => object | null;

interface Wrapped {
  /** In the order in which their passes began. */
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
      // All hear it before the outermost pass that ends here does.
      const ends = [...listeners].map((hear) => hear(layer, { inputs: args, output }));
      const end = ends.find((thrown) => thrown !== null);
      if (end) throw end;
      return output;
    },
  });
}

function hearLast(layer: Layer, listener: Listener): void {
  const listeners = wrapped.get(layer)?.listeners;
  if (listeners?.delete(listener)) listeners.add(listener);
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
 *
 * @example
 * ```ts
 * import { ones, relu } from "bitgrad";
 * import { Linear, Sequential, taps } from "bitgrad/nn";
 *
 * const model = new Sequential(new Linear(4, 8), relu, new Linear(8, 2));
 * const { calls } = taps(model, "0").collect(() => model.forward(ones([3, 4])));
 * console.log(calls.get("0")!.length); // 1
 * ```
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

  let open: Map<string, TappedCall[]> | null = null;
  let order = new Set<string>();
  let last: string | null = null;
  /** Thrown to end a pass. */
  const reached = {};
  let stopped = false;
  let ended = false;
  const hear: Listener = (layer, call) => {
    const run = open && repeatedRun();
    // The second run of what ran before; its tensors go with the gradient.
    if (run === "again") return null;
    for (const path of pathsOf.get(layer) ?? []) {
      if (run === "first") {
        return new StageError(
          `collect: a tapped layer ran inside checkpoint, which releases its output, got ${show(path)}; collect without checkpoint`,
        );
      }
      open?.get(path)?.push(call);
      order.add(path);
    }
    if (!open || last === null || chosen.get(last) !== layer) return null;
    stopped = true;
    return reached;
  };
  for (const layer of pathsOf.keys()) listen(layer, hear);

  const dispose = () => {
    ended = true;
    for (const layer of pathsOf.keys()) leave(layer, hear);
  };
  return {
    paths: [...chosen.keys()],
    collect<R>(fn: () => R, options?: { until: string }): Tapped<R> {
      if (ended) throw new StageError("collect: the taps were disposed of; make new ones");
      if (!isFunction(fn)) throw new OptionError(`collect: expected a function, got ${show(fn)}`);
      if (open) throw new StageError("collect: it is running already, got a call from inside its function");
      const { until } = readOptions("collect", options, { until: null as string | null });
      if (until !== null && !chosen.has(until)) throw notTapped("collect", until, chosen);
      const calls = new Map<string, TappedCall[]>([...chosen.keys()].map((path) => [path, []]));
      const ran = new Set<string>();
      const tapped = {
        calls,
        get order() {
          return [...ran];
        },
        inputs: (path: string) => single("inputs", path, calls).inputs,
        output: (path: string) => outputOf(path, calls),
      };
      for (const layer of pathsOf.keys()) hearLast(layer, hear);
      open = calls;
      order = ran;
      last = until;
      stopped = false;
      try {
        const result = synchronous("collect", fn(), "the function");
        if (stopped) {
          throw new StageError(
            `collect: the function caught what stops it, got until ${show(until)}; throw again what is no Error`,
          );
        }
        if (until !== null && calls.get(until)?.length === 0) {
          throw new StageError(`collect: the function ended before the layer ran, got until ${show(until)}`);
        }
        return { result, ...tapped };
      } catch (error) {
        if (error !== reached) throw error;
        return { result: undefined as R, ...tapped };
      } finally {
        open = null;
        last = null;
      }
    },
    dispose,
    [Symbol.dispose ?? (Symbol.for("Symbol.dispose") as typeof Symbol.dispose)]: dispose,
  };
}

const notTapped = (op: string, path: string, tapped: ReadonlyMap<string, unknown>): OptionError =>
  new OptionError(`${op}: not a tapped layer, got ${show(path)}; tapped are ${show([...tapped.keys()])}`);

function single(op: string, path: string, calls: ReadonlyMap<string, readonly TappedCall[]>): TappedCall {
  const found = calls.get(path);
  if (!found) throw notTapped(op, path, calls);
  if (found.length !== 1) {
    throw new StageError(`${op}: the layer must run once, got ${found.length} calls of ${show(path)}`);
  }
  return found[0];
}

function outputOf(path: string, calls: ReadonlyMap<string, readonly TappedCall[]>): Tensor {
  const { output } = single("output", path, calls);
  if (!isTensor(output)) {
    throw new ShapeError(`output: the layer must return a tensor, got ${show(output)} from ${show(path)}`);
  }
  return output;
}
