/** Functions of one array, or of two of which one broadcasts. */

import { gelu, geluTanh, hardSigmoid, hardSwish, silu } from "../../../kernels/elementwise/activation.ts";
import {
  type Binary,
  exponentialLinear,
  held,
  leaky,
  minus,
  plus,
  rectified,
  times,
  type Unary,
} from "../../../kernels/elementwise/arithmetic.ts";
import { sigmoid } from "../../../kernels/elementwise/special.ts";
import { binary, unary } from "../../backend.ts";
import type { Activation, Join } from "../executor.ts";
import { room, type Values } from "../values.ts";

const activations: Readonly<Record<Activation, Unary>> = {
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

const joins: Readonly<Record<Join, Binary>> = {
  plus,
  minus,
  times,
  slope: (x, slope) => (x > 0 ? x : x * slope),
};

export function map({ data }: Values, f: Activation): Float32Array {
  const out = room(data.length);
  unary(out, data, activations[f]);
  return out;
}

export function join({ data, shape }: Values, y: Values, f: Join): Float32Array {
  const out = room(data.length);
  binary(out, shape, data, shape, y.data, y.shape, joins[f]);
  return out;
}
