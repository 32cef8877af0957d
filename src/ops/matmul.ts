/** Matrix products. */

import { gemm } from "../backend.ts";
import { bytesPerElement, exactly, type FloatArray, isFloat, promote, type TypedArray } from "../dtype.ts";
import { DTypeError, readOptions, ShapeError, show } from "../errors.ts";
import { broadcastShapes, broadcastStrides, type Shape, sizeOf, sizesAt } from "../shape.ts";
import { asOptional, asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Grads } from "./op.ts";
import { gate } from "./unary.ts";

export interface MatmulOptions {
  /** Read a with its last two axes exchanged. */
  transposeA: boolean;
  /** Read b with its last two axes exchanged. */
  transposeB: boolean;
}

/** The sizes of all axes but the last ones, so many. */
const leading = (shape: Shape, last: number): number[] => sizesAt(shape, 0, shape.length - last);

/** (m, k, n) of a product, checked. */
function sizes(
  a: Shape,
  b: Shape,
  { transposeA, transposeB }: MatmulOptions,
): [m: number, k: number, n: number] {
  const aAxis = a.length - (transposeA ? 2 : 1);
  const bAxis = b.length - (transposeB ? 1 : 2);
  const k = a[aAxis];
  const k2 = b[bAxis];
  if (k !== k2) {
    throw new ShapeError(
      `matmul: inner sizes differ, got ${show(a)} and ${show(b)}: axis ${aAxis} is ${k}, axis ${bAxis} is ${k2}`,
    );
  }
  return [a[a.length - (transposeA ? 1 : 2)], k, b[b.length - (transposeB ? 2 : 1)]];
}

/** A product of every pair of matrices that the leading axes of a and b, broadcast to those of out, name. */
function products(
  out: TypedArray,
  a: TypedArray,
  b: TypedArray,
  [aShape, bShape, outShape]: readonly Shape[],
  options: MatmulOptions,
): void {
  const [m, k, n] = sizes(aShape, bShape, options);
  if (outShape.length === 2) {
    gemm(out, a, b, { m, n, k, transposeA: options.transposeA, transposeB: options.transposeB });
    return;
  }
  const batch = leading(outShape, 2);
  const aStep = broadcastStrides(leading(aShape, 2), batch);
  const bStep = broadcastStrides(leading(bShape, 2), batch);
  const count = sizeOf(batch);
  for (let i = 0; i < count; i++) {
    let rest = i;
    let aAt = 0;
    let bAt = 0;
    for (let axis = batch.length - 1; axis >= 0; axis--) {
      const at = rest % batch[axis];
      rest = (rest - at) / batch[axis];
      aAt += at * aStep[axis];
      bAt += at * bStep[axis];
    }
    const offsets = { aOffset: aAt * m * k, bOffset: bAt * k * n, outOffset: i * m * n };
    gemm(out, a, b, { m, k, n, ...options, ...offsets });
  }
}

/** Products of integers, as they are or not at all: doubles hold their sums up to 2⁵³. */
function integerProducts(
  out: TypedArray,
  a: Tensor,
  b: Tensor,
  k: number,
  run: (out: TypedArray, a: TypedArray, b: TypedArray) => void,
): void {
  exactly("matmul", out, "int32", (to) => run(to, a.data, b.data));
  if (bytesPerElement(a.dtype) === 1 && bytesPerElement(b.dtype) === 1) return;
  if (largest(a.data) * largest(b.data) * k < 2 ** 53) return;
  const [left, right] = [a, b].map(({ data }) => Float64Array.from(data as ArrayLike<number>, Math.abs));
  const sums = new Float64Array(out.length);
  run(sums, left, right);
  const at = sums.findIndex((sum) => sum >= 2 ** 53);
  if (at < 0) return;
  throw new DTypeError(
    `matmul: the products of ${a.dtype} and ${b.dtype} sum beyond 2^53, got ${sums[at]} at index ${at}; use smaller integers or .to("float64")`,
  );
}

