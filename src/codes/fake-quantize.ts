/** fakeQuantize: the numbers that codes stand for, differentiable. */

import { OptionError, readOptions, show, synchronous } from "../errors.ts";
import { straightThrough } from "../ops/binary.ts";
import { defineOp } from "../ops/op.ts";
import { placeholder, visitor } from "../ops/shapes-only.ts";
import { gate } from "../ops/unary.ts";
import { type Shape, sameShape, sizeOf } from "../shape.ts";
import { isRecording } from "../tape.ts";
import { empty, isTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import {
  checkFinite,
  checkParams,
  codeRoom,
  givenFloats,
  inFloat32,
  type QuantizeOptions,
  quantizeInto,
  valuesOf,
} from "./contract.ts";
import { valuesByRows, writeSigns } from "./kernel-codes.ts";
import { floatsOf } from "./loops.ts";
import { chooseParams, type QuantParams, roundedZero } from "./params.ts";
import { forRuns, sharedAlong } from "./runs.ts";
import { checkSpec, isSigns, type QuantSpec } from "./spec.ts";

/**
 * Which elements count as clamped, so that the mask of the gradient stops them. "inside": those whose number is rounded to a code
 * beyond the range, as in PyTorch, so that one on an end code is in range, and up to half a step beyond it. "outside": those on
 * an end code or beyond it, as the paper of LSQ has it (Esser et al., 2019, arXiv:1902.08153).
 */
export type Boundary = "inside" | "outside";

export interface FakeQuantizeOptions extends QuantizeOptions {
  /** Whether the gradient stops where codes are clamped; else it passes everywhere. */
  mask: boolean;
  boundary: Boundary;
}

/** What a quantizer has of its own: codes in the place of those that rounding gives, a surrogate in the place of the mask. */
export interface Own {
  readonly codes?: Int8Array | Uint8Array;
  readonly soft?: (x: Tensor, params: QuantParams) => Tensor;
}

/**
 * dequantize(quantize(x)), differentiable: the gradient passes where no code is clamped (`boundary` says which are; Jacob et
 * al., 2017, arXiv:1712.05877), everywhere with `mask: false`, and everywhere for signs. A given scale or zero point that
 * requires a gradient gets that of PyTorch's learnable fake quantization (Esser et al., 2019, arXiv:1902.08153, without its
 * factor), the scale of signs that of scale · sign(x). Such a zero point is rounded, half to even, and clamped to a code on
 * its way, and its gradient passes. Params of another dtype are rounded to float32.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { fakeQuantize, spec } from "bitgrad/quant";
 *
 * const x = tensor([0.5, -1, 0.26], { requiresGrad: true });
 * const y = fakeQuantize(x, spec({ bits: 3, granularity: "tensor" }));
 * y.sum().backward();
 * console.log(y.toArray(), x.grad!.toArray()); // [0.667, -1, 0.333] [1, 1, 1]
 * ```
 */
export function fakeQuantize(
  x: TensorLike,
  spec: QuantSpec,
  params?: QuantParams | null,
  options?: Partial<FakeQuantizeOptions>,
): Tensor {
  const op = "fakeQuantize";
  const read = readOptions<FakeQuantizeOptions>(op, options, { rng: null, mask: true, boundary: "inside" });
  checkBoundary(op, read.boundary);
  const given = givenFloats(op, x);
  checkSpec(op, spec);
  // Scales that fit leave nothing out of the range, but a number on an end code.
  const ends = read.mask && read.boundary === "outside";
  const values = params || ends || visitor() ? null : valuesByRows(given, spec);
  if (values) return isRecording() && given.requiresGrad ? withGradient(values, given, null) : values;
  const found = params ?? chooseParams(given, spec);
  checkParams(op, found, spec, given.shape);
  if (visitor()) return placeholder(given.shape, "float32");
  const { scale, zeroPoint } = inFloat32(found);
  return surrogate(given, spec, { scale, zeroPoint: roundedZero(zeroPoint, spec) }, read, {});
}

/** Throws OptionError for what is no boundary. */
export function checkBoundary(op: string, boundary: unknown): void {
  if (boundary === "inside" || boundary === "outside") return;
  throw new OptionError(`${op}: boundary must be "inside" or "outside", got ${show(boundary)}`);
}

/** The same of what was checked, with what a quantizer has of its own. */
export function surrogate(
  x: Tensor,
  spec: QuantSpec,
  params: QuantParams,
  { rng, mask, boundary }: FakeQuantizeOptions,
  { codes: brought, soft }: Own,
): Tensor {
  const { scale, zeroPoint } = params;
  const learned = scale.requiresGrad || zeroPoint?.requiresGrad;
  const wanted = isRecording() && (x.requiresGrad || learned);
  const marked = wanted && mask && !soft;
  const { shape } = x;
  // What is learned is learned by the codes.
  const found = wanted && learned && !soft && !brought ? codeRoom(x, spec) : null;
  const inside = marked && boundary === "inside" ? empty(shape, "bool", false) : null;
  const values = brought ? valuesOf(brought, shape, spec, params) : empty(shape, "float32", false);
  let clamped = false;
  if (!brought || marked) {
    const out = {
      values: brought ? null : values.data,
      codes: found?.data ?? null,
      inside: inside?.data ?? null,
    };
    clamped = quantizeInto(out, x, spec, params, rng);
  }
  if (!wanted) return values;
  if (soft) return withGradient(values, softOf(soft, x, params), null);
  const stopped = clamped ? inside : null;
  const passes = marked && boundary === "outside" ? between(x, spec, params) : stopped;
  if (inside && !clamped) inside.dispose();
  if (!learned) return withGradient(values, x, passes);
  return withGradient(values, learnable(x, spec, params, brought ?? found!.data, passes), null);
}

/** Signs of float32 numbers, with a gradient within −1 … 1. Throws where one is not finite. */
export function signsOf(x: Tensor, spec: QuantSpec): Tensor {
  const wanted = isRecording() && x.requiresGrad;
  const values = empty(x.shape, "float32", false);
  const inside = wanted ? empty(x.shape, "bool", false) : null;
  const data = x.data as Float32Array;
  if (!writeSigns(data, values.data, inside?.data ?? null)) checkFinite(data, spec);
  return wanted ? withGradient(values, x, inside) : values;
}

/** `values` with the gradient of `twin`, where `passes` holds. They are copied only into another dtype. */
export function withGradient(values: Tensor, twin: Tensor, passes: Tensor | null): Tensor {
  if (twin.dtype === values.dtype) return inPlaceOf(values, twin, passes);
  return straightThrough(passes ? passes.where(twin, twin.detach()) : twin, values);
}

const inPlaceOf = defineOp<[values: Tensor, twin: Tensor, passes: Tensor | null]>("fakeQuantize", {
  view: true,
  arity: [2, 3],
  options: {},
  shape: ([values]) => values,
  forward() {},
  vjp: (grad, { inputs: [, , passes] }) => [null, passes ? gate(passes, grad) : grad, null],
});

function softOf(soft: NonNullable<Own["soft"]>, x: Tensor, params: QuantParams): Tensor {
  const twin = synchronous("quantize", soft(x, params), "soft of a quantizer");
  if (isTensor(twin) && sameShape(twin.shape, x.shape)) return twin;
  throw new OptionError(
    `quantize: soft must give a tensor of ${show(x.shape)}, got ${show(isTensor(twin) ? twin.shape : twin)}`,
  );
}

/** Where x lies between the values of the end codes, or levels, and not on them; null for signs. */
function between(x: Tensor, spec: QuantSpec, { scale, zeroPoint }: QuantParams): Tensor | null {
  if (isSigns(spec)) return null;
  const { qmin, qmax, codebook } = spec;
  const [least, most] = codebook ? [codebook[0], codebook[codebook.length - 1]] : [qmin, qmax];
  const data = floatsOf(x);
  const inside = new Uint8Array(data.length);
  forRuns(spec, x.shape, (from, to, k) => {
    const zero = zeroPoint?.data[k] ?? 0;
    for (let i = from; i < to; i++) {
      const steps = Math.fround(data[i] / scale.data[k]) + zero;
      inside[i] = steps > least && steps < most ? 1 : 0;
    }
  });
  return wrap(inside, x.shape, "bool");
}

/** What codes stand for in ops of x, scale and zero point, with the codes, or levels, that were found. */
function learnable(
  x: Tensor,
  spec: QuantSpec,
  { scale, zeroPoint }: QuantParams,
  codes: Int8Array | Uint8Array,
  passes: Tensor | null,
): Tensor {
  const { codebook } = spec;
  const found = codebook ? Float32Array.from(codes, (code) => codebook[code]) : Float32Array.from(codes);
  const hard = wrap(found, x.shape, "float32");
  const wide = spread(scale, x.shape, spec);
  // Rounding makes no sign of x / scale: the gradient of the scale is the sign, and that of x passes.
  if (isSigns(spec)) return x.add(hard.mul(wide));
  const zero = zeroPoint ? spread(zeroPoint, x.shape, spec) : 0;
  const soft = x.div(wide).add(zero);
  const steps = straightThrough(passes ? passes.where(soft, hard) : soft, hard);
  return steps.sub(zero).mul(wide);
}

/** Scales repeated to the shape of what they belong to. */
function spread(scale: Tensor, shape: Shape, spec: QuantSpec): Tensor {
  const { granularity, axis } = spec;
  // Of whatever shape the scales of no elements are.
  if (sizeOf(shape) === 0) return scale.sum();
  // That of a scalar has an axis of its own.
  if (shape.length === 0) return scale.reshape([]);
  if (granularity === "tensor" || granularity === "token") return scale;
  if (granularity === "channel") {
    const at = axis < 0 ? axis + shape.length : axis;
    return scale.reshape(shape.map((n, i) => (i === at ? n : 1)));
  }
  return sharedAlong(spec, shape).reduce((wide, [at, count]) => {
    const size = shape[at];
    return wide.repeatInterleave(count, { axis: at }).slice([...Array<null>(at).fill(null), [0, size]]);
  }, scale);
}
