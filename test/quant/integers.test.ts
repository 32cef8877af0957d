import { conv2d, linear, Rng, tensor, useBackend } from "bitgrad";
import { type QTensor, spec } from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { integerProduct, integersOf } from "../../src/codes/integer.ts";

const rng = new Rng("integers");

/** Codes of one scale, 1: random ones, all but some at an end of the range where `extreme`. */
function coded(shape: number[], { extreme = false, zero = null as number | null, group = 0 } = {}): QTensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const range = zero === null ? [-127, 127] : [0, 255];
  const draw = (): number => range[0] + Math.floor(rng.next() * (range[1] - range[0] + 1));
  const codes = Array.from({ length: size }, () => (extreme && rng.next() < 0.99 ? range[1] : draw()));
  const granularity = group > 0 ? { group } : ("tensor" as const);
  const scales = group > 0 ? [shape[0], Math.ceil(shape[1] / group)] : [1];
  const scheme = zero === null ? ("symmetric" as const) : ("affine" as const);
  return {
    codes: zero === null ? tensor(Int8Array.from(codes)) : tensor(Uint8Array.from(codes)),
    scale: tensor(new Float32Array(scales.reduce((a, b) => a * b, 1)).fill(1)).reshape(scales),
    zeroPoint: zero === null ? null : tensor([zero]),
    spec: spec({ bits: 8, scheme, granularity }),
    shape,
  } as QTensor;
}

const at = ({ codes, zeroPoint }: QTensor, i: number): number =>
  codes.data[i] - ((zeroPoint?.data[0] as number | undefined) ?? 0);

const shaped = (q: QTensor): QTensor => ({ ...q, codes: q.codes.reshape([...q.shape]) }) as QTensor;

const layerOf = (weight: QTensor) => ({ weight: weight as never });

/** Sums of products over columns in double precision, which holds them, rounded once for each group. */
function sums(x: QTensor, w: QTensor, group: number): number[] {
  const [m, k] = x.shape;
  const [n] = w.shape;
  const out: number[] = [];
  for (let r = 0; r < m; r++) {
    for (let c = 0; c < n; c++) {
      let total = 0;
      for (let from = 0; from < k; from += group) {
        let sum = 0;
        for (let i = from; i < Math.min(k, from + group); i++) sum += at(x, r * k + i) * at(w, c * k + i);
        total = Math.fround(total + Math.fround(sum));
      }
      out.push(total);
    }
  }
  return out;
}

afterEach(() => useBackend("simd"));

describe.each(["simd", "reference"] as const)(
  "products of codes on %s are exact sums, rounded once",
  (backend) => {
    it.each([
      { k: 518, extreme: true, zero: null },
      { k: 1041, extreme: true, zero: null },
      { k: 3072, extreme: true, zero: null },
      { k: 3072, extreme: true, zero: 3 },
      { k: 20_011, extreme: true, zero: null },
      { k: 70_001, extreme: true, zero: 255 },
      { k: 300_007, extreme: true, zero: null },
      { k: 20_011, extreme: false, zero: 128 },
    ])("of $k columns, extreme: $extreme, zero point $zero", ({ k, extreme, zero }) => {
      useBackend(backend);
      const [x, w] = [coded([2, k], { extreme, zero }), coded([3, k], { extreme })];
      expect(
        Array.from(integerProduct(integersOf(shaped(x)), shaped(w), layerOf(w), linear, -1).data),
      ).toEqual(sums(x, w, k));
    });

    it.each([7, 32, 1000, 5000])("of groups of %d columns", (group) => {
      useBackend(backend);
      const [x, w] = [coded([2, 3001], { extreme: true }), coded([3, 3001], { extreme: true, group })];
      expect(
        Array.from(integerProduct(integersOf(shaped(x)), shaped(w), layerOf(w), linear, -1).data),
      ).toEqual(sums(x, w, group));
    });

    it.each([
      { channels: 64, kernel: 3, zero: null },
      { channels: 256, kernel: 3, zero: 0 },
      { channels: 1, kernel: 45, zero: 0 },
    ])(
      "of convolutions, $channels channels, kernel $kernel, zero point $zero",
      ({ channels, kernel, zero }) => {
        useBackend(backend);
        const k = channels * kernel * kernel;
        const [x, w] = [coded([2, k], { extreme: true, zero }), coded([3, k], { extreme: true })];
        // One window an image: the same sums as of rows.
        const images = shaped({ ...x, shape: [2, channels, kernel, kernel] });
        const filters = shaped({ ...w, shape: [3, channels, kernel, kernel] });
        expect(
          Array.from(integerProduct(integersOf(images), filters, layerOf(filters), conv2d, 1).data),
        ).toEqual(sums(x, w, k));
      },
    );
  },
);

it("the products above would be wrong in float32", () => {
  const [x, w] = [coded([1, 3072], { extreme: true }), coded([1, 3072], { extreme: true })];
  let float = 0;
  for (let i = 0; i < 3072; i++) float = Math.fround(float + at(x, i) * at(w, i));
  expect(float).not.toBe(sums(x, w, 3072)[0]);
});
