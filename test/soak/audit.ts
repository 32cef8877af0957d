/**
 * Every call of a kernel, held to its reference: the arguments are copied before, the reference runs on the copies, and the
 * outputs must lie within the bound that the conformance suite holds them to. Inputs must come out as they went in.
 */

import * as attention from "../../kernels/attention/cases.ts";
import * as attentionReference from "../../kernels/attention/reference.ts";
import { convTolerance } from "../../kernels/conv/cases.ts";
import * as convReference from "../../kernels/conv/reference.ts";
import * as elementwise from "../../kernels/elementwise/cases.ts";
import * as elementwiseReference from "../../kernels/elementwise/reference.ts";
import { loopOf, simdSlopes } from "../../kernels/elementwise/simd-loops.ts";
import * as gatherReference from "../../kernels/gather/reference.ts";
import { gemmTolerance } from "../../kernels/gemm-f32/cases.ts";
import { gemm } from "../../kernels/gemm-f32/reference.ts";
import * as loss from "../../kernels/loss/cases.ts";
import * as lossReference from "../../kernels/loss/reference.ts";
import * as movementReference from "../../kernels/movement/reference.ts";
import * as norm from "../../kernels/norm/cases.ts";
import * as normReference from "../../kernels/norm/reference.ts";
import * as optimizerReference from "../../kernels/optimizer/reference.ts";
import * as pool from "../../kernels/pool/cases.ts";
import * as poolReference from "../../kernels/pool/reference.ts";
import { sumTolerance } from "../../kernels/reduce/cases.ts";
import * as reduceReference from "../../kernels/reduce/reference.ts";
import * as softmax from "../../kernels/softmax/cases.ts";
import * as softmaxReference from "../../kernels/softmax/reference.ts";
import * as sortReference from "../../kernels/sort/reference.ts";
import { addressOf } from "../../kernels/wasm/heap.ts";
import type * as backend from "../../src/backend.ts";
import type { TypedArray } from "../../src/dtype.ts";

// biome-ignore lint/suspicious/noExplicitAny: kernels of every signature stand in one table
type Args = any[];
type Bounds = readonly (ArrayLike<number> | null)[];

interface Audit {
  reference(...args: Args): void;
  /** How many arguments, from the first, are outputs. */
  outputs: number;
  /** How far each output may lie from the reference's, element by element; null where they must be equal. */
  bounds(args: Args): Bounds;
  /** Its arrays belong to parameters, which need not lie on the heap. */
  owned?: boolean;
}

/** The bound of a number that nothing depends on. */
const free = -1;

const exact = (reference: (...args: Args) => void, outputs = 1): Audit => ({
  reference,
  outputs,
  bounds: () => Array.from({ length: outputs }, () => null),
});
const bounded = (
  reference: (...args: Args) => void,
  bound: (...args: Args) => ArrayLike<number> | null,
): Audit => ({ reference, outputs: 1, bounds: (args) => [bound(...args)] });

/** The largest finite size among arrays, 1 at the least: what scales a bound stated for numbers of size 1. */
function sizeOf(...arrays: readonly (ArrayLike<number> | null)[]): number {
  let most = 1;
  for (const array of arrays)
    for (let i = 0; i < (array?.length ?? 0); i++) {
      const size = Math.abs(array![i]);
      if (size > most && size < Infinity) most = size;
    }
  return most;
}

const flat = (length: number, value: number): Float64Array => new Float64Array(length).fill(value);
/** A few roundings of the values themselves. */
const relative = (array: ArrayLike<number>, share: number): Float64Array =>
  Float64Array.from(array, (x) => share * Math.abs(x));
const joined = (...arrays: readonly ArrayLike<number>[]): Float32Array =>
  Float32Array.from(arrays.flatMap((array) => Array.from(array)));

/** Of each row: its largest size and, from the reference, its 1/deviation. */
function rowSizes(x: ArrayLike<number>, rstd: ArrayLike<number>, n: number): number[] {
  return Array.from(rstd, (r, row) => sizeOf(Array.prototype.slice.call(x, row * n, (row + 1) * n)) * r);
}

