/**
 * The tape: records ops, runs them backward. It knows no op by name. Gradients are written in the library's own ops, so
 * with `createGraph` they are recorded in turn. Broadcasting is undone here, once, for every op.
 */

import { isFloat } from "./dtype.ts";
import { GradError, isFunction, isPlainObject, isThenable, readOptions, show } from "./errors.ts";
import { broadcastsTo, sameShape } from "./shape.ts";
import { shared } from "./state.ts";
import { mark, own, type Storage } from "./storage.ts";
import { asTensor, empty, isTensor, type Tensor } from "./tensor.ts";

type Inputs = readonly (Tensor | null)[];

/** What a gradient rule sees of the forward pass. */
export interface VjpContext<I extends readonly unknown[] = Inputs> {
  readonly inputs: I;
  readonly output: Tensor;
  readonly outputs: readonly Tensor[];
  /** Whether each input wants a gradient; a rule may return null for the others. */
  readonly needs: readonly boolean[];
}

/** A gradient rule: one gradient an input, null for none. The incoming one is null only where an op has several outputs. */
export type Vjp = (
  grads: readonly (Tensor | null)[],
  context: VjpContext,
  options: object,
) => readonly (Tensor | null)[];

/** The part of an op that the tape needs. */
export interface Differentiable {
  readonly name: string;
  readonly vjp: Vjp | null;
  /** A faster gradient that is not itself differentiable; used unless a graph of the gradient is asked for. */
  readonly fusedVjp: Vjp | null;
}

export class TapeNode implements VjpContext {
  readonly op: Differentiable;
  readonly options: object;
  readonly sequence: number;
  readonly needs: readonly boolean[];
  readonly outputs: readonly Tensor[];
  freed = false;
  /** Links to walk the graph by; `inputs` is for gradient rules, which must not see changed values. */
  parents: Inputs;
  private readonly versions: readonly number[];

  constructor(op: Differentiable, inputs: Inputs, options: object, outputs: readonly Tensor[]) {
    this.op = op;
    this.parents = inputs;
    this.options = options;
    this.outputs = outputs;
    this.sequence = tapeState.sequence++;
    this.needs = inputs.map((input) => input?.requiresGrad ?? false);
    this.versions = inputs.map((input) => input?.storage.version ?? 0);
  }

  get inputs(): Inputs {
    const { parents, versions } = this;
    for (let i = 0; i < parents.length; i++) {
      const input = parents[i];
      if (input && input.storage.version !== versions[i]) {
        throw new GradError(
          `${this.op.name}: input ${i} was changed in place after the forward pass, got version ${input.storage.version} where ${versions[i]} was recorded; run the forward pass again`,
        );
      }
    }
    return parents;
  }

  get output(): Tensor {
    return this.outputs[0];
  }

  free(): void {
    this.freed = true;
    this.parents = [];
  }
}

const tapeState = shared("tape", () => ({ recording: true, sequence: 0, depth: 0 }));

/** Whether ops are being recorded. */
export const isRecording = (): boolean => tapeState.recording;

/** Puts an op that has just run on the tape, if gradients are on and an input wants one. */
export function record(
  op: Differentiable,
  inputs: Inputs,
  options: object,
  outputs: readonly Tensor[],
): void {
  if (!tapeState.recording || op.vjp === null) return;
  let wanted = false;
  for (const input of inputs) if (input?.requiresGrad) wanted = true;
  if (!wanted) return;
  const node = new TapeNode(op, inputs, options, outputs);
  for (const output of outputs) {
    if (!isFloat(output.dtype)) continue;
    output.node = node;
    output.requiresGrad = true;
  }
}

function withRecording<T>(on: boolean, fn: () => T): T {
  const before = tapeState.recording;
  tapeState.recording = on;
  try {
    return fn();
  } finally {
    tapeState.recording = before;
  }
}

/**
 * Runs `fn` without recording. Throws GradError for an async callback, which would run mostly outside.
 *
 * @example
 * ```ts
 * import { noGrad, tensor } from "bitgrad";
 *
 * const x = tensor([1, 2], { requiresGrad: true });
 * console.log(noGrad(() => x.mul(2)).requiresGrad); // false
 * ```
 */
