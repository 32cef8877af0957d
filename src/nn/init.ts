/**
 * Initialisers: each fills a parameter (or buffer) in place and returns it, PyTorch's defaults throughout. Draws come from
 * `rng`, or from the default generator. What was made inside `withoutData` passes unchanged and nothing is drawn.
 */

import { erf } from "../../kernels/elementwise/special.ts";
import { normalQuantile } from "../../kernels/random/quantile.ts";
import type { FloatArray } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { checkShape, type Shape, sizeOf } from "../shape.ts";
import { drawing, hasData } from "./blank.ts";
import { isParameter, type Parameter } from "./parameter.ts";

export interface RngOption {
  /** Draws from here instead of the default generator. */
  rng: Rng | null;
}

function fill(parameter: Parameter, write: (data: FloatArray) => void): Parameter {
  shapeOf(parameter);
  if (hasData(parameter.value)) parameter.update(write);
  return parameter;
}

function shapeOf(parameter: Parameter): Shape {
  if (!isParameter(parameter)) throw new OptionError(`init: expected a parameter, got ${show(parameter)}`);
  return parameter.shape;
}

/** `fill` by random numbers; nothing inside `withoutDraws`. */
const draw: typeof fill = (parameter, write) => (drawing() ? fill(parameter, write) : parameter);

const source = (rng: Rng | null): Rng => rng ?? defaultRng();

export const zeros = (parameter: Parameter): Parameter => constant(parameter, 0);

export const ones = (parameter: Parameter): Parameter => constant(parameter, 1);

/** Every element `value`. */
export function constant(parameter: Parameter, value: number): Parameter {
  if (typeof value !== "number" || Number.isNaN(value)) {
    throw new OptionError(`init.constant: the value must be a number, got ${show(value)}`);
  }
  return fill(parameter, (data) => data.fill(value));
}

/** Uniform in [low, high), default [0, 1). */
export function uniform(
  parameter: Parameter,
  options?: Partial<{ low: number; high: number } & RngOption>,
): Parameter {
  const { low, high, rng } = readOptions("init.uniform", options, {
    low: 0,
    high: 1,
    rng: null as Rng | null,
  });
  if (!(low <= high && high - low < Infinity)) {
    throw new OptionError(
      `init.uniform: low must not be above high, both finite, got ${show(low)} and ${show(high)}`,
    );
  }
  return draw(parameter, (data) => source(rng).fillUniform(data, low, high));
}

/** Normal, default mean 0 and standard deviation 1. */
export function normal(
  parameter: Parameter,
  options?: Partial<{ mean: number; std: number } & RngOption>,
): Parameter {
  const { mean, std, rng } = readOptions("init.normal", options, {
    mean: 0,
    std: 1,
    rng: null as Rng | null,
  });
  if (!(Number.isFinite(mean) && std >= 0 && std < Infinity)) {
    throw new OptionError(
      `init.normal: mean and std must be finite, and std not negative, got ${show(mean)} and ${show(std)}`,
    );
  }
  return draw(parameter, (data) => source(rng).fillNormal(data, mean, std));
}

/**
 * Normal, cut to [low, high] (absolute values, as in PyTorch; default −2 and 2) by the inverse of the distribution
 * function. Throws OptionError where the interval is empty or holds no probability.
 */
export function truncNormal(
  parameter: Parameter,
  options?: Partial<{ mean: number; std: number; low: number; high: number } & RngOption>,
): Parameter {
  const { mean, std, low, high, rng } = readOptions("init.truncNormal", options, {
    mean: 0,
    std: 1,
    low: -2,
    high: 2,
    rng: null as Rng | null,
  });
  const share = (x: number) => (1 + erf((x - mean) / (std * Math.SQRT2))) / 2;
  const [from, to] = [share(low), share(high)];
  if (!(std > 0 && low < high && to > from)) {
    throw new OptionError(
      `init.truncNormal: needs std above 0 and low < high with some probability between, got std ${std}, low ${low}, high ${high}`,
    );
  }
  return draw(parameter, (data) => {
    const shares = new Float64Array(data.length);
    source(rng).fillUniform(shares, from, to);
    for (let i = 0; i < data.length; i++) {
      // A share of exactly 0 or 1 has an infinite quantile.
      data[i] = Math.min(Math.max(mean + std * normalQuantile(shares[i]), low), high);
    }
  });
}

/** Inputs and outputs of one unit of a weight (out, in, …): axes after the second are a kernel's. */
export function fans(shape: Shape): { fanIn: number; fanOut: number } {
  checkShape("init.fans", shape);
  if (shape.length < 2) {
    throw new ShapeError(`init.fans: fan-in and fan-out need at least two axes, got ${show(shape)}`);
  }
  const field = sizeOf(shape.slice(2));
  return { fanIn: shape[1] * field, fanOut: shape[0] * field };
}

export type Nonlinearity = "linear" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";