/** The suite's bound for normal values, and half a unit of x over the deviation where the mean is taken off. */
function normBounds(
  out: Float32Array,
  x: Float32Array,
  weight: Float32Array | null,
  rstd: Float64Array,
  n: number,
) {
  const sizes = rowSizes(x, rstd, n);
  const gain = sizeOf(weight);
  const share = 1e-6 * Math.min(Math.sqrt(n), 8);
  return Float64Array.from(
    out,
    (_, i) => gain * (share + 2 ** -22 * sizes[Math.floor(i / n)] + share * sizes[Math.floor(i / n)]),
  );
}

function normGradBounds(
  [dx, dw, db]: readonly (Float32Array | null)[],
  dOut: Float32Array,
  x: Float32Array,
  weight: Float32Array | null,
  rstd: Float64Array,
  { rows, n }: normReference.RowSizes,
): Bounds {
  const sizes = rowSizes(x, rstd, n);
  const [grad, gain, normal] = [sizeOf(dOut), sizeOf(weight), Math.max(1, ...sizes.filter(Number.isFinite))];
  const long = Math.max(1, Math.sqrt(n) / 8);
  const of = (row: number) => 2e-6 * long * grad * gain * rstd[row] * (1 + sizes[row] ** 2);
  return [
    dx && Float64Array.from(dx, (_, i) => of(Math.floor(i / n))),
    dw && flat(dw.length, 1e-6 * rows * grad * normal),
    db && flat(db.length, 1e-6 * rows * grad),
  ];
}

/** Weights and states are a few roundings of what goes in. */
const update = (reference: (...args: Args) => void, written: readonly number[]): Audit => ({
  reference,
  outputs: 5,
  owned: true,
  bounds: (args) => {
    const size = sizeOf(...(args.filter((arg) => ArrayBuffer.isView(arg)) as TypedArray[]));
    return args.slice(0, 5).map((arg, i) => {
      if (!ArrayBuffer.isView(arg)) return null;
      return written.includes(i) ? flat((arg as TypedArray).length, 4e-7 * size * size) : null;
    });
  },
});

const conv = (reference: typeof convReference.conv2d, direction: "forward" | "input" | "weight"): Audit =>
  bounded(reference, convTolerance(reference, direction));

/** Infinities that a softmax turns into 0 make the bound of a finite result NaN; there it is a few roundings of the values. */
const mended = (bound: Float64Array, size: number): Float64Array =>
  bound.map((b) => (Number.isNaN(b) ? 1e-5 * size : b));

