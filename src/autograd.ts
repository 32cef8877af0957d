/** Gradients of functions: grad, valueAndGrad, vjp, hvp and checkpoint, over the tape. */

import { changing, repeatable } from "./changes.ts";
import { GradError, isFunction, isPlainObject, isThenable, readOptions, ShapeError, show } from "./errors.ts";
import { defaultRng, saveDefault } from "./random/default.ts";
import { defaultStream } from "./random/threefry.ts";
import { sameShape } from "./shape.ts";
import { scope } from "./storage.ts";
import {
  gradients,
  isDifferentiable,
  isRecording,
  lastNode,
  onesLike,
  reachable,
  record,
  tapeState,
  type Vjp,
  withRecording,
} from "./tape.ts";
import { asTensor, empty, isTensor, type Tensor } from "./tensor.ts";

/** A tensor, or an array or object of them, nested at will. What is not a float tensor is passed through. */
export type Tree = unknown;

/** The gradient of a tree: the same form, with null where there is no float tensor. */
export type GradOf<T> = T extends Tensor
  ? Tensor
  : T extends readonly unknown[]
    ? { [K in keyof T]: GradOf<T[K]> }
    : T extends (...args: never[]) => unknown
      ? null
      : T extends object
        ? { [K in keyof T]: GradOf<T[K]> }
        : null;

/** One argument's gradient, or the list of them for several arguments. */
export type GradsOf<A extends readonly unknown[]> = A extends readonly [infer T]
  ? GradOf<T>
  : { [K in keyof A]: GradOf<A[K]> };

function mapTree(tree: Tree, leaf: (t: Tensor) => unknown, other: (value: unknown) => unknown): unknown {
  if (isDifferentiable(tree)) return leaf(tree);
  if (Array.isArray(tree)) return tree.map((item) => mapTree(item, leaf, other));
  if (isPlainObject(tree)) {
    return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, mapTree(item, leaf, other)]));
  }
  return other(tree);
}

function checkFunction(op: string, f: unknown): void {
  if (!isFunction(f)) throw new GradError(`${op}: expected a function, got ${show(f)}`);
}

/** Runs `f` on fresh leaves that stand for its arguments, linked to them so that gradients nest. */
function trace<A extends readonly unknown[], R>(op: string, f: (...x: A) => R, x: A) {
  const leaves: Tensor[] = [];
  let linked = tapeState.depth > 0;
  const twin = (t: Tensor) => {
    linked ||= t.requiresGrad;
    const leaf = t.reshape(t.shape);
    leaf.requiresGrad = true;
    leaves.push(leaf);
    return leaf;
  };
  return withRecording(true, () => {
    const twins = mapTree(x, twin, (value) => value) as A;
    if (leaves.length === 0)
      throw new GradError(`${op}: no argument holds a float tensor, got ${show([...x])}`);
    const floor = lastNode();
    tapeState.depth++;
    try {
      const value = f(...twins);
      if (isThenable(value)) throw new GradError(`${op}: the function must be synchronous, got a promise`);
      return { value, leaves, linked, floor };
    } finally {
      tapeState.depth--;
    }
  });
}

/** Puts the gradients back in the form of the arguments. */
function arrange<A extends readonly unknown[]>(
  x: A,
  grads: readonly (Tensor | null)[],
  leaves: readonly Tensor[],
): GradsOf<A> {
  let i = 0;
  const next = () => {
    const k = i++;
    return grads[k] ?? empty(leaves[k].shape, leaves[k].dtype);
  };
  const all = x.map((tree) => mapTree(tree, next, () => null));
  return (x.length === 1 ? all[0] : all) as GradsOf<A>;
}

export interface GradOptions {
  /** Record the gradient, so that `backward` can differentiate it further. Nested `grad` calls do so by themselves. */
  createGraph?: boolean;
}

/**
 * `valueAndGrad(f)(...x)` is `{ value, grad }`: f's value, a single number, and its gradient with respect to its arguments.
 * One argument's gradient has that argument's form (a tensor, array or object of tensors); several arguments give a list.
 *
 * @example
 * ```ts
 * import { type Tensor, tensor, valueAndGrad } from "bitgrad";
 *
 * const loss = valueAndGrad((at: { w: Tensor; b: Tensor }) => at.w.square().sum().add(at.b.mul(3)));
 * const { value, grad } = loss({ w: tensor([1, -2]), b: tensor(4) });
 * console.log(value.item(), grad.w.toArray(), grad.b.item()); // 17 [2, -4] 3
 * ```
 */
export const valueAndGrad = <A extends readonly unknown[]>(f: (...x: A) => Tensor, options?: GradOptions) =>
  gradientOf("valueAndGrad", f, options);

function gradientOf<A extends readonly unknown[]>(op: string, f: (...x: A) => Tensor, options?: GradOptions) {
  checkFunction(op, f);
  const { createGraph } = readOptions(op, options, { createGraph: false });
  return (...x: A): { value: Tensor; grad: GradsOf<A> } => {
    const { value, leaves, linked, floor } = trace("grad", f, x);
    if (!isTensor(value) || value.size !== 1) {
      throw new GradError(
        `grad: the function must return a single number, got ${show(value)}; reduce it, for example with sum()`,
      );
    }
    const settings = {
      createGraph: createGraph || (linked && isRecording()),
      retainGraph: createGraph || linked,
    };
    const grads = value.requiresGrad
      ? gradients([value], [onesLike(value)], leaves, settings, floor)
      : leaves.map(() => null);
    return { value: linked || createGraph ? value : value.detach(), grad: arrange(x, grads, leaves) };
  };
}