function largest(values: TypedArray): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

const matmulOp = defineOp<[a: Tensor, b: Tensor], MatmulOptions>("matmul", {
  writesAll: true,
  options: { transposeA: false, transposeB: false },
  arity: 2,
  shape([a, b], options) {
    const [m, , n] = sizes(a.shape, b.shape, options);
    if (a.rank === 2 && b.rank === 2) return [m, n];
    return [...broadcastShapes("matmul", leading(a.shape, 2), leading(b.shape, 2)), m, n];
  },
  dtype([a, b]) {
    const dtype = promote(a.dtype, b.dtype);
    return isFloat(dtype) ? dtype : "int32";
  },
  forward(out, [a, b], options, output) {
    const run = (to: TypedArray, left: TypedArray, right: TypedArray) =>
      products(to, left, right, [a.shape, b.shape, output.shape], options);
    if (isFloat(output.dtype)) run(out, a.data, b.data);
    else integerProducts(out, a, b, sizes(a.shape, b.shape, options)[1], run);
  },
  vjp: (grad, { inputs: [a, b], needs }, { transposeA, transposeB }): Grads => [
    !needs[0]
      ? null
      : transposeA
        ? matmulOp(b, grad, { transposeA: transposeB, transposeB: true })
        : matmulOp(grad, b, { transposeB: !transposeB }),
    !needs[1]
      ? null
      : transposeB
        ? matmulOp(grad, a, { transposeA: true, transposeB: transposeA })
        : matmulOp(a, grad, { transposeA: !transposeA }),
  ],
});

/**
 * The matrix product of the last two axes, (…, m, k)·(…, k, n) -> (…, m, n), leading axes broadcast. A vector counts as a
 * row on the left and as a column on the right. Integers multiply exactly into int32. Throws ShapeError, and DTypeError for
 * integers whose sums int32 cannot hold.
 */
export function matmul(a: TensorLike, b: TensorLike, given?: Partial<MatmulOptions>): Tensor {
  a = asTensor("matmul", a);
  const options = readOptions<MatmulOptions>("matmul", given, { transposeA: false, transposeB: false });
  const right = asTensor("matmul", b, a.dtype);
  if (a.rank === 0 || right.rank === 0) {
    throw new ShapeError(
      `matmul: needs at least one axis on both sides, got ${show(a.shape)} and ${show(right.shape)}`,
    );
  }
  if (a.rank === 1)
    return matmul(a.unsqueeze(0), right, { ...options, transposeA: false }).squeeze(
      right.rank === 1 ? 0 : -2,
    );
  if (right.rank === 1) return matmul(a, right.unsqueeze(-1), { ...options, transposeB: false }).squeeze(-1);
  // One large product instead of a batch of small ones, and no batch of gradients to sum.
  if (a.rank > 2 && right.rank === 2 && !options.transposeA) {
    const rows = matmulOp(a.reshape([sizeOf(a.shape, 0, a.rank - 1), a.shape[a.rank - 1]]), right, options);
    return rows.reshape([...leading(a.shape, 1), rows.shape[1]]);
  }
  return matmulOp(a, right, options);
}

/** The rows of a tensor along its last axis, as a matrix. */
const matrix = (t: Tensor): Tensor =>
  t.rank === 2 ? t : t.reshape([sizeOf(t.shape, 0, t.rank - 1), t.shape[t.rank - 1]]);

const linearOp = defineOp<[x: Tensor, weight: Tensor, bias?: Tensor | null]>("linear", {
  options: {},
  arity: [2, 3],
  writesAll: true,
  shape: ([x, weight]) => [...leading(x.shape, 1), weight.shape[0]],
  forward(out, [x, weight, bias]) {
    const [n, k] = weight.shape;
    const m = n === 0 ? 0 : out.length / n;
    gemm(out, x.data, weight.data, {
      m,
      n,
      k,
      transposeB: true,
      bias: bias ? (bias.data as FloatArray) : null,
    });
  },
  vjp: (grad, { inputs: [x, weight], needs }): Grads => [
    needs[0] ? matmulOp(matrix(grad), weight).reshape(x.shape) : null,
    needs[1] ? matmulOp(matrix(grad), matrix(x), { transposeA: true }) : null,
    // The tape sums it over the rows.
    needs[2] ? grad : null,
  ],
  composed: ([x, weight, bias]) => {
    const y = matmul(x, weight, { transposeB: true });
    return bias ? y.add(bias) : y;
  },
});

