/** Gradients held against central differences along random directions, in double precision. */

import { vjp } from "../autograd.ts";
import { isFloat } from "../dtype.ts";
import { BitgradError, isFunction, isThenable, OptionError, readOptions, show } from "../errors.ts";
import { concat } from "../ops/join.ts";
import { Rng } from "../random/rng.ts";
import { isDifferentiable, noGrad } from "../tape.ts";
import { asTensor, empty, isTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";

/** What is checked: tensors in, one tensor or a list of them out. It must give the same values every time. */
export type Checked = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

export interface GradcheckOptions {
  /** Half the step of the central difference. */
  eps: number;
  /** The relative error allowed, against the sum of the terms' sizes, so that cancellation hides nothing. */
  tolerance: number;
  /** Draws the directions; default: a generator of seed 0. */
  rng: Rng | null;
}

const defaults: GradcheckOptions = { eps: 1e-5, tolerance: 1e-6, rng: null };

/**
 * Throws unless the gradient of `f` at `inputs` is right: ⟨u, J·v⟩ by central differences must equal ⟨Jᵀ·u, v⟩ by the
 * tape for random u and v, one input at a time. Float inputs are checked in float64; integers and bool pass through. Keep
 * away from kinks by more than a few `eps`.
 *
 * @example
 * ```ts
 * import { defineOp, type Tensor, tensor } from "bitgrad";
 * import { gradcheck } from "bitgrad/testing";
 *
 * const cube = defineOp<[x: Tensor], object>("cube", {
 *   shape: ([x]) => x,
 *   forward(out, [x]) {
 *     for (let i = 0; i < out.length; i++) out[i] = x.data[i] ** 3;
 *   },
 *   vjp: (grad, { inputs: [x] }) => [grad.mul(x.square()).mul(3)],
 * });
 * gradcheck((x) => cube(x), [tensor([0.5, -2, 3])]);
 * ```
 */
export function gradcheck(
  f: Checked,
  inputs: readonly TensorLike[],
  options?: Partial<GradcheckOptions>,
): void {
  check("gradcheck", f, inputs, readOptions("gradcheck", options, defaults));
}

/**
 * The same for the gradient of the gradient: throws unless `f` may be differentiated twice.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { gradgradcheck } from "bitgrad/testing";
 *
 * gradgradcheck((x) => x.tanh().mul(x), [tensor([0.5, -2, 3])]);
 * ```
 */
export function gradgradcheck(
  f: Checked,
  inputs: readonly TensorLike[],
  options?: Partial<GradcheckOptions>,
): void {
  const settings = readOptions("gradgradcheck", options, defaults);
  const rng = settings.rng ?? new Rng(0);
  const xs = doubles("gradgradcheck", inputs);
  const outer = normal(noGrad(() => flat("gradgradcheck", f, xs)).shape, rng);
  const slope: Checked = (...args) => {
    const [, pullback] = vjp((x: Tensor[]) => flat("gradgradcheck", f, x))(args.slice(0, -1));
    return (pullback(args[args.length - 1]) as readonly (Tensor | null)[]).filter((g) => g !== null);
  };
  check("gradgradcheck", slope, [...xs, outer], { ...settings, rng });
}

function check(
  op: string,
  f: Checked,
  inputs: readonly TensorLike[],
  { eps, tolerance, rng: given }: GradcheckOptions,
): void {
  const rng = given ?? new Rng(0);
  if (!(tolerance >= 0)) {
    throw new OptionError(`${op}: option tolerance must not be negative, got ${show(tolerance)}`);
  }
  const xs = doubles(op, inputs);
  const [value, pullback] = vjp((x: Tensor[]) => flat(op, f, x))(xs);
  const u = normal(value.shape, rng);
  const grads = pullback(u) as readonly (Tensor | null)[];
  xs.forEach((x, i) => {
    const grad = grads[i];
    if (grad === null) return;
    const v = normal(x.shape, rng);
    const at = (step: number) => {
      const moved = wrap(
        Float64Array.from(x.data as Float64Array, (a, k) => a + step * v.data[k]),
        x.shape,
        "float64",
      );
      // A copy: arrays are not to be kept across ops.
      return noGrad(() => flat(op, f, xs.with(i, moved))).data.slice();
    };
    const [above, below] = [at(eps), at(-eps)];
    let numeric = 0;
    let analytic = 0;
    // Beside the relative error, what rounding and the curve between the two points do to the differences.
    let bound = 0;
    for (let k = 0; k < u.size; k++) {
      const term = (u.data[k] * (above[k] - below[k])) / (2 * eps);
      numeric += term;
      const noise = (8 * Number.EPSILON * Math.abs(value.data[k])) / eps + 10 * eps ** 2;
      bound += tolerance * Math.abs(term) + noise * Math.abs(u.data[k]);
    }
    for (let k = 0; k < v.size; k++) {
      analytic += grad.data[k] * v.data[k];
      bound += tolerance * Math.abs(grad.data[k] * v.data[k]);
    }
    if (!(Math.abs(numeric - analytic) <= bound)) {
      throw new BitgradError(
        `${op}: the gradient for input ${i} of shape ${show(x.shape)} is not the slope, got ${analytic} where differences give ${numeric}, bound ${bound}`,
        "GRADCHECK",
      );
    }
  });
}

/** Copies in float64; what has no gradient stays as it is. */
const doubles = (op: string, inputs: readonly TensorLike[]): Tensor[] => {
  if (!Array.isArray(inputs)) throw new OptionError(`${op}: inputs must be a list, got ${show(inputs)}`);
  const xs = (inputs as readonly TensorLike[]).map((input) => {
    const t = asTensor(op, input);
    return isFloat(t.dtype) ? wrap(Float64Array.from(t.data as Float64Array), t.shape, "float64") : t;
  });
  if (!xs.some(isDifferentiable)) throw new OptionError(`${op}: no input is a float tensor, got ${show(xs)}`);
  return xs;
};

/** All float results of f as one vector. */
function flat(op: string, f: Checked, x: Tensor[]): Tensor {
  if (!isFunction(f)) throw new OptionError(`${op}: expected a function, got ${show(f)}`);
  const result = f(...x);
  if (isThenable(result)) throw new OptionError(`${op}: the function must be synchronous, got a promise`);
  const list = isTensor(result) ? [result] : result;
  if (!Array.isArray(list) || !list.every(isTensor)) {
    throw new OptionError(`${op}: the function must return tensors, got ${show(result)}`);
  }
  const vectors = (list as readonly Tensor[]).filter(isDifferentiable).map((t) => t.reshape([t.size]));
  return vectors.length === 0 ? empty([0], "float64") : vectors.length === 1 ? vectors[0] : concat(vectors);
}

function normal(shape: readonly number[], rng: Rng): Tensor<"float64"> {
  const t = empty([...shape], "float64");
  rng.fillNormal(t.data, 0, 1);
  return t;
}