/**
 * The gradient function of `f`: see `valueAndGrad`. Nests, for gradients of gradients.
 *
 * @example
 * ```ts
 * import { grad, type Tensor, tensor } from "bitgrad";
 *
 * const slope = grad((x: Tensor) => x.pow(3).sum());
 * console.log(slope(tensor([1, 2])).toArray()); // [3, 12]
 * console.log(grad((x: Tensor) => slope(x).sum())(tensor([1, 2])).toArray()); // [6, 12]
 * ```
 */
export function grad<A extends readonly unknown[]>(f: (...x: A) => Tensor, options?: GradOptions) {
  const both = gradientOf("grad", f, options);
  return (...x: A): GradsOf<A> => both(...x).grad;
}

/**
 * Vector-Jacobian product: `vjp(f)(...x)` is `[value, pullback]`, where `pullback(v)` is vᵀJ in the form that `grad` gives,
 * for v of the value's shape. The pullback may be called again and again.
 *
 * @example
 * ```ts
 * import { type Tensor, tensor, vjp } from "bitgrad";
 *
 * const [value, pullback] = vjp((x: Tensor) => x.square())(tensor([1, 2]));
 * console.log(value.toArray(), pullback(tensor([1, 10])).toArray()); // [1, 4] [2, 40]
 * ```
 */
export function vjp<A extends readonly unknown[]>(f: (...x: A) => Tensor) {
  checkFunction("vjp", f);
  return (...x: A): [value: Tensor, pullback: (v: Tensor) => GradsOf<A>] => {
    const { value, leaves, linked, floor } = trace("vjp", f, x);
    if (!isTensor(value)) throw new GradError(`vjp: the function must return a tensor, got ${show(value)}`);
    const pullback = (v: Tensor) => {
      const seed = asTensor("vjp", v, value.dtype);
      if (!sameShape(seed.shape, value.shape)) {
        throw new ShapeError(
          `vjp: the vector must have the shape of the value, got ${show(seed.shape)} for ${show(value.shape)}`,
        );
      }
      const settings = { createGraph: linked && isRecording(), retainGraph: true };
      const grads = value.requiresGrad
        ? gradients([value], [seed], leaves, settings, floor)
        : leaves.map(() => null);
      return arrange(x, grads, leaves);
    };
    return [linked ? value : value.detach(), pullback];
  };
}

/**
 * Hessian-vector product of a scalar function of one tensor: `hvp(f)(x, v)` is ∇²f(x)·v, by a gradient of a gradient.
 *
 * @example
 * ```ts
 * import { hvp, type Tensor, tensor } from "bitgrad";
 *
 * console.log(hvp((x: Tensor) => x.pow(3).sum())(tensor([1, 2]), tensor([1, 0])).toArray()); // [6, 0]
 * ```
 */
export function hvp(f: (x: Tensor) => Tensor) {
  checkFunction("hvp", f);
  return (x: Tensor, v: Tensor): Tensor => {
    const direction = asTensor("hvp", v);
    const { shape } = asTensor("hvp", x);
    if (!sameShape(direction.shape, shape)) {
      throw new ShapeError(
        `hvp: the vector must have the shape of the argument, got ${show(direction.shape)} for ${show(shape)}`,
      );
    }
    return grad((y: Tensor) => grad(f)(y).mul(direction).sum())(x);
  };
}

/**
 * `checkpoint(f)(...x)` is `f(...x)` without keeping its intermediates: backward runs f again. Tensors that f captures get
 * their gradients too. Its second run draws the same numbers, whichever generator it draws from, and changes nothing: running
 * statistics move once. Tensors made in f live until it returns, as in a scope; what would keep them, taps and captures, is
 * refused, and so is a cache of keys.
 * Chen et al., 2016, arXiv:1604.06174.
 *
 * @example
 * ```ts
 * import { checkpoint, randn, type Tensor } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 *
 * const layer = new Linear(8, 8);
 * const block = checkpoint((x: Tensor) => layer.forward(x).gelu());
 * block(randn([4, 8])).sum().backward();
 * console.log(layer.weight.grad!.shape); // [8, 8]
 * ```
 */
export function checkpoint<A extends readonly unknown[]>(f: (...x: A) => Tensor) {
  checkFunction("checkpoint", f);
  return (...x: A): Tensor => {
    if (!isRecording()) return f(...x);
    defaultRng();
    const floor = lastNode();
    const run = () => {
      // Named, so that the second run draws from the same default generator.
      changing(defaultStream, saveDefault);
      return f(...x);
    };
    const [value, again] = scope(() => repeatable(run), { name: "checkpoint" });
    if (isThenable(value)) throw new GradError("checkpoint: the function must be synchronous, got a promise");
    if (!isTensor(value))
      throw new GradError(`checkpoint: the function must return a tensor, got ${show(value)}`);
    const isOutside = (t: Tensor) => t.node === null || t.node.sequence <= floor;
    if (!value.requiresGrad || isOutside(value)) return value;
    // What the inner graph reads from outside: arguments and captured tensors.
    const external = new Set<Tensor>();
    for (const node of reachable([value], floor)) {
      for (const input of node.parents) if (input?.requiresGrad && isOutside(input)) external.add(input);
      node.free();
    }
    const result = value.detach();
    const rule =
      (createGraph: boolean): Vjp =>
      ([seed], { inputs }) => {
        const start = lastNode();
        const run = () =>
          gradients(
            [withRecording(true, again)],
            [seed!],
            inputs as Tensor[],
            { createGraph, retainGraph: createGraph },
            start,
          );
        return createGraph ? run() : scope(run, { name: "checkpoint" });
      };
    record({ name: "checkpoint", vjp: rule(true), fusedVjp: rule(false) }, [...external], {}, [result]);
    return result;
  };
}