const pairs = [
  ["gemm", bounded(gemm, gemmTolerance)],
  [
    "unary",
    bounded(elementwiseReference.unary, (out, x, f) =>
      loopOf(f) ? elementwise.unaryTolerance(out, x, f) : null,
    ),
  ],
  [
    "unaryGrad",
    bounded(elementwiseReference.unaryGrad, (out, grad, x, y, slope) =>
      simdSlopes.has(slope) ? elementwise.gradTolerance(out, grad, x) : y && null,
    ),
  ],
  ["binary", exact(elementwiseReference.binary)],
  ["argsort", exact(sortReference.argsort)],
  ["gather", exact(gatherReference.gather)],
  ["scatter", exact(gatherReference.scatter)],
  ["scatterAdd", exact(gatherReference.scatterAdd)],
  ["select", exact(elementwiseReference.select)],
  ["sum", bounded(reduceReference.sum, sumTolerance)],
  ["fold", exact(reduceReference.fold)],
  ["deviations", exact(reduceReference.deviations)],
  ["argBest", exact(reduceReference.argBest)],
  ["scan", exact(reduceReference.scan)],
  ["softmax", bounded(softmaxReference.softmax, softmax.softmaxTolerance)],
  [
    "softmaxGrad",
    bounded(softmaxReference.softmaxGrad, (dx, dOut, out, sizes) => {
      const bound = softmax.softmaxGradTolerance(dx, dOut, out);
      return bound.map((b) => b * sizeOf(dOut) * (1 + Math.sqrt(sizes.n) / 8));
    }),
  ],
  ["logSoftmax", bounded(softmaxReference.logSoftmax, softmax.logSoftmaxTolerance)],
  [
    "logSoftmaxGrad",
    bounded(softmaxReference.logSoftmaxGrad, (dx, dOut, out, sizes) =>
      // A probability that is no normal number may be 0.
      softmax
        .logSoftmaxGradTolerance(dx, dOut, out, sizes)
        .map((b) => sizeOf(dOut) * (b + sizes.n * 2 ** -126)),
    ),
  ],
  ["logSumExp", bounded(softmaxReference.logSumExpOver, softmax.sumTolerance)],
  [
    "crossEntropy",
    {
      reference: lossReference.crossEntropy,
      outputs: 2,
      bounds: ([out, lse, logits]) => {
        const bound = loss.forwardTolerance(out, lse, logits);
        const most = bound.length === 0 ? 0 : 1e-6 * sizeOf(logits);
        return [flat(out.length, most), flat(lse.length, most)];
      },
    },
  ],
  ["crossEntropyGrad", bounded(lossReference.crossEntropyGrad, loss.backwardTolerance)],
  [
    "layerNorm",
    {
      reference: normReference.layerNorm,
      outputs: 3,
      bounds: ([out, mean, rstd, x, weight, , { n }]) => [
        normBounds(out, x, weight, rstd, n),
        // A row with infinities has no deviation; whether its mean is infinite or NaN, the result is NaN.
        relative(mean, 1e-6).map((b, i) => (Number.isNaN(rstd[i]) ? free : b + 1e-7 * sizeOf(x))),
        relative(rstd, 1e-5),
      ],
    },
  ],
  [
    "rmsNorm",
    {
      reference: normReference.rmsNorm,
      outputs: 2,
      bounds: ([out, rstd, x, weight, { n }]) => [normBounds(out, x, weight, rstd, n), relative(rstd, 1e-6)],
    },
  ],
  [
    "layerNormGrad",
    {
      reference: normReference.layerNormGrad,
      outputs: 3,
      bounds: ([dx, dw, db, dOut, x, weight, , rstd, sizes]) =>
        normGradBounds([dx, dw, db], dOut, x, weight, rstd, sizes),
    },
  ],
  [
    "rmsNormGrad",
    {
      reference: normReference.rmsNormGrad,
      outputs: 2,
      bounds: ([dx, dw, dOut, x, weight, rstd, sizes]) =>
        normGradBounds([dx, dw, null], dOut, x, weight, rstd, sizes),
    },
  ],
  [
    "batchNorm",
    {
      reference: normReference.batchNorm,
      outputs: 3,
      bounds: ([out, mean, variance, ...rest]) => {
        const args = [joined(out, mean, variance), out.slice(), ...rest] as unknown as norm.BatchArgs;
        const all = norm.batchTolerance(...args).map((b) => (Number.isNaN(b) ? free : b));
        const cut = out.length + mean.length;
        return [all.subarray(0, out.length), all.subarray(out.length, cut), all.subarray(cut)];
      },
    },
  ],
  [
    "batchNormGrad",
    {
      reference: normReference.batchNormGrad,
      outputs: 3,
      bounds: ([dx, , , dOut, x, weight, , variance, { n, c, pixels }, eps]) => {
        const rstd = variance.map((v: number) => 1 / Math.sqrt(v + eps));
        const [grad, gain, rows] = [sizeOf(dOut), sizeOf(weight), n * pixels];
        const far = 1 + sizeOf(x) * sizeOf(rstd);
        return [
          Float64Array.from(dx, (_, i) => 4e-6 * grad * gain * rstd[Math.floor(i / pixels) % c] * far ** 2),
          flat(c, 1e-6 * rows * grad * far),
          flat(c, 1e-6 * rows * grad),
        ];
      },
    },
  ],
  ["strided", exact(movementReference.strided)],
  ["scatterStrided", exact(movementReference.scatterStrided)],
  ["takeRows", exact(movementReference.takeRows)],
  ["addRows", exact(movementReference.addRows)],
  ["permute", exact(movementReference.permute)],
  ["clear", exact(movementReference.clear)],
  [
    "attention",
    {
      reference: attentionReference.attention,
      outputs: 2,
      bounds: ([out, lse, q, k, v, sizes, options]) => {
        const all = mended(
          attention.attentionTolerance(joined(out, lse), q, k, v, sizes, options),
          sizeOf(q, k, v),
        );
        return [all.subarray(0, out.length), all.subarray(out.length)];
      },
    },
  ],
  [
    "attentionGrad",
    {
      reference: attentionReference.attentionGrad,
      outputs: 3,
      bounds: ([dq, dk, dv, ...rest]) => {
        const all = attention.backwardTolerance(
          ...([joined(dq, dk, dv), ...rest] as unknown as attention.BackwardArgs),
        );
        const cut = dq.length + dk.length;
        return [all.subarray(0, dq.length), all.subarray(dq.length, cut), all.subarray(cut)];
      },
    },
  ],
  ["conv2d", conv(convReference.conv2d, "forward")],
  ["conv2dInputGrad", conv(convReference.conv2dInputGrad, "input")],
  ["conv2dWeightGrad", conv(convReference.conv2dWeightGrad, "weight")],
  ["maxPool2dIndices", exact(poolReference.maxPool2dIndices, 2)],
  ["maxPool2dGrad", exact(poolReference.maxPool2dGrad)],
  ["avgPool2d", bounded(poolReference.avgPool2d, pool.averageTolerance)],
  ["avgPool2dGrad", bounded(poolReference.avgPool2dGrad, pool.averageGradTolerance)],
  ["adam", update(optimizerReference.adam, [0, 2, 3, 4])],
  ["sgd", update(optimizerReference.sgd, [0, 2])],
  ["lion", update(optimizerReference.lion, [0, 2])],
  ["signStep", update(optimizerReference.signStep, [0, 2])],
] as const satisfies readonly (readonly [keyof typeof backend, Audit])[];

