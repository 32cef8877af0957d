/**
 * defineOp: what an op is. Every op passes through `dispatch`: shape and dtype rule, kernel, numeric check, tape.
 */

import { growing, growsBetween, settle } from "../../kernels/wasm/heap.ts";
import { vjp as vjpOf } from "../autograd.ts";
import { clear } from "../backend.ts";
import { undoing } from "../changes.ts";
import { type DType, isFloat, promote, type TypedArray } from "../dtype.ts";
import { BitgradError, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { checkShape, type Shape } from "../shape.ts";
import { shared } from "../state.ts";
import { type Differentiable, record, type Vjp, type VjpContext } from "../tape.ts";
import { asTensor, empty, isTensor, Tensor, type TensorLike } from "../tensor.ts";
import { placeholder, visitor } from "./shapes-only.ts";

export type Inputs = readonly (Tensor | null | undefined)[];
/** What a gradient rule returns: one gradient an input, null for none. */
export type Grads = readonly (Tensor | null)[];
type ShapeLike = Shape | { readonly shape: Shape };
export type Arity = number | readonly [least: number, most: number];

/** What an op's author writes. I: the tensor inputs, O: the options. */
export interface OpDefinition<I extends Inputs, O extends object> {
  /** The shape of the result; a tensor stands for its shape. Checks its inputs and throws ShapeError. */
  shape(inputs: I, options: O): ShapeLike;
  /** The dtype of the result. Default: what the inputs promote to. */
  dtype?(inputs: I, options: O): DType;
  /** Writes the result into `out`, zeroed unless the op `writesAll`. The reference: plain loops that sum in double. */
  forward(out: TypedArray, inputs: I, options: O, output: Tensor): void;
  /**
   * The gradient for each input, written in ops; null for none. Omit it where there is no gradient. Inside a scope `grad`
   * is released when the rule has run: `keep` what is to be looked at later.
   */
  vjp?(grad: Tensor, context: VjpContext<I>, options: O): Grads;
  /** A faster gradient for when nobody differentiates it again. */
  fusedVjp?(grad: Tensor, context: VjpContext<I>, options: O): Grads;
  /** A fused op's meaning in smaller ops: its gradient where that is differentiated again, and what tests hold it to. */
  composed?(inputs: I, options: O): Tensor;
  /** Option names with their defaults. Given, an unknown name is an error. */
  options?: O;
  /** How many tensors: a number, or the least and the most, those between left out or null. Default: 1 or more. */
  arity?: Arity;
  /** The result shares its input's memory; `forward` does not run. */
  view?: boolean;
  /** `forward` writes every element and reads none, so `out` may come with any content. */
  writesAll?: boolean;
}

/** The same for an op with several results. */
export interface MultiOpDefinition<I extends Inputs, O extends object>
  extends Omit<OpDefinition<I, O>, "shape" | "dtype" | "forward" | "vjp" | "fusedVjp" | "view"> {
  shape(inputs: I, options: O): readonly ShapeLike[];
  dtype?(inputs: I, options: O): readonly DType[];
  forward(outs: readonly TypedArray[], inputs: I, options: O): void;
  vjp?(grads: readonly (Tensor | null)[], context: VjpContext<I>, options: O): Grads;
  fusedVjp?(
    grads: readonly (Tensor | null)[],
    context: VjpContext<I>,
    options: O,
  ): readonly (Tensor | null)[];
}

/** An op as the machinery sees it. */
export interface OpRules extends Differentiable {
  shapes(inputs: Inputs, options: object): readonly Shape[];
  dtypes(inputs: Inputs, options: object): readonly DType[] | null;
  forward(outs: readonly TypedArray[], inputs: Inputs, options: object, outputs: readonly Tensor[]): void;
  readonly options: object | null;
  /** The fewest and the most tensors. */
  readonly arity: readonly [least: number, most: number];
  readonly view: boolean;
  readonly writesAll: boolean;
  readonly composed: ((inputs: Inputs, options: object) => Tensor) | null;
}

type Likes<I extends Inputs> = { [K in keyof I]: TensorLike | Extract<I[K], null | undefined> };
type Args<I extends Inputs, O extends object> = [...tensors: Likes<I>, options?: Partial<O>];

export interface Op<I extends Inputs, O extends object, R> {
  (...args: Args<I, O>): R;
  readonly rules: OpRules;
}

const toShape = (op: string, value: ShapeLike): Shape =>
  Array.isArray(value) ? checkShape(op, value) : (value as { shape: Shape }).shape;

/**
 * Adds an op: `clip(x, { min, max })` after `const clip = defineOp<[x: Tensor], { min: number; max: number }>("clip", …)`.
 * Called with tensors (or numbers and arrays that stand for them) first and one options object last. It is recorded,
 * broadcast gradients are summed back, and gradients of gradients work, because `vjp` is written in ops.
 *
 * @example
 * ```ts
 * import { defineOp, type Tensor, tensor } from "bitgrad";
 *
 * const cube = defineOp<[x: Tensor], object>("cube", {
 *   shape: ([x]) => x,
 *   forward(out, [x]) {
 *     for (let i = 0; i < out.length; i++) out[i] = x.data[i] ** 3;
 *   },
 *   vjp: (grad, { inputs: [x] }) => [grad.mul(x.square()).mul(3)],
 * });
 * const x = tensor([1, 2], { requiresGrad: true });
 * cube(x).sum().backward();
 * console.log(x.grad!.toArray()); // [3, 12]
 * ```
 */
export function defineOp<I extends Inputs, O extends object = object>(
  name: string,
  definition: OpDefinition<I, O>,
): Op<I, O, Tensor> {
  checkDefinition(name, definition);
  const { shape, dtype, forward, vjp, fusedVjp } = definition as unknown as OpDefinition<Inputs, object>;
  const single = (rule: typeof vjp): Vjp | null =>
    rule ? (grads, context, options) => rule(grads[0]!, context as VjpContext<Inputs>, options) : null;
  return bind(
    {
      ...common(name, definition),
      shapes: (inputs, options) => [toShape(name, shape(inputs, options))],
      dtypes: (inputs, options) => (dtype ? [dtype(inputs, options)] : null),
      forward: (outs, inputs, options, outputs) => forward(outs[0], inputs, options, outputs[0]),
      vjp: single(vjp) ?? through(definition.composed),
      fusedVjp: single(fusedVjp),
      view: definition.view ?? false,
    },
    (outputs) => outputs[0],
  );
}

/**
 * Adds an op with several results, for a kernel that makes them in one pass.
 *
 * @example
 * ```ts
 * import { defineMultiOp, type Tensor, tensor } from "bitgrad";
 *
 * const sinCos = defineMultiOp<[x: Tensor]>("sinCos", {
 *   shape: ([x]) => [x.shape, x.shape],
 *   forward: ([sin, cos], [x]) => {
 *     x.data.forEach((value, i) => {
 *       sin[i] = Math.sin(value);
 *       cos[i] = Math.cos(value);
 *     });
 *   },
 * });
 * const [sin, cos] = sinCos(tensor([0, 1]));
 * console.log(sin.toArray(), cos.toArray()); // [0, 0.841] [1, 0.540]
 * ```
 */
export function defineMultiOp<I extends Inputs, O extends object = object>(
  name: string,
  definition: MultiOpDefinition<I, O>,
): Op<I, O, readonly Tensor[]> {
  checkDefinition(name, definition);
  const { shape, dtype, forward, vjp, fusedVjp } = definition as unknown as MultiOpDefinition<Inputs, object>;
  return bind(
    {
      ...common(name, definition),
      shapes: (inputs, options) => shape(inputs, options).map((s) => toShape(name, s)),
      dtypes: (inputs, options) => dtype?.(inputs, options) ?? null,
      forward: (outs, inputs, options) => forward(outs, inputs, options),
      vjp: (vjp as Vjp | undefined) ?? through(definition.composed),
      fusedVjp: (fusedVjp as Vjp | undefined) ?? null,
      view: false,
    },
    (outputs) => outputs,
  );
}

function checkDefinition(name: unknown, definition: unknown): void {
  if (typeof name !== "string" || name === "")
    throw new OptionError(`defineOp: needs a name, got ${show(name)}`);
  const { shape, forward } = (definition ?? {}) as { shape?: unknown; forward?: unknown };
  if (typeof shape !== "function" || typeof forward !== "function") {
    throw new OptionError(`defineOp: ${name} needs the functions shape and forward, got ${show(definition)}`);
  }
}

const common = (
  name: string,
  {
    options,
    arity = [1, Number.POSITIVE_INFINITY],
    composed,
    writesAll = false,
  }: { options?: object; arity?: Arity; composed?: unknown; writesAll?: boolean },
) => ({
  name,
  options: options ?? null,
  writesAll,
  arity: typeof arity === "number" ? ([arity, arity] as const) : arity,
  composed: (composed as OpRules["composed"]) ?? null,
});

/** The gradient of a composition, in ops. */
function through(composed: unknown): Vjp | null {
  if (!composed) return null;
  return (grads, { inputs }, options) => {
    const f = (twins: Inputs) => (composed as NonNullable<OpRules["composed"]>)(twins, options);
    return vjpOf(f)(inputs)[1](grads[0]!) as (Tensor | null)[];
  };
}

function bind<I extends Inputs, O extends object, R>(
  op: OpRules,
  pick: (outputs: readonly Tensor[]) => R,
): Op<I, O, R> {
  const call = (...args: unknown[]): R => {
    const last = args[args.length - 1];
    // Callers that hand their own optional options on may hand on undefined.
    const none = last === undefined && args.length > op.arity[1];
    const given = isPlainObject(last) || none ? (args.pop() as object | undefined) : undefined;
    const options = op.options ? readOptions(op.name, given, op.options) : (given ?? {});
    return pick(dispatch(op, toInputs(op, args), options));
  };
  return Object.assign(call, { rules: op }) as unknown as Op<I, O, R>;
}

const tensors = (n: number): string => `${n} tensor${n > 1 ? "s" : ""}`;

/** Tensors for the arguments; plain numbers take the dtype that the tensors beside them promote to. */
function toInputs(op: OpRules, args: readonly unknown[]): Inputs {
  const [least, most] = op.arity;
  if (args.length < least) throw new OptionError(`${op.name}: needs ${tensors(least)}, got ${args.length}`);
  if (args.length > most) {
    const [name] = Object.keys(op.options ?? {});
    const extra = show(args[most]);
    throw new OptionError(
      name && !isTensor(args[most])
        ? `${op.name}: options must be an object such as { ${name}: ${extra} }, got ${extra}`
        : `${op.name}: takes at most ${tensors(most)}, got ${extra} too`,
    );
  }
  if (args.every(isTensor)) return args;
  let dtype: DType | undefined;
  for (const arg of args) if (isTensor(arg)) dtype = dtype ? promote(dtype, arg.dtype) : arg.dtype;
  return args.map((arg, i) => {
    if ((arg === null || arg === undefined) && i >= least) return null;
    return asTensor(op.name, arg, typeof arg === "number" ? scalarType(arg, dtype) : undefined);
  });
}

function scalarType(value: number, beside: DType | undefined): DType {
  if (beside === undefined) return "float32";
  if (isFloat(beside)) return beside;
  if (!Number.isInteger(value)) return "float32";
  return fits(value, beside) ? beside : "int32";
}

const fits = (value: number, dtype: DType): boolean =>
  dtype === "int32" ||
  (dtype === "int8" && value >= -128 && value <= 127) ||
  (dtype === "uint8" && value >= 0 && value <= 255) ||
  (dtype === "uint32" && value >= 0);

const numerics = shared("numerics", () => ({ on: false }));

/**
 * Turns on a check after every op that throws at the first one to make a NaN out of inputs that hold none.
 *
 * @example
 * ```ts
 * import { checkNumerics, tensor } from "bitgrad";
 *
 * checkNumerics(true);
 * try {
 *   tensor([-1]).log().mean();
 * } catch (error) {
 *   console.log((error as Error).message); // log: made a NaN from inputs without any, got inputs of shapes (1)
 * }
 * checkNumerics(false);
 * ```
 */
export function checkNumerics(on: boolean): void {
  if (typeof on !== "boolean") {
    throw new OptionError(`checkNumerics: must be true or false, got ${show(on)}`);
  }
  numerics.on = on;
}

/** Runs one op: the only way from inputs to outputs, so that it can be traced, served by a backend, and checked. */
export function dispatch(op: OpRules, inputs: Inputs, options: object): readonly Tensor[] {
  settle();
  const shapes = op.shapes(inputs, options);
  const dtypes = op.dtypes(inputs, options);
  const visit = visitor();
  const outputs: Tensor[] = [];
  if (op.view) {
    const source = inputs[0]!;
    outputs.push(new Tensor(source.storage, shapes[0], source.dtype));
  } else {
    for (let i = 0; i < shapes.length; i++) {
      const dtype = dtypes?.[i] ?? promoteAll(inputs);
      outputs.push(visit ? placeholder(shapes[i], dtype) : empty(shapes[i], dtype, !op.writesAll));
    }
  }
  if (!op.view && !visit) {
    if (growsBetween()) growing((again) => undoing(() => forward(op, inputs, options, outputs, again)));
    else forward(op, inputs, options, outputs, false);
    if (numerics.on) checkOutputs(op.name, inputs, outputs);
  }
  record(op, inputs as readonly (Tensor | null)[], options, outputs);
  visit?.(op.name, inputs, options, outputs);
  return outputs;
}

function forward(
  op: OpRules,
  inputs: Inputs,
  options: object,
  outputs: readonly Tensor[],
  again: boolean,
): void {
  const outs = outputs.map((t) => t.data);
  if (again && !op.writesAll) for (const out of outs) clear(out);
  op.forward(outs, inputs, options, outputs);
}

function promoteAll(inputs: Inputs): DType {
  let dtype: DType | undefined;
  for (const input of inputs) if (input) dtype = dtype ? promote(dtype, input.dtype) : input.dtype;
  return dtype ?? "float32";
}

const hasNaN = (t: Tensor | null | undefined): boolean => {
  if (!t || !isFloat(t.dtype)) return false;
  const { data } = t;
  for (let i = 0; i < data.length; i++) if (Number.isNaN(data[i])) return true;
  return false;
};

function checkOutputs(op: string, inputs: Inputs, outputs: readonly Tensor[]): void {
  if (!outputs.some(hasNaN) || inputs.some(hasNaN)) return;
  throw new BitgradError(
    `${op}: made a NaN from inputs without any, got inputs of shapes ${inputs.map((t) => (t ? show(t.shape) : "none")).join(", ")}`,
    "NUMERICS",
  );
}
