/**
 * Inputs for every op. The records are typed by the ops' names, so that one without samples does not compile. Values are
 * float32 numbers away from kinks; gradients are checked in float64 at the same points.
 */

import * as bitgrad from "bitgrad";
import { Rng, type Tensor, tensor } from "bitgrad";
import type { OpName } from "./ops-table.ts";

export interface Sample {
  readonly inputs: readonly (Tensor | null)[];
  readonly options?: object;
  /** Inputs without a gradient, by position. */
  readonly constant?: readonly number[];
  /** What the gradient is that of, for an op whose gradient is not its slope. */
  readonly surrogate?: (...inputs: Tensor[]) => Tensor;
}

export interface CompositeSample {
  readonly inputs: readonly Tensor[];
  run(...inputs: Tensor[]): Tensor | readonly Tensor[];
  /** The result jumps with its inputs, or is random: nothing to check a gradient against. */
  readonly rough?: boolean;
}

type Make = (...shape: number[]) => Tensor;

const rng = new Rng("samples");
const uniform = (low: number, high: number): number => low + (high - low) * rng.next();

const drawn =
  (value: () => number): Make =>
  (...shape) =>
    tensor(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, value), { shape });

const between = (low: number, high: number): Make => drawn(() => uniform(low, high));
const any = between(-2, 2);
const unit = between(-0.8, 0.8);
const positive = between(0.3, 2);
/** Away from 0, on both sides. */
const away = drawn(() => uniform(0.3, 2) * (uniform(0, 1) < 0.5 ? -1 : 1));
/** Away from whole numbers and from halves. */
const offGrid = drawn(() => Math.floor(uniform(-3, 3)) + uniform(0.1, 0.4));
/** All different, by 0.3 at least, in mixed order. */
const spaced: Make = (...shape) => {
  const n = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Array.from({ length: n }, (_, i) => ((i * 7) % (n % 7 === 0 ? n + 1 : n)) * 0.3 - 0.9),
    { shape },
  );
};
const whole =
  (low: number, high: number): Make =>
  (...shape) =>
    bitgrad.randint(low, high, shape, { rng });
const bits: Make = (...shape) => bitgrad.bernoulli(0.5, shape, { rng });
const index = (values: number | number[] | number[][] | number[][][]): Tensor =>
  tensor(values, { dtype: "int32" });

const shapes = [[], [3], [2, 1, 3], [2, 0]];
const one = (make: Make, options?: object): Sample[] =>
  shapes.map((shape) => ({ inputs: [make(...shape)], ...(options && { options }) }));
const pairs = (a: Make, b: Make = a): Sample[] =>
  (
    [
      [[], []],
      [[3], []],
      [
        [2, 3],
        [2, 3],
      ],
      [[2, 3], [3]],
      [
        [2, 1, 3],
        [4, 1],
      ],
      [[0, 3], [3]],
    ] as number[][][]
  ).map(([m, n]) => ({ inputs: [a(...m), b(...n)] }));
const integerPairs = pairs(whole(-7, 8), whole(1, 4));

const reductions = (make: Make, { empty = true, extra = {} } = {}): Sample[] => [
  { inputs: [make()], options: extra },
  { inputs: [make(4)], options: extra },
  { inputs: [make(2, 3)], options: { axis: 0, ...extra } },
  { inputs: [make(2, 3)], options: { axis: -1, keepDims: true, ...extra } },
  { inputs: [make(2, 3, 4)], options: { axis: [0, 2], ...extra } },
  { inputs: [make(2, 3, 4)], options: { axis: [-1, -2], keepDims: true, ...extra } },
  { inputs: [make(2, 1, 3)], options: { axis: 1, ...extra } },
  { inputs: [make(2, 3)], options: { axis: [], ...extra } },
  { inputs: [make(0, 3)], options: { axis: 1, ...extra } },
  ...(empty ? [{ inputs: [make(2, 0, 3)], options: { axis: 1, ...extra } }] : []),
];
const choices: Sample[] = [
  { inputs: [spaced()] },
  { inputs: [spaced(2, 3)] },
  { inputs: [spaced(2, 3, 4)], options: { axis: 1 } },
  { inputs: [spaced(2, 3)], options: { axis: -1, keepDims: true } },
  { inputs: [whole(0, 3)(5)] },
];

const zeroed = (...shape: number[]): Tensor => any(...shape).mul(bits(...shape));
const runs = (make: Make): Sample[] => [
  { inputs: [make()] },
  { inputs: [make(4)] },
  { inputs: [make(2, 3, 2)], options: { axis: 1 } },
  { inputs: [make(3, 1)], options: { axis: -1 } },
  { inputs: [make(0, 3)] },
];

