/** Sums that leave float32 on their way and come back: SIMD, which sums in float32, gives what the reference gives. */

import {
  avgPool2d,
  batchNorm,
  conv2d,
  conv2dTranspose,
  grad,
  layerNorm,
  linear,
  logSoftmax,
  matmul,
  Rng,
  rmsNorm,
  scaledDotProductAttention,
  softmax,
  type Tensor,
  tensor,
  useBackend,
} from "bitgrad";
import { afterEach, describe, expect, it } from "vitest";

const largest = 3e38;
const root = Math.sqrt(largest);

/** Numbers of random sign, from half of `size` to all of it. */
function draw(shape: number[], size: number): Tensor {
  const rng = new Rng(`overflow ${shape}`);
  const count = shape.reduce((a, b) => a * b, 1);
  const data = Float32Array.from(
    { length: count },
    () => (rng.next() < 0.5 ? -1 : 1) * size * (0.5 + rng.next() / 2),
  );
  return tensor(data).reshape(shape);
}

/** The gradient of Σ f(x) · g in x. */
const gradient = (f: (x: Tensor) => Tensor, x: Tensor, g: Tensor): Tensor =>
  grad((at: Tensor) => f(at).mul(g).sum())(x) as Tensor;

const pictures = draw([2, 8, 12, 12], root);
const filters = draw([8, 8, 3, 3], root);
const made = draw([2, 8, 10, 10], root);
const rows = draw([64, 300], largest);
const small = draw([64, 300], 1);
const slopes = draw([300], 1);
const [q, k, v] = [draw([2, 4, 40, 16], 1), draw([2, 4, 41, 16], 1), draw([2, 4, 41, 16], largest)];

/** Scores of 0 whose sums pass −∞ on their way. */
const even = tensor(new Float32Array(64 * 16).fill(1)).reshape([1, 1, 64, 16]);
const steep = tensor(
  Float32Array.from({ length: 128 * 16 }, (_, i) => (i < 2 ? -largest : i < 4 ? largest : 0)),
).reshape([1, 1, 128, 16]);
const values = draw([1, 1, 128, 16], 1);

const cases: Record<string, () => Tensor> = {
  matmul: () => matmul(draw([70, 90], root), draw([90, 80], root)),
  "matmul of a batch": () => matmul(draw([3, 20, 90], root), draw([3, 90, 20], root)),
  "matmul with a vector": () => matmul(draw([70, 90], root), draw([90], root)),
  linear: () => linear(draw([70, 90], root), draw([80, 90], root), draw([80], largest)),
  conv2d: () => conv2d(pictures, filters),
  "conv2d, depthwise": () => conv2d(pictures, draw([8, 1, 3, 3], root), null, { groups: 8 }),
  conv2dTranspose: () => conv2dTranspose(made, filters),
  "conv2d, gradient of the filters": () => gradient((w) => conv2d(pictures, w), filters, made),
  avgPool2d: () => avgPool2d(draw([2, 8, 12, 12], largest), { kernelSize: 3 }),
  scaledDotProductAttention: () => scaledDotProductAttention(q, k, v),
  "scaledDotProductAttention, masked rows among others": () =>
    scaledDotProductAttention(q, k, v, {
      mask: tensor(Array.from({ length: 40 }, (_, i) => Array<boolean>(41).fill(i > 3))),
    }),
  "scaledDotProductAttention, gradient of queries": () =>
    gradient((x) => scaledDotProductAttention(x, k, v), q, draw([2, 4, 40, 16], 1)),
  "scaledDotProductAttention, scores": () => scaledDotProductAttention(even, steep, values),
  "scaledDotProductAttention, scores, gradient of values": () =>
    gradient((x) => scaledDotProductAttention(even, steep, x), values, draw([1, 1, 64, 16], 1)),
  "scaledDotProductAttention, scores with a mask": () =>
    scaledDotProductAttention(tensor([[[[1e17, 0]]]]), tensor([[[[-1e17, 0]]]]), tensor([[[[1, 0]]]]), {
      mask: tensor([[-3.4028234663852886e38]]),
      scale: 1,
    }),
  "layerNorm, gradient": () => gradient((x) => layerNorm(x, slopes, slopes), small, rows),
  "batchNorm, huge weights": () => batchNorm(small, null, null, slopes.mul(1e36), slopes.mul(1e36)),
  "batchNorm, gradient": () => gradient((x) => batchNorm(x, null, null, slopes, slopes), small, rows),
  "rmsNorm, gradient": () => gradient((x) => rmsNorm(x, slopes), small, rows),
  "softmax, gradient": () => gradient((x) => softmax(x, 1), small, rows),
  "logSoftmax, gradient": () => gradient((x) => logSoftmax(x, 1), small, rows),
};

afterEach(() => useBackend("simd"));

describe("where only sums on the way overflow, SIMD gives finite numbers as the reference does", () => {
  it.each(Object.keys(cases))("%s", (name) => {
    useBackend("reference");
    const want = Array.from(cases[name]().data);
    useBackend("simd");
    const got = Array.from(cases[name]().data);
    expect(want.some((x) => Number.isFinite(x) && x !== 0)).toBe(true);
    expect(got.map((x) => (Number.isFinite(x) ? "finite" : x))).toEqual(
      want.map((x) => (Number.isFinite(x) ? "finite" : x)),
    );
    const size = Math.max(...want.filter(Number.isFinite).map(Math.abs));
    got.forEach((x, i) => {
      if (Number.isFinite(x)) expect(Math.abs(x - want[i])).toBeLessThanOrEqual(1e-5 * size);
    });
  });

  it("what an infinite or missing input makes of a product stays so", () => {
    for (const odd of [Number.POSITIVE_INFINITY, Number.NaN]) {
      const x = new Float32Array(90).fill(1);
      x[7] = odd;
      const y = matmul(tensor(x).reshape([1, 90]), draw([90, 80], 1).abs());
      expect(Array.from(y.data)).toEqual(Array<number>(80).fill(odd));
    }
  });
});