/** How often each kernel was called with an array on the heap. */
export const calls = new Map<string, number>(pairs.map(([name]) => [name, 0]));

const copyOf = (arg: unknown): unknown => (ArrayBuffer.isView(arg) ? (arg as TypedArray).slice() : arg);

function watched(name: string, run: (...args: Args) => void, audit: Audit): (...args: Args) => void {
  return (...args) => {
    const before = args.map(copyOf);
    run(...args);
    const want = before.map((arg, i) => (i < audit.outputs ? copyOf(arg) : arg));
    audit.reference(...want);
    // Where the outputs say how well a result is known (1/deviation), those of the reference do.
    const bounds = audit.bounds(want);
    args.forEach((arg, k) => {
      if (!ArrayBuffer.isView(arg)) return;
      const [got, wanted] = [arg as TypedArray, want[k] as TypedArray];
      if (got.length !== wanted.length) throw new Error(`${name}: argument ${k} lost its memory`);
      const bound = k < audit.outputs ? bounds[k] : null;
      for (let i = 0; i < got.length; i++) {
        const [g, w] = [got[i], wanted[i]];
        if (g === w || Object.is(g, w)) continue;
        if (bound && (bound[i] === free || Math.abs(g - w) <= bound[i])) continue;
        throw new Error(
          `${name}: argument ${k}, element ${i} of ${got.length}: got ${g}, want ${w} within ${bound?.[i] ?? 0}`,
        );
      }
    });
    if (audit.owned || args.some((arg) => ArrayBuffer.isView(arg) && addressOf(arg as TypedArray) !== 0))
      calls.set(name, calls.get(name)! + 1);
  };
}

/** The backend with every kernel watched. */
export function audited(actual: typeof backend): typeof backend {
  const kernels = pairs.map(([name, audit]) => [
    name,
    watched(name, actual[name] as (...args: Args) => void, audit),
  ]);
  return { ...actual, ...Object.fromEntries(kernels) };
}

/** Kernels of the backend that no audit watches. */
export const unwatched = (actual: typeof backend): string[] => {
  const choices = ["choices", "useBackend", "backendInfo", "setThreads", "setHeapBudget", "usesSimd"];
  // These say what they find, or no op of the programs calls them; the conformance suite holds them.
  const elsewhere = [
    ...["anyNonFinite", "firstOutside", "places", "cast"],
    ...["encodeSigns", "quantizeRows", "quantizeBy"],
    ...["words", "normals", "bernoulli", "divergence", "divergenceGrad"],
    ...["rangesOfRuns", "uniformRuns", "uniformRows", "levelRuns", "signRuns"],
  ];
  return Object.keys(actual).filter((name) => ![...calls.keys(), ...choices, ...elsewhere].includes(name));
};
