import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { readSafetensors } from "bitgrad/io";
import { Embedding, parametrize } from "bitgrad/nn";
import type { PackedWeight } from "bitgrad/packed";
import {
  bitnet158,
  bwn,
  chooseParams,
  dequantize,
  freeze,
  nf4,
  pack,
  QuantizedTransform,
  type Quantizer,
  quantized,
  spec,
  ste,
} from "bitgrad/quant";
import { laws } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packBits, packedBytes, unpackBits } from "../../kernels/bits.ts";
import { quantizeBy } from "../../src/codes/quantizer.ts";
import { Parameter } from "../../src/nn/parameter.ts";

/** Codes of its own: 0 up to 0.7, signs beyond. */
const steps: Quantizer = {
  name: "steps",
  spec: spec({ bits: 2, granularity: "channel" }),
  params: (x) => chooseParams(x, steps.spec),
  codes: (x) => x.abs().greater(0.7).where(x.sign(), 0).to("int8"),
};

const all: readonly Quantizer[] = [
  ste({ bits: 8 }),
  ste({ bits: 8, granularity: "tensor" }),
  ste({ bits: 4, granularity: { group: 32 } }),
  ste({ bits: 2, granularity: { group: 5 } }),
  nf4({ granularity: { group: 5 } }),
  bitnet158(),
  bitnet158({ granularity: "tensor" }),
  bwn(),
  bwn({ granularity: { group: 7 } }),
  bwn({ center: true }),
  bwn({ center: true, granularity: { group: 7 } }),
  bwn({ center: true, granularity: "tensor" }),
  steps,
  ste({ bits: 8, scheme: "affine" }),
  ste({ bits: 4, scheme: "affine", signed: true, granularity: "tensor" }),
  ste({ bits: 4, scheme: "affine", granularity: { group: 5 } }),
  ste({ bits: 4, scheme: "affine", zeroPoint: "float", granularity: { group: 5 } }),
];
const label = ({ name, spec: { granularity, scheme } }: Quantizer) =>
  `${name}, ${scheme}, per ${typeof granularity === "string" ? granularity : JSON.stringify(granularity)}`;
const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const trained = (x: Tensor, q: Quantizer) => new QuantizedTransform(q).apply(x);
/** Groups run along the rows of a matrix (out, …). */
const rowsOf = (x: Tensor, q: Quantizer) =>
  typeof q.spec.granularity === "object" ? x.reshape([x.shape[0], -1]) : x;
const stored = (x: Tensor, q: Quantizer) => quantizeBy(rowsOf(x, q), q);
const layerOf = (x: Tensor, q: Quantizer) => {
  const layer = new Embedding(x.shape[0], x.size / x.shape[0]);
  layer.weight = new Parameter(x);
  parametrize(layer, "weight", quantized(q));
  return layer;
};

/** The one that has a threshold of its own takes neither the nearest level, nor twice the weights alike. */
describe.each(all.map((q) => [label(q), q] as const))("%s", (_, q) => {
  const free = q !== steps;
  for (const { name, check } of laws.quantizer(() => q, { nearest: free, scaleFree: free })) it(name, check);

  it("packs every code into its bits and no more", () => {
    const packed = pack(freeze(layerOf(randn([3, 37], { rng: new Rng(1) }), q)));
    const { coded } = (packed.root as unknown as { weight: PackedWeight }).weight;
    const size = 3 * Math.ceil((37 * q.spec.bits) / 8);
    expect(coded!.codes.length).toBe(size);
    const { tensors } = readSafetensors(packed.toBytes(), { widen: true });
    const points = coded!.zeroPoint;
    const whole = points && q.spec.zeroPoint !== "float" ? points.length : 0;
    expect(tensors.codes.shape).toEqual([size + whole]);
  });

  it("passes every gradient where no number is out of its range, and has codes for kernels of windows", () => {
    const x = randn([4, 32], { rng: new Rng(2) });
    x.requiresGrad = true;
    trained(x, q).sum().backward();
    if (!q.soft && !q.codes) expect(list(x.grad!)).toEqual(Array(128).fill(1));
    const windows = randn([2, 3, 9], { rng: new Rng(7) });
    expect(list(dequantize(stored(windows, q)))).toEqual(list(trained(windows, q)));
  });
});

it.each([bwn(), bitnet158()])("$name passes the gradient everywhere", (q) => {
  const x = randn([4, 32], { rng: new Rng(2) });
  x.requiresGrad = true;
  trained(x, q).sum().backward();
  expect(list(x.grad!)).toEqual(Array(128).fill(1));
});

it("bwn maps zero and minus zero to plus one", () => {
  expect(list(stored(tensor([[0, -0, 1, -3]]), bwn()).codes)).toEqual([1, 1, 1, -1]);
});

it("ste refuses one bit, which has another scale", () => {
  expect(() => ste({ bits: 1 })).toThrow(/ste: bits must be an integer from 2 to 8, got 1; use bwn/);
});

it("bitnet158 matches the specification's golden layer", () => {
  const q = bitnet158({ granularity: "tensor" });
  const w = tensor([
    [0.2, -0.6, 0.1],
    [-0.05, 0.4, 0.9],
  ]);
  expect(q.params(w).scale.item()).toBeCloseTo(0.375, 6);
  expect(list(stored(w, q).codes)).toEqual([1, -1, 0, 0, 1, 1]);
});

it("a quantized parameter trains its latent value", () => {
  const layer = layerOf(randn([2, 8], { rng: new Rng(3) }), bwn());
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
