/** Functions element by element, of one array or of two that broadcast. */

import { ShapeError, show } from "../../errors.ts";
import { broadcastsTo } from "../../shape.ts";
import { type Activation, activationNames, type Join } from "../executor.ts";
import { executor } from "../running.ts";
import type { Values } from "../values.ts";

export const isActivation = (name: string): name is Activation =>
  activationNames.includes(name as Activation);

export const mapped = (x: Values, f: Activation): Values => ({ data: executor().map(x, f), shape: x.shape });

/** f(x, y) in the shape of x, to which y broadcasts. Throws ShapeError where it does not. */
export function combined(op: string, x: Values, y: Values, f: Join): Values {
  const { shape } = x;
  if (!broadcastsTo(y.shape, shape)) {
    throw new ShapeError(`${op}: needs a shape that broadcasts to ${show(shape)}, got ${show(y.shape)}`);
  }
  return { data: executor().join(x, y, f), shape };
}

/** f(x, v) with one v a channel of x (N, C, …). Throws ShapeError for other channels. */
export function perChannel(op: string, x: Values, v: Float32Array, f: Join): Values {
  const { shape } = x;
  if (shape[1] !== v.length) throw new ShapeError(`${op}: needs (N, ${v.length}, …), got ${show(shape)}`);
  return combined(op, x, { data: v, shape: [v.length, ...shape.slice(2).fill(1)] }, f);
}