/** The factor by which a nonlinearity shrinks a signal's deviation, undone: PyTorch's `calculate_gain`. */
export function gain(nonlinearity: Nonlinearity, slope = 0.01): number {
  if (!Number.isFinite(slope)) {
    throw new OptionError(`init.gain: slope must be a finite number, got ${show(slope)}`);
  }
  switch (nonlinearity) {
    case "linear":
    case "sigmoid":
      return 1;
    case "tanh":
      return 5 / 3;
    case "relu":
      return Math.SQRT2;
    case "leakyRelu":
      return Math.sqrt(2 / (1 + slope * slope));
    case "selu":
      return 3 / 4;
    default:
      throw new OptionError(`init.gain: unknown nonlinearity, got ${show(nonlinearity)}`);
  }
}

export interface KaimingOptions extends RngOption {
  /** The negative slope of leakyRelu; default 0. */
  a: number;
  mode: "fanIn" | "fanOut";
  nonlinearity: Nonlinearity;
}

function kaimingStd(op: string, parameter: Parameter, options: Partial<KaimingOptions> | undefined) {
  const { a, mode, nonlinearity, rng } = readOptions<KaimingOptions>(op, options, {
    a: 0,
    mode: "fanIn",
    nonlinearity: "leakyRelu",
    rng: null,
  });
  if (mode !== "fanIn" && mode !== "fanOut") {
    throw new OptionError(`${op}: mode must be "fanIn" or "fanOut", got ${show(mode)}`);
  }
  return { std: gain(nonlinearity, a) / Math.sqrt(fans(shapeOf(parameter))[mode]), rng };
}

/** Uniform in ±gain·√(3/fan). He et al., 2015, arXiv:1502.01852. */
export function kaimingUniform(parameter: Parameter, options?: Partial<KaimingOptions>): Parameter {
  const { std, rng } = kaimingStd("init.kaimingUniform", parameter, options);
  const bound = Math.sqrt(3) * std;
  return uniform(parameter, { low: -bound, high: bound, rng });
}

/** Normal with deviation gain/√fan. He et al., 2015, arXiv:1502.01852. */
export function kaimingNormal(parameter: Parameter, options?: Partial<KaimingOptions>): Parameter {
  return normal(parameter, kaimingStd("init.kaimingNormal", parameter, options));
}

function xavierStd(
  op: string,
  parameter: Parameter,
  options: Partial<{ gain: number } & RngOption> | undefined,
) {
  const { gain: factor, rng } = readOptions(op, options, { gain: 1, rng: null as Rng | null });
  if (!(factor >= 0)) throw new OptionError(`${op}: gain must not be negative, got ${show(factor)}`);
  const { fanIn, fanOut } = fans(shapeOf(parameter));
  return { std: factor * Math.sqrt(2 / (fanIn + fanOut)), rng };
}

/** Uniform in ±gain·√(6/(fanIn + fanOut)). Glorot and Bengio, 2010. */
export function xavierUniform(
  parameter: Parameter,
  options?: Partial<{ gain: number } & RngOption>,
): Parameter {
  const { std, rng } = xavierStd("init.xavierUniform", parameter, options);
  const bound = Math.sqrt(3) * std;
  return uniform(parameter, { low: -bound, high: bound, rng });
}

/** Normal with deviation gain·√(2/(fanIn + fanOut)). Glorot and Bengio, 2010. */
export function xavierNormal(
  parameter: Parameter,
  options?: Partial<{ gain: number } & RngOption>,
): Parameter {
  return normal(parameter, xavierStd("init.xavierNormal", parameter, options));
}

/** Orthonormal rows, or columns where there are fewer of them, times gain. Saxe et al., 2013, arXiv:1312.6120. */
export function orthogonal(parameter: Parameter, options?: Partial<{ gain: number } & RngOption>): Parameter {
  const { gain: factor, rng } = readOptions("init.orthogonal", options, {
    gain: 1,
    rng: null as Rng | null,
  });
  const shape = shapeOf(parameter);
  if (shape.length < 2) {
    throw new ShapeError(`init.orthogonal: needs at least two axes, got ${show(shape)}`);
  }
  return draw(parameter, (data) => {
    const rows = shape[0];
    const columns = data.length / rows;
    const count = Math.min(rows, columns);
    const length = Math.max(rows, columns);
    const vectors = Array.from({ length: count }, () => {
      const v = new Float64Array(length);
      source(rng).fillNormal(v);
      return v;
    });
    vectors.forEach((v, i) => {
      // The second sweep removes what rounding left of the first.
      for (let sweep = 0; sweep < 2; sweep++) for (let j = 0; j < i; j++) removePart(v, vectors[j]);
      const norm = Math.sqrt(inner(v, v));
      for (let k = 0; k < length; k++) v[k] /= norm;
    });
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        data[r * columns + c] = factor * (rows <= columns ? vectors[r][c] : vectors[c][r]);
      }
    }
  });
}

function inner(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}

function removePart(v: Float64Array, unit: Float64Array): void {
  const along = inner(v, unit);
  for (let k = 0; k < v.length; k++) v[k] -= along * unit[k];
}