export function noGrad<T>(fn: () => T): T {
  if (!isFunction(fn)) throw new GradError(`noGrad: expected a function, got ${show(fn)}`);
  const result = withRecording(false, fn);
  if (isThenable(result)) {
    throw new GradError(
      "noGrad: the callback must be synchronous, got a promise; wrap each synchronous part instead",
    );
  }
  return result;
}

/** Every node that `roots` depend on, latest first. */
function reachable(roots: readonly Tensor[], floor = -1): TapeNode[] {
  const seen = new Set<TapeNode>();
  const stack = [...roots];
  for (let t = stack.pop(); t; t = stack.pop()) {
    const { node } = t;
    if (node === null || node.sequence <= floor || seen.has(node)) continue;
    seen.add(node);
    for (const parent of node.parents) if (parent?.node) stack.push(parent);
  }
  return Array.from(seen).sort((a, b) => b.sequence - a.sequence);
}

interface PassOptions {
  createGraph: boolean;
  retainGraph: boolean;
}

/**
 * Walks the graph backward through every node later than `floor`; `emit` receives the gradients of the tensors that it
 * ends at. All of it happens before they are handed out, so that an error leaves no half of them behind.
 */
function pass(
  roots: readonly Tensor[],
  seeds: readonly Tensor[],
  { createGraph, retainGraph }: PassOptions,
  floor: number,
  emit: (tensor: Tensor, grad: Tensor) => void,
): void {
  const grads = new Map<Tensor, Tensor>();
  // How many gradients in the map lie in each block, so that one can go as soon as none does.
  const uses = new Map<Storage, number>();
  const count = ({ storage }: Tensor, change: number) => uses.set(storage, (uses.get(storage) ?? 0) + change);
  const release = mark();
  // Gradients that have served: the pass holds no more than it still needs.
  let served: (Tensor | null)[] = [];
  const releaseServed = () => {
    if (!createGraph) for (const grad of served) if (grad && !uses.get(grad.storage)) release(grad.storage);
    served = [];
  };
  const take = (tensor: Tensor): Tensor | null => {
    const grad = grads.get(tensor);
    if (!grad) return null;
    grads.delete(tensor);
    count(grad, -1);
    return grad;
  };
  const add = (tensor: Tensor, grad: Tensor) => {
    const before = take(tensor);
    const sum = before ? before.add(grad) : grad;
    grads.set(tensor, sum);
    count(sum, 1);
    if (before) served.push(before);
  };
  withRecording(createGraph, () => {
    roots.forEach((root, i) => {
      add(root, seeds[i]);
    });
    for (const node of reachable(roots, floor)) {
      const { op, outputs, parents, needs } = node;
      const incoming = outputs.map(take);
      if (incoming.every((g) => g === null)) continue;
      if (node.freed) {
        throw new GradError(
          `backward: the graph was already freed, got the result of ${op.name}; pass retainGraph: true to the first backward`,
        );
      }
      const rule = createGraph || op.fusedVjp === null ? op.vjp : op.fusedVjp;
      const result = rule!(incoming, node, node.options);
      if (result.length !== parents.length) {
        throw new GradError(
          `${op.name}: vjp must return one gradient an input, got ${result.length} for ${parents.length}`,
        );
      }
      for (let i = 0; i < result.length; i++) {
        const grad = result[i];
        const input = parents[i];
        if (grad && input && needs[i]) add(input, matched(op.name, grad, input));
      }
      if (!retainGraph) node.free();
      for (const grad of incoming) served.push(grad);
      for (const grad of result) served.push(grad);
      releaseServed();
    }
    for (const [tensor, grad] of grads) emit(tensor, grad);
  });
}

/** A gradient in its input's shape and dtype: sums what broadcasting repeated. */
function matched(op: string, grad: Tensor, input: Tensor): Tensor {
  let g = grad;
  if (!sameShape(g.shape, input.shape)) {
    if (!broadcastsTo(input.shape, g.shape)) {
      throw new GradError(
        `${op}: vjp returned a gradient of the wrong shape, got ${show(g.shape)} for ${show(input.shape)}`,
      );
    }
    g = g.sumTo(input.shape);
  }
  return g.dtype === input.dtype ? g : g.to(input.dtype);
}

