/** fakeQuantize: the numbers that codes stand for, differentiable. */

import { readOptions } from "../errors.ts";
import { straightThrough } from "../ops/binary.ts";
import type { Rng } from "../random/rng.ts";
import type { Shape } from "../shape.ts";
import { type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { checkParams, codesOf, givenFloats, type QuantizeOptions, valuesOf } from "./contract.ts";
import { chooseParams, type QuantParams } from "./params.ts";
import { checkSpec, type QuantSpec } from "./spec.ts";

/**
 * dequantize(quantize(x)), differentiable: the gradient passes where the code before clamping is in range (PyTorch's mask; Jacob
 * et al., 2017, arXiv:1712.05877), everywhere with `mask: false`; that of a codebook up to half a step beyond its ends. A given scale or zero point that requires a gradient gets
 * that of PyTorch's learnable fake quantization (Esser et al., 2019, arXiv:1902.08153, without its factor).
 */
export function fakeQuantize(
  x: TensorLike,
  spec: QuantSpec,
  params?: QuantParams | null,
  options?: Partial<QuantizeOptions & { mask: boolean }>,
): Tensor {
  const op = "fakeQuantize";
  const { rng, mask } = readOptions(op, options, { rng: null as Rng | null, mask: true });
  const given = givenFloats(op, x);
  checkSpec(op, spec);
  const found = params ?? chooseParams(given, spec);
  checkParams(op, found, spec, given.shape);
  const { codes, inside } = codesOf(given, spec, found, rng);
  const passes = inside && mask ? wrap(inside, given.shape, "bool") : null;
  if (found.scale.requiresGrad || found.zeroPoint?.requiresGrad)
    return learnable(given, spec, found, codes, passes);
  const values = wrap(valuesOf(codes, given.shape, spec, found), given.shape, "float32");
  if (!given.requiresGrad) return values;
  return straightThrough(passes ? passes.where(given, given.detach()) : given, values);
}

/** The same in ops of x, scale and zero point, with the codes that were found. */
function learnable(
  x: Tensor,
  spec: QuantSpec,
  { scale, zeroPoint }: QuantParams,
  codes: Int8Array | Uint8Array,
  passes: Tensor | null,
): Tensor {
  const hard = wrap(Float32Array.from(codes), x.shape, "float32");
  const wide = spread(scale, x.shape, spec);
  const zero = zeroPoint ? spread(zeroPoint, x.shape, spec) : 0;
  const soft = x.div(wide).add(zero);
  const steps = straightThrough(passes ? passes.where(soft, hard) : soft, hard);
  return steps.sub(zero).mul(wide);
}

/** Scales repeated to the shape of what they belong to. */
function spread(scale: Tensor, shape: Shape, { granularity, axis }: QuantSpec): Tensor {
  if (granularity === "tensor" || granularity === "token") return scale;
  if (granularity === "channel") {
    const at = axis < 0 ? axis + shape.length : axis;
    return scale.reshape(shape.map((n, i) => (i === at ? n : 1)));
  }
  const n = shape[shape.length - 1];
  const wide = scale.repeatInterleave(granularity.group, { axis: -1 });
  return wide.slice([...Array<null>(shape.length - 1).fill(null), [0, n]]);
}
