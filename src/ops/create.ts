/** Tensors from nothing: constants, ranges and random draws. */

import {
  type ArrayOf,
  convertArray,
  type DType,
  type FloatArray,
  isDType,
  isFloat,
  newArray,
} from "../dtype.ts";
import { checkInteger, checkShare, DTypeError, OptionError, readOptions, show } from "../errors.ts";
import { writeSinusoids } from "../packed/layers/positions.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { checkShape, type Shape, sizeOf } from "../shape.ts";
import { asTensor, empty, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { placeholder, visitor } from "./shapes-only.ts";

export interface CreateOptions<D extends DType = DType> {
  dtype: D;
  requiresGrad: boolean;
}

export interface DrawOptions<D extends DType = DType> extends CreateOptions<D> {
  /** Draws from here instead of the default generator. */
  rng: Rng | null;
}

function read<O extends CreateOptions>(op: string, given: Partial<O> | undefined, defaults: O): O {
  const options = readOptions(op, given, defaults);
  if (!isDType(options.dtype)) throw new DTypeError(`${op}: unknown dtype, got ${show(options.dtype)}`);
  return options;
}

const plain: CreateOptions = { dtype: "float32", requiresGrad: false };
const drawn: DrawOptions = { ...plain, rng: null };

/** `options` said which dtype, so D is that of `t`. */
function finish<D extends DType>(t: Tensor, { requiresGrad }: CreateOptions): Tensor<D> {
  if (requiresGrad) t.requiresGrad = true;
  return t as Tensor<D>;
}

/**
 * Every element 0.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 *
 * console.log(zeros([2, 2], { dtype: "int32" }).toArray()); // [[0, 0], [0, 0]]
 * ```
 */
export function zeros<D extends DType = "float32">(
  shape: Shape,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  return filled("zeros", shape, 0, options);
}

/**
 * Every element 1.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 *
 * console.log(ones([3]).toArray()); // [1, 1, 1]
 * ```
 */
export function ones<D extends DType = "float32">(
  shape: Shape,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  return filled("ones", shape, 1, options);
}

/**
 * Every element `value`.
 *
 * @example
 * ```ts
 * import { full } from "bitgrad";
 *
 * console.log(full([3], 0.5).toArray()); // [0.5, 0.5, 0.5]
 * ```
 */
export function full<D extends DType = "float32">(
  shape: Shape,
  value: number,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  if (typeof value !== "number")
    throw new OptionError(`full: the value must be a number, got ${show(value)}`);
  return filled("full", shape, value, options);
}

/** A tensor that `write` fills, from zeros; without numbers where there are only shapes. */
function written<D extends DType>(shape: Shape, dtype: D, write: (data: ArrayOf<D>) => void): Tensor<D> {
  if (visitor()) return placeholder(shape, dtype);
  const t = empty(shape, dtype);
  write(t.data);
  return t;
}

function filled<D extends DType>(
  op: string,
  shape: Shape,
  value: number,
  options?: Partial<CreateOptions<D>>,
): Tensor<D> {
  const sizes = checkShape(op, shape);
  const settings = read(op, options, plain);
  const first = convertArray(op, [value], settings.dtype)[0];
  const t = written(sizes, settings.dtype, (data) => {
    if (value !== 0) data.fill(first);
  });
  return finish(t, settings);
}

/**
 * start, start + step, … below stop (above it for a negative step). With one argument, 0 to stop.
 *
 * @example
 * ```ts
 * import { arange } from "bitgrad";
 *
 * console.log(arange(3).toArray(), arange(1, 2, 0.5).toArray()); // [0, 1, 2] [1, 1.5]
 * ```
 */
export function arange<D extends DType = "float32">(
  start: number,
  stop?: number,
  step = 1,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (![from, to, step].every(Number.isFinite) || step === 0) {
    throw new OptionError(
      `arange: needs finite bounds and a step other than 0, got ${show(from)}, ${show(to)} and ${show(step)}`,
    );
  }
  const settings = read("arange", options, plain);
  const n = Math.max(0, Math.ceil((to - from) / step));
  const shape = checkShape("arange", [n]);
  if (visitor()) return finish(placeholder(shape, settings.dtype), settings);
  const values = newArray("float64", n);
  for (let i = 0; i < n; i++) values[i] = from + i * step;
  return finish(wrap(convertArray("arange", values, settings.dtype), [n], settings.dtype), settings);
}

/**
 * `count` numbers from start to stop, both included.
 *
 * @example
 * ```ts
 * import { linspace } from "bitgrad";
 *
 * console.log(linspace(0, 1, 5).toArray()); // [0, 0.25, 0.5, 0.75, 1]
 * ```
 */
export function linspace<D extends DType = "float32">(
  start: number,
  stop: number,
  count: number,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  if (!Number.isFinite(start) || !Number.isFinite(stop))
    throw new OptionError(`linspace: needs finite bounds, got ${show(start)} and ${show(stop)}`);
  checkInteger("linspace", "the count", count, 0);
  const shape = checkShape("linspace", [count]);
  const settings = read("linspace", options, plain);
  if (visitor()) return finish(placeholder(shape, settings.dtype), settings);
  const values = newArray("float64", count);
  // From both ends, so that the last one is stop exactly.
  for (let i = 0; i < count; i++) {
    values[i] =
      i < count / 2
        ? start + (i === 0 ? 0 : (i * (stop - start)) / (count - 1))
        : stop - ((count - 1 - i) * (stop - start)) / (count - 1);
  }
  return finish(wrap(convertArray("linspace", values, settings.dtype), [count], settings.dtype), settings);
}

/**
 * Ones on the diagonal of an (n, m) matrix; square without m.
 *
 * @example
 * ```ts
 * import { eye } from "bitgrad";
 *
 * console.log(eye(2).toArray()); // [[1, 0], [0, 1]]
 * ```
 */
export function eye<D extends DType = "float32">(
  n: number,
  m: number = n,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  const settings = read("eye", options, plain);
  const t = written(checkShape("eye", [n, m]), settings.dtype, (data) => {
    for (let i = 0; i < Math.min(n, m); i++) data[i * m + i] = 1;
  });
  return finish(t, settings);
}

function draw<D extends DType>(
  op: string,
  shape: Shape,
  options: Partial<DrawOptions<D>> | undefined,
  fill: (rng: Rng, out: Float32Array | Float64Array) => void,
): Tensor<D> {
  const sizes = checkShape(op, shape);
  const settings = read<DrawOptions>(op, options, drawn);
  if (!isFloat(settings.dtype))
    throw new DTypeError(`${op}: draws floats, got ${settings.dtype}; use randint`);
  const t = written(sizes, settings.dtype, (data) => {
    fill(settings.rng ?? defaultRng(), data as unknown as Float32Array);
  });
  return finish(t, settings);
}

/**
 * Uniform in [0, 1).
 *
 * @example
 * ```ts
 * import { Rng, rand } from "bitgrad";
 *
 * console.log(rand([2, 3], { rng: new Rng(1) }).less(1).all().item()); // 1
 * ```
 */
export const rand = <D extends DType = "float32">(
  shape: Shape,
  options?: Partial<DrawOptions<D>>,
): Tensor<NoInfer<D>> => draw("rand", shape, options, (rng, out) => rng.fillUniform(out, 0, 1));

/**
 * Standard normal.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 *
 * console.log(randn([2, 3], { rng: new Rng("weights") }).shape); // [2, 3]
 * ```
 */
export const randn = <D extends DType = "float32">(
  shape: Shape,
  options?: Partial<DrawOptions<D>>,
): Tensor<NoInfer<D>> => draw("randn", shape, options, (rng, out) => rng.fillNormal(out, 0, 1));

/**
 * Integers from `low` up to and without `high`, as int32.
 *
 * @example
 * ```ts
 * import { Rng, randint } from "bitgrad";
 *
 * const dice = randint(1, 7, [100], { rng: new Rng(1) });
 * console.log(dice.dtype, dice.min().item(), dice.max().item()); // int32 1 6
 * ```
 */
export function randint<D extends DType = "int32">(
  low: number,
  high: number,
  shape: Shape,
  options?: Partial<Omit<DrawOptions<D>, "requiresGrad">>,
): Tensor<NoInfer<D>> {
  const { dtype, rng } = read<DrawOptions>("randint", options, { ...drawn, dtype: "int32" });
  const sizes = checkShape("randint", shape);
  if (
    !(Number.isInteger(low) && Number.isInteger(high) && -(2 ** 31) <= low && low < high && high <= 2 ** 31)
  ) {
    throw new OptionError(
      `randint: bounds must be integers of int32 with low below high, got ${show(low)} and ${show(high)}`,
    );
  }
  // Before anything is drawn.
  if (dtype !== "int32") convertArray("randint", [low, high - 1], dtype);
  if (visitor()) return placeholder(sizes, dtype) as Tensor<D>;
  const values = newArray("int32", sizeOf(sizes));
  (rng ?? defaultRng()).fillInt(values, low, high);
  return wrap(dtype === "int32" ? values : convertArray("randint", values, dtype), sizes, dtype) as Tensor<D>;
}

/**
 * True with probability p, as bool.
 *
 * @example
 * ```ts
 * import { bernoulli } from "bitgrad";
 *
 * console.log(bernoulli(1, [2]).toArray()); // [true, true]
 * ```
 */
export function bernoulli(p: number, shape: Shape, options?: { rng?: Rng | null }): Tensor<"bool"> {
  const { rng } = readOptions("bernoulli", options, { rng: null as Rng | null });
  checkShare("bernoulli", "p", p);
  return written(checkShape("bernoulli", shape), "bool", (out) =>
    (rng ?? defaultRng()).fillBernoulli(out, p),
  );
}

export interface DropoutOptions {
  /** The share of elements set to 0; default 0.5. */
  p: number;
  /** Off: x passes unchanged; default true. */
  training: boolean;
  rng: Rng | null;
}

/** Sets a random share p of the elements to 0 and scales the rest by 1/(1 − p). Srivastava et al., 2014. */
export function dropout(x: TensorLike, options?: Partial<DropoutOptions>): Tensor {
  x = asTensor("dropout", x);
  const { p, training, rng } = readOptions<DropoutOptions>("dropout", options, {
    p: 0.5,
    training: true,
    rng: null,
  });
  checkShare("dropout", "p", p);
  if (!training || p === 0) return x;
  if (p === 1) return x.mul(0);
  return x.mul(bernoulli(1 - p, x.shape, { rng })).mul(1 / (1 - p));
}

/**
 * (length, size): sin at even and cos at odd columns of position/10000^(2i/size). Vaswani et al., 2017, arXiv:1706.03762.
 *
 * @example
 * ```ts
 * import { sinusoidalPositions } from "bitgrad";
 *
 * console.log(sinusoidalPositions(2, 2).toArray()); // [[0, 1], [0.841, 0.540]]
 * ```
 */
export function sinusoidalPositions<D extends DType = "float32">(
  length: number,
  size: number,
  options?: Partial<CreateOptions<D>>,
): Tensor<NoInfer<D>> {
  const settings = read("sinusoidalPositions", options, plain);
  const shape = checkShape("sinusoidalPositions", [length, size]);
  if (!isFloat(settings.dtype))
    throw new DTypeError(`sinusoidalPositions: needs a float dtype, got ${settings.dtype}`);
  const t = written(shape, settings.dtype, (data) => writeSinusoids(data as FloatArray, size, 0));
  return finish(t, settings);
}