const backwardDefaults = { retainGraph: false, createGraph: false };

export interface BackwardOptions {
  /** Keep the graph for a further backward; on when `createGraph` is. */
  retainGraph?: boolean;
  /** Record the gradient itself, so that it can be differentiated. */
  createGraph?: boolean;
}

/**
 * Adds d root / d leaf to `.grad` of every leaf that requires a gradient. A root that is not a single number needs
 * `gradient`, of its shape. Throws GradError when nothing was recorded or the graph is gone.
 *
 * @example
 * ```ts
 * import { backward, tensor } from "bitgrad";
 *
 * const x = tensor([1, 2], { requiresGrad: true });
 * backward(x.square().sum());
 * console.log(x.grad!.toArray()); // [2, 4]
 * ```
 */
export const backward = (
  root: Tensor,
  gradient?: Tensor | null | BackwardOptions,
  options?: BackwardOptions,
): void => backwardTo(own, root, gradient, options);

/** The same with what takes the gradients out of the scopes, `own` or `pin`. */
export function backwardTo(
  hold: (grad: Tensor) => Tensor,
  root: Tensor,
  gradient?: Tensor | null | BackwardOptions,
  options?: BackwardOptions,
): void {
  if (isPlainObject(gradient)) {
    options = gradient as BackwardOptions;
    gradient = undefined;
  }
  const { createGraph, retainGraph } = readOptions("backward", options, backwardDefaults);
  if (!isTensor(root)) throw new GradError(`backward: expected a tensor, got ${show(root)}`);
  if (!root.requiresGrad) {
    throw new GradError(
      "backward: nothing to differentiate, got a tensor that no requiresGrad leaf leads to; give a leaf { requiresGrad: true } and compute outside of noGrad",
    );
  }
  if (!gradient && root.size !== 1) {
    throw new GradError(
      `backward: only a single number has an implicit gradient, got ${show(root.shape)}; pass one of that shape`,
    );
  }
  const seed = gradient ? asTensor("backward", gradient, root.dtype) : onesLike(root);
  if (!sameShape(seed.shape, root.shape)) {
    throw new GradError(
      `backward: the gradient must have the shape of the tensor, got ${show(seed.shape)} for ${show(root.shape)}`,
    );
  }
  const settings = { createGraph, retainGraph: retainGraph || createGraph };
  const held = new Set<Storage>();
  pass([root], [seed], settings, -1, (leaf, grad) => {
    const sum = leaf.grad ? leaf.grad.add(grad) : grad;
    // An op may hand the same tensor to several leaves, or one that belongs to somebody else.
    const isOurs = sum !== grad || (sum !== gradient && sum.storage.frame !== null && !held.has(sum.storage));
    const own = createGraph || isOurs ? sum : copy(sum);
    held.add(own.storage);
    leaf.grad = hold(own);
  });
}

function onesLike(t: Tensor): Tensor {
  const ones = empty(t.shape, t.dtype, false);
  ones.data.fill(1);
  return ones;
}

function copy(t: Tensor): Tensor {
  const twin = empty(t.shape, t.dtype, false);
  twin.data.set(t.data);
  return twin;
}

/**
 * Gradients of `roots` with respect to `targets` (null where there is no path), leaving `.grad` alone. The walk ends at
 * nodes up to `floor`, the last made before the targets were used: what lies behind them stays as it is.
 */
export function gradients(
  roots: readonly Tensor[],
  seeds: readonly Tensor[],
  targets: readonly Tensor[],
  settings: PassOptions,
  floor: number,
): (Tensor | null)[] {
  const found = new Map<Tensor, Tensor>();
  pass(roots, seeds, settings, floor, (tensor, grad) => {
    found.set(tensor, grad);
  });
  return targets.map((t) => found.get(t) ?? null);
}

/** The number of the last node made. */
export const lastNode = (): number => tapeState.sequence - 1;

export { onesLike, reachable, tapeState, withRecording };
export const isDifferentiable = (value: unknown): value is Tensor => isTensor(value) && isFloat(value.dtype);