const plainConv = { stride: [1, 1], pads: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
const fullConv = { stride: [2, 1], pads: [1, 0, 2, 1], dilation: [1, 2], groups: 2 };
const plainWindows = { kernel: [2, 2], stride: [1, 1], pads: [0, 0, 0, 0], dilation: [1, 1] };
const fullWindows = { kernel: [2, 3], stride: [2, 1], pads: [1, 0, 1, 1], dilation: [1, 2] };
const averages = [
  {
    windows: { kernel: [2, 2], stride: [2, 2], pads: [0, 0, 0, 0], dilation: [1, 1] },
    ceilMode: false,
    countIncludePad: true,
  },
  {
    windows: { kernel: [3, 2], stride: [2, 1], pads: [1, 1, 1, 0], dilation: [1, 1] },
    ceilMode: true,
    countIncludePad: false,
  },
];

/** Every op of the table. */
export const samples: { readonly [K in OpName]: readonly Sample[] } = {
  neg: one(any),
  abs: one(away),
  exp: one(any),
  exp2: one(any),
  expm1: one(any),
  log: one(positive),
  log2: one(positive),
  log10: one(positive),
  log1p: one(unit),
  sqrt: one(positive),
  rsqrt: one(positive),
  square: one(any),
  reciprocal: one(away),
  sin: one(any),
  cos: one(any),
  tan: one(unit),
  asin: one(unit),
  acos: one(unit),
  atan: one(any),
  sinh: one(any),
  cosh: one(any),
  tanh: one(any),
  erf: one(any),
  erfinv: one(unit),
  sinc: one(away),
  sign: one(away),
  round: one(offGrid),
  floor: one(offGrid),
  ceil: one(offGrid),
  trunc: one(offGrid),
  frac: one(offGrid),
  clip: [...one(offGrid, { min: -1, max: 2 }), ...one(offGrid, { max: 0 }), { inputs: [any(3)] }],
  nanToNum: [
    ...one(any),
    {
      inputs: [tensor([1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])],
      options: { nan: 2, posinf: 3, neginf: -4 },
      surrogate: (x) => tensor([1, 0, 0, 0], { dtype: x.dtype }).mul(x.isFinite().where(x, 0)),
    },
  ],
  isNaN: one(any),
  isFinite: one(any),
  isInf: one(any),
  logicalNot: [...one(any), { inputs: [bits(4)] }],
  bitwiseNot: [{ inputs: [whole(-5, 5)(2, 3)] }, { inputs: [bits(4)] }],
  cast: [
    ...one(any, { dtype: "float64" }),
    { inputs: [whole(-3, 3)(2, 3)], options: { dtype: "float32" } },
    { inputs: [bits(3)], options: { dtype: "int8" } },
  ],
  sigmoid: one(any),
  logSigmoid: one(any),
  relu: one(away),
  relu6: one(between(0.5, 5.5)),
  silu: one(any),
  mish: one(any),
  softsign: one(away),
  tanhShrink: one(any),
  hardSigmoid: [...one(any), { inputs: [tensor([-4, -2, 2, 4])] }],
  hardSwish: [...one(any), { inputs: [tensor([-4, -2, 2, 4])] }],
  selu: one(away),
  leakyRelu: [...one(away), ...one(away, { slope: 0.3 })],
  elu: [...one(away), ...one(away, { alpha: 0.7 })],
  celu: [...one(away), ...one(away, { alpha: 0.7 })],
  softplus: [...one(any), { inputs: [tensor([-3, 0.5, 2, 9])], options: { beta: 2, threshold: 6 } }],
  hardTanh: [...one(offGrid), ...one(offGrid, { min: -2, max: 2 })],
  softShrink: [{ inputs: [tensor([-2, -0.3, 0.2, 0.9])] }, ...one(offGrid, { lambda: 1 })],
  hardShrink: [{ inputs: [tensor([-2, -0.3, 0.2, 0.9])] }, ...one(offGrid, { lambda: 1 })],
  threshold: [...one(away), ...one(offGrid, { threshold: 1, value: -2 })],
  gelu: [...one(any), ...one(any, { approximate: "tanh" })],
  add: pairs(any),
  sub: pairs(any),
  mul: [...pairs(any), ...integerPairs],
  div: [...pairs(any, away), ...integerPairs],
  pow: [...pairs(positive, any), { inputs: [away(4), tensor([2, 3, 0, 1])], constant: [1] }],
  maximum: pairs(any),
  minimum: pairs(any),
  atan2: pairs(away),
  hypot: pairs(away),
  logAddExp: pairs(any),
  remainder: [...pairs(between(2.1, 2.9), between(0.7, 1)), ...integerPairs],
  fmod: [...pairs(between(-2.9, -2.1), between(0.7, 1)), ...integerPairs],
  floorDivide: [...pairs(any, positive), ...integerPairs],
  truncDivide: [...pairs(any, positive), ...integerPairs],
  equal: [...pairs(any), ...integerPairs],
  notEqual: [...pairs(any), ...integerPairs],
  less: [...pairs(any), ...integerPairs],
  lessEqual: [...pairs(any), ...integerPairs],
  greater: [...pairs(any), ...integerPairs],
  greaterEqual: [...pairs(any), ...integerPairs],
  logicalAnd: [...pairs(any), ...pairs(bits)],
  logicalOr: [...pairs(any), ...pairs(bits)],
  logicalXor: [...pairs(any), ...pairs(bits)],
  bitwiseAnd: [...integerPairs, ...pairs(bits)],
  bitwiseOr: [...integerPairs, ...pairs(bits)],
  bitwiseXor: [...integerPairs, ...pairs(bits)],
  leftShift: integerPairs,
  rightShift: integerPairs,
  where: [
    { inputs: [bits(2, 3), any(2, 3), any(2, 3)] },
    { inputs: [bits(3), any(2, 1), any()] },
    { inputs: [bits(2, 1), any(3), any(0, 1, 1)] },
  ],
  straightThrough: pairs(any).map((sample) => ({
    ...sample,
    surrogate: (soft, hard) => soft.add(hard.detach().mul(0)),
  })),
  sum: reductions(any),
  mean: reductions(any, { empty: false }),
  prod: [...reductions(any), ...reductions(zeroed)],
  max: reductions(spaced, { empty: false }),
  min: reductions(spaced, { empty: false }),
  any: reductions(bits),
  all: reductions(bits),
  argmax: choices,
  argmin: choices,
  sumTo: [
    { inputs: [any(2, 3)], options: { shape: [] } },
    { inputs: [any(2, 3)], options: { shape: [3] } },
    { inputs: [any(4, 2, 3)], options: { shape: [2, 1] } },
    { inputs: [any(2, 3)], options: { shape: [2, 3] } },
    { inputs: [any(0, 3)], options: { shape: [1, 3] } },
  ],
  variance: [
    ...reductions(any, { empty: false, extra: { correction: 0 } }),
    { inputs: [any(2, 3)], options: { axis: 1 } },
    { inputs: [any(3, 4)] },
  ],
  std: [
    { inputs: [any(3, 4)], options: { axis: 1 } },
    { inputs: [any(4)], options: { correction: 0 } },
    { inputs: [any(2, 3, 2)], options: { axis: [0, 2], keepDims: true } },
  ],
  logSumExp: reductions(any, { empty: false }),
  cumsum: runs(any),
  cumprod: [...runs(any), ...runs(zeroed)],
  euclidean: reductions(away),
  reshapeOp: [
    { inputs: [any(2, 3)], options: { shape: [3, 2] } },
    { inputs: [any()], options: { shape: [1, 1] } },
    { inputs: [any(0, 3)], options: { shape: [0] } },
  ],
  permuteOp: [
    { inputs: [any(2, 3)], options: { order: [1, 0] } },
    { inputs: [any(2, 3, 1, 4)], options: { order: [3, 0, 2, 1] } },
    { inputs: [any(2, 0, 3)], options: { order: [2, 1, 0] } },
  ],
  broadcastOp: [
    { inputs: [any()], options: { shape: [2, 3] } },
    { inputs: [any(2, 1)], options: { shape: [4, 2, 3] } },
    { inputs: [any(3)], options: { shape: [0, 3] } },
  ],
  stridedOp: [
    { inputs: [any(3, 4)], options: { shape: [2, 2], strides: [8, -1], offset: 3 } },
    { inputs: [any(5)], options: { shape: [3, 3], strides: [1, 1], offset: 0 } },
    { inputs: [any(5)], options: { shape: [0], strides: [1], offset: 0 } },
  ],
  scatterStridedOp: [
    { inputs: [any(2, 2)], options: { shape: [3, 4], strides: [8, -1], offset: 3 } },
    { inputs: [any(3, 3)], options: { shape: [5], strides: [1, 1], offset: 0 } },
    { inputs: [any(0)], options: { shape: [5], strides: [1], offset: 0 } },
  ],
  concatOp: [
    { inputs: [any(2), any(3), any(0)] },
    { inputs: [any(2, 1, 3), any(2, 2, 3)], options: { axis: 1 } },
    { inputs: [any(2, 2)], options: { axis: 1 } },
  ],
  splitOp: [
    { inputs: [any(5)], options: { sizes: [2, 0, 3] } },
    { inputs: [any(2, 3, 2)], options: { axis: 1, sizes: [1, 2] } },
    { inputs: [any(0, 3)], options: { axis: 1, sizes: [2, 1] } },
  ],
  padOp: [
    {
      inputs: [any(2, 3)],
      options: {
        pads: [
          [1, 0],
          [0, 2],
        ],
        value: 0.5,
      },
    },
    { inputs: [any()] },
    {
      inputs: [any(0, 2)],
      options: {
        pads: [
          [1, 1],
          [0, 0],
        ],
      },
    },
  ],
  tril: [
    { inputs: [any(3, 3)] },
    { inputs: [any(2, 3, 4)], options: { offset: 1 } },
    { inputs: [any(0, 3, 2)], options: { offset: -1 } },
  ],
  triu: [
    { inputs: [any(3, 3)] },
    { inputs: [any(2, 3, 4)], options: { offset: 1 } },
    { inputs: [any(0, 3, 2)], options: { offset: -1 } },
  ],
  gatherOp: [
    { inputs: [any(4), index([3, 0, 0])] },
    {
      inputs: [
        any(2, 3),
        index([
          [2, 2, 1, 0],
          [0, 1, 2, 2],
        ]),
      ],
      options: { axis: 1 },
    },
    { inputs: [any(3, 2, 2), index([[[1, 0]], [[2, 2]]])], options: { axis: 0 } },
  ],
  scatterAddOp: [
    { inputs: [any(4), index([3, 0, 0]), any(3)] },
    {
      inputs: [
        any(2, 3),
        index([
          [2, 2],
          [0, 1],
        ]),
        any(2, 2),
      ],
      options: { axis: 1 },
    },
  ],
  scatterOp: [
    { inputs: [any(4), index([3, 0]), any(2)] },
    {
      inputs: [
        any(2, 3),
        index([
          [2, 1],
          [0, 1],
        ]),
        any(2, 2),
      ],
      options: { axis: 1 },
    },
  ],
  indexSelectOp: [
    { inputs: [any(4), index([3, 0, 0])] },
    {
      inputs: [
        any(2, 3, 2),
        index([
          [2, 0],
          [1, 1],
        ]),
      ],
      options: { axis: 1 },
    },
    { inputs: [any(2, 3), tensor(new Int32Array(0))], options: { axis: 1 } },
  ],
  indexAddOp: [
    { inputs: [index([3, 0, 0]), any(3), any(4)], options: { shape: [4] } },
    { inputs: [index([2, 0]), any(2, 2, 2), null], options: { axis: 1, shape: [2, 3, 2] } },
  ],
  argsort: [
    { inputs: [any()] },
    { inputs: [whole(0, 3)(6)] },
    { inputs: [any(3, 4)], options: { axis: 0, descending: true } },
  ],
  linearOp: [
    { inputs: [any(3, 5), any(2, 5), any(2)] },
    { inputs: [any(2, 1, 4), any(3, 4), null] },
    { inputs: [any(4), any(3, 4), any(3)] },
    { inputs: [any(2, 0), any(3, 0), any(3)] },
    { inputs: [any(0, 4), any(3, 4), any(3)] },
  ],
  matmulOp: [
    { inputs: [any(3, 3), any(3, 3)] },
    { inputs: [any(3, 2), any(3, 4)], options: { transposeA: true } },
    { inputs: [any(2, 3), any(4, 3)], options: { transposeB: true } },
    { inputs: [any(3, 2), any(4, 3)], options: { transposeA: true, transposeB: true } },
    { inputs: [any(2, 1, 2, 3), any(4, 3, 2)] },
    { inputs: [any(2, 0), any(0, 3)] },
    { inputs: [any(0, 2, 2), any(2, 1)] },
    { inputs: [whole(-5, 5)(2, 3), whole(-5, 5)(3, 2)] },
  ],
  softmaxOp: [
    { inputs: [any(4)], options: { axis: 0 } },
    { inputs: [any(2, 3, 2)], options: { axis: 1 } },
    { inputs: [any(0, 3)], options: { axis: 1 } },
  ],
  logSoftmaxOp: [
    { inputs: [any(4)], options: { axis: 0 } },
    { inputs: [any(2, 3, 2)], options: { axis: 1 } },
    { inputs: [any(0, 3)], options: { axis: 1 } },
  ],
  crossEntropyOp: [
    { inputs: [any(3, 4), index([0, 3, 1]), null], options: { axis: 1 } },
    {
      inputs: [
        any(2, 3, 2),
        index([
          [0, -1],
          [2, 2],
        ]),
        null,
      ],
      options: { axis: 1, ignoreIndex: -1 },
    },
    {
      inputs: [any(3, 4), index([0, -100, 1]), positive(4)],
      options: { axis: 1, labelSmoothing: 0.1 },
      constant: [2],
    },
  ],
  attentionOp: [
    { inputs: [any(1, 1, 2, 3), any(1, 1, 3, 3), any(1, 1, 3, 2), null], options: { scale: 0.5 } },
    {
      inputs: [any(2, 4, 3, 2), any(2, 2, 3, 2), any(2, 2, 3, 2), null],
      options: { causal: true, scale: 0.7 },
    },
    {
      inputs: [any(1, 2, 2, 2), any(1, 1, 4, 2), any(1, 1, 4, 3), any(1, 2, 1, 4)],
      options: { scale: 1 },
      constant: [3],
    },
    {
      inputs: [any(2, 3, 8), any(2, 3, 4), any(2, 3, 6), null],
      options: { causal: true, scale: 0.7, heads: 4 },
    },
    {
      inputs: [any(1, 2, 2, 3), any(1, 4, 6), any(1, 2, 4, 2), any(2, 1, 4)],
      options: { scale: 1, heads: 2 },
      constant: [3],
    },
  ],
  layerNormOp: [
    { inputs: [any(2, 4), null, null] },
    { inputs: [any(2, 4), positive(4), any(4)] },
    { inputs: [any(3, 2, 4), positive(2, 4), any(2, 4)], options: { axes: 2, eps: 0.1 } },
    { inputs: [any(3, 4), null, any(4)] },
    { inputs: [any(0, 4), positive(4), any(4)] },
  ],
  batchNormOp: [
    { inputs: [any(4, 2), null, null] },
    { inputs: [any(3, 2, 2), positive(2), any(2)] },
    { inputs: [any(2, 2, 1, 3), null, any(2)], options: { eps: 0.1 } },
    { inputs: [any(2, 1, 5), positive(1), null] },
  ],
  rmsNormOp: [
    { inputs: [any(2, 4), null] },
    { inputs: [any(3, 2, 4), positive(2, 4)], options: { axes: 2, eps: 0.1 } },
  ],
  rotaryOp: [
    { inputs: [any(3, 4)] },
    { inputs: [any(2, 2, 3, 4)], options: { offset: 2, base: 100, style: "half" } },
    { inputs: [any(0, 4)] },
  ],
  convOp: [
    { inputs: [any(1, 1, 3, 3), any(1, 1, 2, 2)], options: plainConv },
    { inputs: [any(2, 4, 4, 5), any(2, 2, 2, 3)], options: fullConv },
    { inputs: [any(0, 2, 3, 3), any(1, 2, 2, 2)], options: plainConv },
  ],
  inputGradOp: [
    { inputs: [any(1, 1, 2, 2), any(1, 1, 2, 2)], options: { ...plainConv, size: [3, 3] } },
    { inputs: [any(2, 2, 2, 4), any(2, 2, 2, 3)], options: { ...fullConv, size: [4, 5] } },
  ],
  weightGradOp: [
    { inputs: [any(1, 1, 3, 3), any(1, 1, 2, 2)], options: { ...plainConv, kernel: [2, 2] } },
    { inputs: [any(2, 4, 4, 5), any(2, 2, 2, 4)], options: { ...fullConv, kernel: [2, 3] } },
  ],
  unfoldOp: [
    { inputs: [any(1, 1, 3, 3)], options: plainWindows },
    { inputs: [any(2, 2, 3, 5)], options: fullWindows },
  ],
  foldOp: [
    { inputs: [any(1, 4, 4)], options: { ...plainWindows, shape: [1, 1, 3, 3] } },
    { inputs: [any(2, 12, 6)], options: { ...fullWindows, shape: [2, 2, 3, 5] } },
  ],
  avgOp: averages.map((options) => ({ inputs: [any(2, 2, 4, 5)], options })),
  avgGradOp: [
    { inputs: [any(2, 2, 2, 2)], options: { ...averages[0], shape: [2, 2, 4, 5] } },
    { inputs: [any(2, 2, 3, 5)], options: { ...averages[1], shape: [2, 2, 4, 5] } },
  ],
};

type Returned = Tensor | readonly Tensor[] | { readonly values: Tensor };
type Public = typeof bitgrad;
/** What makes tensors from nothing, or does not compute. */
type Creation =
  | "arange"
  | "bernoulli"
  | "eye"
  | "full"
  | "linspace"
  | "ones"
  | "rand"
  | "randint"
  | "randn"
  | "sinusoidalPositions"
  | "tensor"
  | "zeros";
/** Public functions of tensors that are not in the table. */
export type CompositeName = {
  [K in keyof Public]: K extends OpName | Creation | "Tensor"
    ? never
    : Public[K] extends (...args: never[]) => infer R
      ? unknown extends R
        ? never
        : R extends Returned
          ? K
          : never
      : never;
}[keyof Public];

const of = (inputs: readonly Tensor[], run: CompositeSample["run"]): CompositeSample => ({ inputs, run });
const rough = (inputs: readonly Tensor[], run: CompositeSample["run"]): CompositeSample => ({
  inputs,
  run,
  rough: true,
});
const b = bitgrad;
const mask = tensor([
  [true, false, true],
  [true, true, true],
]);

/** Public functions that are composed of ops. */
export const composites: { readonly [K in CompositeName]: readonly CompositeSample[] } = {
  to: [of([any(2)], (x) => b.to(x, "float64")), rough([any(2)], (x) => b.to(x, "int32"))],
  lerp: [
    of([any(2, 3), any(3), any()], (x, y, w) => b.lerp(x, y, w)),
    of([any(2), any(2)], (x, y) => b.lerp(x, y, 0.3)),
  ],
  norm: [
    of([away(2, 3)], (x) => b.norm(x)),
    of([away(2, 3)], (x) => b.norm(x, { p: 1, axis: 0 })),
    of([away(2, 3)], (x) => b.norm(x, { p: 3, axis: -1, keepDims: true })),
    of([away(2, 3)], (x) => b.norm(x, { p: 0.5, axis: 1 })),
    of([away(2, 3)], (x) => b.norm(x, { p: -2, axis: 1 })),
    of([spaced(2, 3)], (x) => b.norm(x.add(2), { p: Number.POSITIVE_INFINITY, axis: 1 })),
    of([spaced(2, 3)], (x) => b.norm(x.add(2), { p: Number.NEGATIVE_INFINITY })),
    rough([any(2, 3)], (x) => b.norm(x, { p: 0 })),
  ],
  cummax: [
    of([spaced(3, 4)], (x) => b.cummax(x).values),
    of([spaced(2, 3, 2)], (x) => b.cummax(x, { axis: 1 }).values),
  ],
  cummin: [
    of([spaced(3, 4)], (x) => b.cummin(x).values),
    of([spaced(2, 5)], (x) => b.cummin(x, { axis: -1 }).values),
  ],
  diff: [
    of([any(3, 4)], (x) => b.diff(x)),
    of([any(3, 4), any(1, 4)], (x, y) => b.diff(x, { n: 2, axis: 0, prepend: y, append: y })),
  ],
  unique: [
    of([spaced(2, 3)], (x) => b.unique(x).values),
    of([spaced(3, 2)], (x) => b.unique(x, { axis: 0 }).values),
  ],
  nonzero: [rough([zeroed(2, 3)], (x) => b.nonzero(x))],
  bincount: [
    of([any(4)], (w) => b.bincount([2, 0, 2, 1], { weights: w })),
    rough([whole(0, 3)(4)], (x) => b.bincount(x, { minLength: 2 })),
  ],
  searchsorted: [
    rough([spaced(4), any(2, 3)], (x, y) => b.searchsorted(x, y)),
    rough([spaced(2, 4), any(2, 3)], (x, y) => b.searchsorted(x, y, { right: true })),
  ],
  meshgrid: [
    of([any(2), any(3)], (x, y) => b.meshgrid([x, y])),
    of([any(2), any(), any(1)], (x, y, z) => b.meshgrid([x, y, z], { indexing: "xy" })),
  ],
  tensordot: [
    of([any(2, 3, 2), any(3, 2, 2)], (x, y) => b.tensordot(x, y)),
    of([any(2, 3), any(2, 3)], (x, y) => b.tensordot(x, y, { axes: [[0], [0]] })),
    of([any(2), any(3)], (x, y) => b.tensordot(x, y, { axes: 0 })),
  ],
  reshape: [of([any(2, 3)], (x) => b.reshape(x, [-1, 2])), of([any(0, 3)], (x) => b.reshape(x, [3, 0, 5]))],
  flatten: [of([any()], (x) => b.flatten(x)), of([any(2, 3, 4)], (x) => b.flatten(x, { start: 1 }))],
  squeeze: [of([any(1, 2, 1)], (x) => b.squeeze(x)), of([any(1, 2, 1)], (x) => b.squeeze(x, -1))],
  unsqueeze: [of([any(2)], (x) => b.unsqueeze(x, -1)), of([any()], (x) => b.unsqueeze(x, 0))],
  permute: [
    of([any(2, 3, 4)], (x) => b.permute(x, [-1, 0, 1])),
    of([any(1, 3)], (x) => b.permute(x, [1, 0])),
  ],
  transpose: [of([any(2, 3, 4)], (x) => b.transpose(x)), of([any(2, 3, 4)], (x) => b.transpose(x, 0, -1))],
  broadcastTo: [
    of([any(2, 1)], (x) => b.broadcastTo(x, [3, 2, 4])),
    of([any(2)], (x) => b.broadcastTo(x, [2])),
  ],
  slice: [
    of([any(4, 5)], (x) =>
      b.slice(x, [
        [1, -1],
        [null, null, 2],
      ]),
    ),
    of([any(4, 5)], (x) => b.slice(x, [-1, [3, 0, -1]])),
    of([any(4, 5)], (x) => b.slice(x, [null, 2])),
    of([any(4, 5)], (x) => b.slice(x, [[2, 2]])),
  ],
  select: [of([any(4, 5)], (x) => b.select(x, -2)), of([any(4, 5)], (x) => b.select(x, 1, { axis: 1 }))],
  flip: [of([any(2, 3)], (x) => b.flip(x, 0)), of([any(2, 3)], (x) => b.flip(x, [0, -1]))],
  diagonal: [of([any(3, 3)], (x) => b.diagonal(x)), of([any(2, 3, 4)], (x) => b.diagonal(x, { offset: -1 }))],
  unfoldDim: [of([any(2, 5)], (x) => b.unfoldDim(x, { axis: 1, size: 3, step: 1 }))],
  concat: [
    of([any(2, 1), any(2, 3)], (x, y) => b.concat([x, y], { axis: -1 })),
    of([any(3)], (x) => b.concat([x, x])),
  ],
  stack: [
    of([any(2, 3), any(2, 3)], (x, y) => b.stack([x, y], { axis: -1 })),
    of([any()], (x) => b.stack([x, x])),
  ],
  split: [of([any(5, 2)], (x) => b.split(x, 2)), of([any(2, 5)], (x) => b.split(x, [1, 0, 4], { axis: 1 }))],
  chunk: [of([any(5, 2)], (x) => b.chunk(x, 2)), of([any(2, 5)], (x) => b.chunk(x, 3, { axis: -1 }))],
  pad: [
    of([any(2, 3)], (x) => b.pad(x, [[1, 2]], { value: 3 })),
    of([any(2, 3)], (x) =>
      b.pad(
        x,
        [
          [1, 1],
          [2, 0],
        ],
        { mode: "reflect" },
      ),
    ),
    of([any(2, 3)], (x) =>
      b.pad(
        x,
        [
          [1, 3],
          [0, 2],
        ],
        { mode: "replicate" },
      ),
    ),
  ],
  roll: [
    of([any(2, 3)], (x) => b.roll(x, 2)),
    of([any(2, 3)], (x) => b.roll(x, -1, { axis: 1 })),
    of([any(2, 3)], (x) => b.roll(x, [1, 5], { axis: [0, -1] })),
  ],
  tile: [
    of([any(2, 3)], (x) => b.tile(x, [2, 1, 3])),
    of([any(2, 3)], (x) => b.tile(x, [2])),
    of([any(2)], (x) => b.tile(x, [0])),
  ],
  repeatInterleave: [of([any(2, 3)], (x) => b.repeatInterleave(x, 2, { axis: -1 }))],
  gather: [
    of([any(2, 3)], (x) =>
      b.gather(
        x,
        [
          [2, 0],
          [1, 1],
        ],
        { axis: -1 },
      ),
    ),
  ],
  indexSelect: [of([any(2, 3)], (x) => b.indexSelect(x, [2, 0, 2], { axis: -1 }))],
  indexAdd: [of([any(2, 3), any(2, 2)], (x, y) => b.indexAdd(x, [2, 2], y, { axis: 1, alpha: 0.5 }))],
  scatter: [
    of([any(2, 3), any(2, 1)], (x, y) =>
      b.scatter(
        x,
        [
          [0, 2],
          [1, 0],
        ],
        y,
        { axis: 1 },
      ),
    ),
  ],
  scatterAdd: [
    of([any(2, 3), any(2, 2)], (x, y) =>
      b.scatterAdd(
        x,
        [
          [0, 0],
          [1, 0],
        ],
        y,
        { axis: 1 },
      ),
    ),
  ],
  maskedFill: [
    of([any(2, 3)], (x) => b.maskedFill(x, mask, 4)),
    of([any(2, 3), any()], (x, v) => b.maskedFill(x, mask, v)),
  ],
  maskedSelect: [of([any(2, 3)], (x) => b.maskedSelect(x, mask))],
  oneHot: [rough([whole(0, 3)(2, 2)], (x) => b.oneHot(x, { classes: 4 }))],
  embedding: [
    of([any(4, 3)], (w) =>
      b.embedding(w, [
        [0, 3],
        [3, 1],
      ]),
    ),
    rough([any(4, 3)], (w) => b.embedding(w, [0, 3, 1], { paddingIndex: 3 })),
  ],
  sort: [
    of([spaced(3, 4)], (x) => b.sort(x).values),
    of([spaced(3, 4)], (x) => b.sort(x, { axis: 0, descending: true }).values),
  ],
  topK: [
    of([spaced(3, 4)], (x) => b.topK(x, 2).values),
    of([spaced(3, 4)], (x) => b.topK(x, 1, { axis: 0, largest: false }).values),
  ],
  kthValue: [
    of([spaced(3, 4)], (x) => b.kthValue(x, 2).values),
    of([spaced(3, 4)], (x) => b.kthValue(x, 3, { axis: 0, keepDims: true }).values),
  ],
  median: [
    of([spaced(3, 4)], (x) => b.median(x).values),
    of([spaced(3, 4)], (x) => b.median(x, { axis: 0 }).values),
  ],
  quantile: [
    of([spaced(3, 4)], (x) => b.quantile(x, [0, 0.3, 0.9], { axis: 1 })),
    of([spaced(3, 4)], (x) => b.quantile(x, 0.4, { keepDims: true })),
    of([spaced(3, 4)], (x) => b.quantile(x, 0.4, { axis: 0, interpolation: "nearest" })),
    of([spaced(3, 4)], (x) => b.quantile(x, 0.7, { axis: -1, interpolation: "midpoint" })),
  ],
  matmul: [
    of([any(3), any(3)], (x, y) => b.matmul(x, y)),
    of([any(3), any(2, 3, 2)], (x, y) => b.matmul(x, y)),
    of([any(2, 2, 3), any(3)], (x, y) => b.matmul(x, y)),
    of([any(2, 2, 3), any(3, 4)], (x, y) => b.matmul(x, y)),
    of([any(2, 3, 2), any(3, 4)], (x, y) => b.matmul(x, y, { transposeA: true })),
  ],
  linear: [
    of([any(2, 2, 3), any(4, 3), any(4)], (x, w, c) => b.linear(x, w, c)),
    of([any(3), any(4, 3)], (x, w) => b.linear(x, w)),
  ],
  addmm: [of([any(4), any(2, 3), any(3, 4)], (c, x, y) => b.addmm(c, x, y, { beta: 0.5, alpha: 2 }))],
  dot: [of([any(3), any(3)], (x, y) => b.dot(x, y))],
  outer: [of([any(3), any(2)], (x, y) => b.outer(x, y))],
  einsum: [
    of([any(2, 3), any(3, 4)], (x, y) => b.einsum("ij,jk->ik", x, y)),
    of([any(2, 3, 4), any(2, 4, 2)], (x, y) => b.einsum("bij,bjk->bki", x, y)),
    of([any(3, 3)], (x) => b.einsum("ii", x)),
    of([any(3, 3)], (x) => b.einsum("ii->i", x)),
    of([any(2, 3)], (x) => b.einsum("ij->j", x)),
    of([any(2), any(3)], (x, y) => b.einsum("i,j->ij", x, y)),
    of([any(5, 2, 3), any(3, 4)], (x, y) => b.einsum("...ij,jk->...ik", x, y)),
    of([any(2, 1, 2, 3), any(3, 3, 2)], (x, y) => b.einsum("...ij,...jk->...ik", x, y)),
    of([any(2, 3), any(3, 2), any(2, 2)], (x, y, z) => b.einsum("ij,jk,kl->il", x, y, z)),
  ],
  softmax: [of([any()], (x) => b.softmax(x)), of([any(2, 3)], (x) => b.softmax(x, 0))],
  logSoftmax: [of([any()], (x) => b.logSoftmax(x)), of([any(2, 3)], (x) => b.logSoftmax(x))],
  softmin: [of([any(2, 3)], (x) => b.softmin(x))],
  layerNorm: [
    of([any(2, 3)], (x) => b.layerNorm(x)),
    of([any(2, 3, 4), any(3, 4), any(3, 4)], (x, w, c) => b.layerNorm(x, w, c, { eps: 0.01 })),
    of([any(2, 3, 4)], (x) => b.layerNorm(x, null, null, { normalizedShape: [3, 4] })),
  ],
  rmsNorm: [
    of([any(2, 3), any(3)], (x, w) => b.rmsNorm(x, w)),
    of([any(2, 3)], (x) => b.rmsNorm(x, null, { normalizedShape: [2, 3] })),
  ],
  batchNorm: [
    of([any(4, 2)], (x) => b.batchNorm(x)),
    of([any(3, 2, 2, 2), any(2), any(2)], (x, w, c) => b.batchNorm(x, null, null, w, c)),
    of([any(3, 2, 2), any(2), positive(2), any(2), any(2)], (x, m, v, w, c) =>
      b.batchNorm(x, m, v, w, c, { eps: 0.1 }),
    ),
  ],
  groupNorm: [
    of([any(2, 4, 3), any(4), any(4)], (x, w, c) => b.groupNorm(x, w, c, { groups: 2 })),
    of([any(2, 4)], (x) => b.groupNorm(x)),
  ],
  instanceNorm: [of([any(2, 2, 3), any(2), any(2)], (x, w, c) => b.instanceNorm(x, w, c))],
  groupedQuery: [
    of([any(1, 4, 3, 2), any(1, 2, 3, 2), any(1, 2, 3, 2)], (q, k, v) => b.groupedQuery(q, k, v)),
    of([any(1, 2, 3, 2), any(1, 1, 3, 2), any(1, 1, 3, 2)], (q, k, v) =>
      b.groupedQuery(q, k, v, { causal: false }),
    ),
  ],
  scaledDotProductAttention: [
    of([any(2, 3), any(4, 3), any(4, 2)], (q, k, v) => b.scaledDotProductAttention(q, k, v)),
    of([any(2, 3, 2), any(2, 3, 2), any(2, 3, 2)], (q, k, v) =>
      b.scaledDotProductAttention(q, k, v, { causal: true }),
    ),
    of([any(1, 4, 2, 2), any(1, 2, 3, 2), any(1, 2, 3, 2)], (q, k, v) =>
      b.scaledDotProductAttention(q, k, v, { mask, scale: 0.3 }),
    ),
    of([any(1, 2, 2, 2), any(1, 1, 3, 2), any(1, 1, 3, 2), any(2, 3)], (q, k, v, m) =>
      b.scaledDotProductAttention(q, k, v, { mask: m }),
    ),
    of([any(1, 2, 2, 2), any(1, 1, 3, 2), any(1, 1, 3, 2)], (q, k, v) =>
      b.scaledDotProductAttention(q, k, v, { mask, causal: true }),
    ),
    of([any(1, 2, 4), any(1, 3, 2), any(1, 3, 2), any(2, 3)], (q, k, v, m) =>
      b.scaledDotProductAttention(q, k, v, { mask: m, heads: 2 }),
    ),
    of([any(1, 2, 2), any(1, 3, 1), any(1, 3, 3)], (q, k, v) =>
      b.scaledDotProductAttention(q, k, v, { heads: 2 }),
    ),
  ],
  rotary: [
    of([any(2, 3, 4)], (x) => b.rotary(x)),
    of([any(3, 4)], (x) => b.rotary(x, { style: "half", offset: 3, base: 50 })),
  ],
  conv1d: [
    of([any(2, 2, 5), any(3, 2, 2), any(3)], (x, w, c) =>
      b.conv1d(x, w, c, { stride: 2, padding: [1, 0], dilation: 2 }),
    ),
    of([any(1, 2, 4), any(2, 1, 3)], (x, w) => b.conv1d(x, w, null, { groups: 2, padding: 1 })),
  ],
  conv2d: [
    of([any(1, 2, 3, 4), any(2, 2, 2, 2), any(2)], (x, w, c) => b.conv2d(x, w, c)),
    of([any(2, 2, 4, 4), any(2, 1, 3, 2)], (x, w) =>
      b.conv2d(x, w, null, {
        stride: [2, 1],
        padding: [
          [1, 0],
          [0, 2],
        ],
        dilation: [1, 2],
        groups: 2,
      }),
    ),
  ],
  conv2dTranspose: [
    of([any(1, 2, 3, 2), any(2, 3, 2, 2), any(3)], (x, w, c) => b.conv2dTranspose(x, w, c)),
    of([any(1, 2, 3, 2), any(2, 1, 2, 3)], (x, w) =>
      b.conv2dTranspose(x, w, null, { stride: [2, 3], padding: [1, 0], outputPadding: [1, 0], groups: 2 }),
    ),
    of([any(1, 2, 2, 3), any(2, 1, 2, 1)], (x, w) =>
      b.conv2dTranspose(x, w, null, {
        stride: [1, 2],
        dilation: [3, 4],
        padding: [1, 0],
        outputPadding: [2, 3],
      }),
    ),
  ],
  unfold: [
    of([any(1, 2, 3, 4)], (x) =>
      b.unfold(x, {
        kernelSize: [2, 3],
        stride: [1, 2],
        padding: [
          [1, 0],
          [0, 1],
        ],
      }),
    ),
  ],
  maxPool1d: [of([spaced(1, 2, 5)], (x) => b.maxPool1d(x, { kernelSize: 3, stride: 2, padding: 1 }))],
  maxPool2d: [
    of([spaced(1, 2, 4, 4)], (x) => b.maxPool2d(x, 2)),
    of([spaced(1, 1, 5, 4)], (x) =>
      b.maxPool2d(x, { kernelSize: [3, 2], stride: [2, 1], padding: [1, 0], ceilMode: true }),
    ),
    of([spaced(1, 1, 5, 5)], (x) => b.maxPool2d(x, { kernelSize: 2, dilation: 2, stride: 1 })),
  ],
  maxPool2dWithIndices: [of([spaced(1, 2, 4, 4)], (x) => b.maxPool2dWithIndices(x, [2, 1]).values)],
  avgPool1d: [
    of([any(1, 2, 5)], (x) => b.avgPool1d(x, { kernelSize: 2, padding: 1, countIncludePad: false })),
  ],
  avgPool2d: [
    of([any(1, 2, 5, 4)], (x) =>
      b.avgPool2d(x, { kernelSize: 2, stride: [2, 1], padding: [1, 0], ceilMode: true }),
    ),
  ],
  adaptiveAvgPool2d: [
    of([any(1, 2, 5, 4)], (x) => b.adaptiveAvgPool2d(x, [3, null])),
    of([any(2, 5, 4)], (x) => b.adaptiveAvgPool2d(x, 1)),
  ],
  dropout: [
    of([any(4, 4)], (x) => b.dropout(x, { p: 0.4, rng: new Rng(1) })),
    of([any(4)], (x) => b.dropout(x, { training: false })),
    of([any(4)], (x) => b.dropout(x, { p: 1 })),
  ],
};