/** x·weightᵀ + bias: (…, in) with weight (out, in) and bias (out) -> (…, out). */
export function linear(x: TensorLike, weight: Tensor, bias?: Tensor | null): Tensor {
  x = asTensor("linear", x);
  weight = asTensor("linear", weight);
  if (weight.rank === 2 && x.rank > 0 && x.shape[x.rank - 1] !== weight.shape[1]) {
    throw new ShapeError(
      `linear: x must end in the ${weight.shape[1]} input features of the weight, got ${show(x.shape)} and ${show(weight.shape)}`,
    );
  }
  const { dtype } = x;
  const isFused =
    isFloat(dtype) &&
    x.rank > 0 &&
    weight.rank === 2 &&
    weight.dtype === dtype &&
    (bias === undefined ||
      bias === null ||
      (bias.dtype === dtype && bias.rank === 1 && bias.shape[0] === weight.shape[0]));
  if (isFused) return linearOp(x, weight, bias);
  const added = asOptional("linear", bias);
  if (x.rank === 0 || weight.rank !== 2 || (added && (added.rank !== 1 || added.size !== weight.shape[0]))) {
    throw new ShapeError(
      `linear: needs (…, in), a weight (out, in) and a bias (out), got ${show(x.shape)}, ${show(weight.shape)} and ${show(added?.shape ?? null)}`,
    );
  }
  const y = matmul(x, weight, { transposeB: true });
  return added ? y.add(added) : y;
}

/**
 * beta · input + alpha · a·b. What has the factor 0 is not read, whatever it holds, as in BLAS.
 *
 * @example
 * ```ts
 * import { addmm, ones } from "bitgrad";
 *
 * console.log(addmm(ones([2]), ones([1, 3]), ones([3, 2]), { beta: 10 }).toArray()); // [[13, 13]]
 * ```
 */
export function addmm(
  input: TensorLike,
  a: Tensor,
  b: Tensor,
  options?: { beta?: number; alpha?: number },
): Tensor {
  const { beta, alpha } = readOptions("addmm", options, { beta: 1, alpha: 1 });
  [a, b] = [asTensor("addmm", a), asTensor("addmm", b)];
  const [x, y] = alpha === 0 ? [unread(a), unread(b)] : [a, b];
  return (beta === 0 ? unread(input) : asTensor("addmm", input).mul(beta)).add(matmul(x, y).mul(alpha));
}

/** Zeros in the place of a tensor, with a gradient of zeros. */
const unread = (t: TensorLike): Tensor => gate(asTensor("addmm", false), asTensor("addmm", t));

/** The inner product of two vectors. */
export function dot(a: TensorLike, b: TensorLike): Tensor {
  a = asTensor("dot", a);
  const right = asTensor("dot", b, a.dtype);
  if (a.rank !== 1 || right.rank !== 1)
    throw new ShapeError(`dot: needs two vectors, got ${show(a.shape)} and ${show(right.shape)}`);
  return matmul(a, right);
}

/** Every product a[i]·b[j] of two vectors: (n), (m) -> (n, m). */
export function outer(a: TensorLike, b: TensorLike): Tensor {
  a = asTensor("outer", a);
  const right = asTensor("outer", b, a.dtype);
  if (a.rank !== 1 || right.rank !== 1)
    throw new ShapeError(`outer: needs two vectors, got ${show(a.shape)} and ${show(right.shape)}`);
  return a.unsqueeze(1).mul(right.unsqueeze(0));
}

export { linearOp, matmulOp };
