/** Functions element by element, of one array or of two that broadcast. */

import { gelu, geluTanh, hardSigmoid, hardSwish, silu } from "../../../kernels/elementwise/activation.ts";
import {
  type Binary,
  exponentialLinear,
  held,
  leaky,
  rectified,
  type Unary,
} from "../../../kernels/elementwise/arithmetic.ts";
import { sigmoid } from "../../../kernels/elementwise/special.ts";
import { binary, unary } from "../../backend.ts";
import { ShapeError, show } from "../../errors.ts";
import { broadcastsTo } from "../../shape.ts";
import { room, type Values } from "../values.ts";

/** Activations by name, those with options as they are without. */
export const activations: Readonly<Record<string, Unary>> = {
  relu: rectified,
  relu6: /* @__PURE__ */ held(0, 6),
  leakyRelu: /* @__PURE__ */ leaky(0.01),
  elu: /* @__PURE__ */ exponentialLinear(1),
  gelu,
  geluTanh,
  silu,
  sigmoid,
  tanh: Math.tanh,
  hardSigmoid,
  hardSwish,
};

export function mapped(x: Values, f: Unary): Values {
  const data = room(x.data.length);
  unary(data, x.data, f);
  return { data, shape: x.shape };
}

/** f(x, y) in the shape of x, to which y broadcasts. Throws ShapeError where it does not. */
export function combined(op: string, x: Values, y: Values, f: Binary): Values {
  const { data: from, shape } = x;
  if (!broadcastsTo(y.shape, shape)) {
    throw new ShapeError(`${op}: needs a shape that broadcasts to ${show(shape)}, got ${show(y.shape)}`);
  }
  const data = room(from.length);
  binary(data, shape, from, shape, y.data, y.shape, f);
  return { data, shape };
}

/** f(x, v) with one v a channel of x (N, C, …). Throws ShapeError for other channels. */
export function perChannel(op: string, x: Values, v: Float32Array, f: Binary): Values {
  const { shape } = x;
  if (shape[1] !== v.length) throw new ShapeError(`${op}: needs (N, ${v.length}, …), got ${show(shape)}`);
  return combined(op, x, { data: v, shape: [v.length, ...shape.slice(2).fill(1)] }, f);
}
