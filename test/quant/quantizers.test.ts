import { Rng, randn, type Tensor, tensor, zeros } from "bitgrad";
import { parametrize } from "bitgrad/nn";
import {
  bitnet158,
  bwn,
  dequantize,
  fakeQuantize,
  type Quantizer,
  quantize,
  quantized,
  ste,
} from "bitgrad/quant";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packBits, packedBytes, unpackBits } from "../../kernels/bits.ts";
import { Parameter } from "../../src/nn/parameter.ts";

const all: readonly Quantizer[] = [
  ste({ bits: 8 }),
  ste({ bits: 8, granularity: "tensor" }),
  ste({ bits: 4, granularity: { group: 32 } }),
  ste({ bits: 2, granularity: { group: 5 } }),
  bitnet158(),
  bitnet158({ granularity: "tensor" }),
  bwn(),
  bwn({ granularity: { group: 7 } }),
];
const label = (q: Quantizer) =>
  `${q.name} per ${typeof q.granularity === "string" ? q.granularity : `group of ${q.granularity.group}`}`;
const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);

describe.each(all.map((q) => [label(q), q] as const))("%s", (_, q) => {
  it("stores exactly the numbers that training computes with", () => {
    for (const shape of [
      [3, 40],
      [1, 1],
      [5, 33],
      [2, 3, 9],
    ]) {
      const x = randn(shape, { rng: new Rng(7) });
      expect(list(dequantize(quantize(x, q), q))).toEqual(list(fakeQuantize(x, q)));
    }
  });

  it("packs every code into its bits and no more", () => {
    const x = randn([3, 37], { rng: new Rng(1) });
    expect(quantize(x, q).codes.shape).toEqual([3, Math.ceil((37 * q.bits) / 8)]);
  });

  it("passes the gradient straight through inside its range", () => {
    const x = randn([4, 32], { rng: new Rng(2) });
    x.requiresGrad = true;
    fakeQuantize(x, q).sum().backward();
    const off = list(x.grad!).filter((g) => Math.abs(g - 1) > 1e-6).length;
    expect(off).toBe(0);
  });

  it("maps zeros to finite values and refuses NaN and infinity", () => {
    expect(list(fakeQuantize(zeros([2, 8]), q)).every(Number.isFinite)).toBe(true);
    expect(() => quantize(tensor([[1, Number.NaN]]), q)).toThrow(/quantize: every element must be finite/);
    expect(() => quantize(tensor([[1, Number.POSITIVE_INFINITY]]), q)).toThrow(/must be finite/);
  });
});

describe("ste", () => {
  it("errs by at most half a step on the range it was scaled to", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 8 }),
        fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 40 }),
        (bits, values) => {
          const q = ste({ bits, granularity: "tensor" });
          const x = tensor(values);
          const scale = q.params(x).scale.item();
          const got = list(fakeQuantize(x, q));
          // The scale is rounded to float16, by at most 2^-11 of itself or half the smallest subnormal.
          const slack = 2 ** (bits - 1) * Math.max(2 ** -11 * scale, 2 ** -25);
          values.forEach((v, i) => {
            expect(Math.abs(v - got[i])).toBeLessThanOrEqual(scale / 2 + slack + 2 ** -20 * Math.abs(v));
          });
        },
      ),
    );
  });

  it("matches the specification's vector G for narrow int4 codes", () => {
    const x = tensor([-0.97, -0.41, -0.13, 0, 0.22, 0.68, 1.37, 1.93]);
    const q = ste({ bits: 4, granularity: "tensor" });
    expect(list(q.codes(x, q.params(x)))).toEqual([-4, -1, 0, 0, 1, 2, 5, 7]);
  });
});

describe("bwn", () => {
  it("maps zero and minus zero to plus one", () => {
    const q = bwn();
    const x = tensor([[0, -0, 1, -3]]);
    expect(list(q.codes(x, q.params(x)))).toEqual([1, 1, 1, -1]);
  });

  it("stores 1 for a negative weight", () => {
    expect(list(quantize(tensor([[1, -1, -1, 1, 1, 1, 1, -1]]), bwn()).codes)).toEqual([0b10000110]);
  });
});

it("bitnet158 matches the specification's golden layer", () => {
  const q = bitnet158({ granularity: "tensor" });
  const w = tensor([
    [0.2, -0.6, 0.1],
    [-0.05, 0.4, 0.9],
  ]);
  expect(q.params(w).scale.item()).toBeCloseTo(0.375, 6);
  expect(list(q.codes(w, q.params(w)))).toEqual([1, -1, 0, 0, 1, 1]);
});

it("a quantized parameter trains its latent value", () => {
  const layer = { weight: new Parameter(randn([2, 8], { rng: new Rng(3) })), forward: (x: Tensor) => x };
  parametrize(layer, "weight", quantized(bwn()));
  layer.weight.effective().square().sum().backward();
  expect(layer.weight.grad!.shape).toEqual([2, 8]);
});

describe("packBits", () => {
  it("is undone by unpackBits for every width, length and row count", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 0, max: 67 }),
        fc.infiniteStream(fc.nat(255)),
        (bits, rows, n, stream) => {
          const codes = Uint8Array.from({ length: rows * n }, () => stream.next().value & (2 ** bits - 1));
          const packed = packBits(codes, rows, n, bits);
          expect(packed.length).toBe(rows * packedBytes(n, bits));
          expect(unpackBits(packed, rows, n, bits)).toEqual(codes);
        },
      ),
    );
  });

  it("refuses codes that do not fit and lengths that do not match", () => {
    expect(() => packBits([4], 1, 1, 2)).toThrow(/packBits: codes must be integers from 0 to 3, got 4/);
    expect(() => packBits([1.5], 1, 1, 2)).toThrow(/got 1.5/);
    expect(() => packBits([1], 1, 2, 2)).toThrow(/need 2 codes, got 1/);
    expect(() => packBits([1], 1, 1, 9)).toThrow(/bits must be an integer from 1 to 8, got 9/);
    expect(() => unpackBits(new Uint8Array(3), 1, 8, 1)).toThrow(/need 1 bytes, got 3/);
  });
});
