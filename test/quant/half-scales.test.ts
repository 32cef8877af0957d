import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { evaluate, Linear } from "bitgrad/nn";
import { loadPacked, PackedWeight } from "bitgrad/packed";
import {
  bitnet158,
  bwn,
  dequantize,
  freeze,
  pack,
  plan,
  prepare,
  type Quantizer,
  quantize,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { toFloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import { noHalf } from "../../src/packed/file/weight.ts";

const list = (t: { data: ArrayLike<number> }) => Array.from(t.data);
const layerOf = (weight: Tensor, quantizer: Quantizer) => {
  const layer = new Linear(weight.shape[1], weight.shape[0], { bias: false });
  layer.weight.assign(weight);
  return evaluate(freeze(prepare(layer, plan({ default: { weight: quantizer } }))));
};

/** A weight of ordinary rows, and one whose scale float16 cannot hold as a normal number. */
const rows = (least: number) => {
  const x = randn([3, 8], { rng: new Rng(1) });
  return x.mul(tensor([[1], [least], [1]]));
};

describe("float16 scales", () => {
  it.each([
    ["int8", ste()],
    ["int4 in groups", ste({ bits: 4, granularity: { group: 4 } })],
    ["ternary", bitnet158()],
    ["1 bit", bwn()],
  ])("that would underflow stay float32, and no row becomes 0: %s", (_, quantizer) => {
    for (const least of [1e-9, 1e-6, 1e-30]) {
      const x = rows(least);
      const wide = { ...quantizer.spec, scaleDtype: "float32" } as const;
      const exact = quantizer.name === "ternary" ? null : dequantize(quantize(x, wide)).select(1);
      const layer = layerOf(x, quantizer);
      const got = layer.weight.effective();
      if (exact) expect(list(got.select(1))).toEqual(list(exact));
      expect(list(got.select(1)).some((v) => v !== 0)).toBe(true);
      const packed = pack(layer);
      const loaded = loadPacked(packed.toBytes());
      const input = { data: Float32Array.from({ length: 8 }, (_, i) => 1e9 * (i - 3)), shape: [1, 8] };
      expect(list(loaded.forward(input))).toEqual(list(packed.forward(input)));
      expect(loaded.byteLength).toBe(packed.byteLength);
    }
  });

  it("are stored as such where all of them are", () => {
    const sizeOf = (x: Tensor) => pack(layerOf(x, ste())).byteLength;
    expect(sizeOf(rows(1))).toBe(24 + 3 * 2);
    expect(sizeOf(rows(1e-9))).toBe(24 + 3 * 4);
  });

  it("of a quantizer of one's own are rounded before it trains with them, and their gradient passes", () => {
    const step = tensor([0.1], { requiresGrad: true });
    const how = spec({ bits: 4, scaleDtype: "float16" });
    const own: Quantizer = { name: "own", spec: how, params: () => ({ scale: step, zeroPoint: null }) };
    const layer = new Linear(5, 2, { bias: false, rng: new Rng(4) });
    prepare(layer, plan({ default: { weight: own } }));
    const half = 0.0999755859375;
    const trained = list(layer.weight.effective());
    expect(new Set(trained.map((v) => (v / half) % 1))).toEqual(new Set([0]));
    layer.weight.effective().sum().backward();
    expect(step.grad!.item()).not.toBe(0);
    const packed = pack(evaluate(freeze(layer)));
    expect(list(layer.weight.effective())).toEqual(trained);
    expect(packed.byteLength).toBe(2 * 3 + 2);
    const x = { data: Float32Array.of(1, 2, 3, 4, 5), shape: [1, 5] };
    expect(list(loadPacked(packed.toBytes()).forward(x))).toEqual(list(packed.forward(x)));
  });

  it("of a quantizer of one's own that are none are stored as they are trained with", () => {
    const own: Quantizer = {
      name: "own",
      spec: spec({ bits: 4, granularity: "channel", scaleDtype: "float16" }),
      params: () => ({ scale: tensor([0.1, 0.2]), zeroPoint: null }),
    };
    const layer = layerOf(randn([2, 5], { rng: new Rng(2) }), own);
    const x = randn([1, 5], { rng: new Rng(3) });
    const values = { data: Float32Array.from(x.data), shape: x.shape };
    const want = list(pack(layer).forward(values));
    expect(list(loadPacked(pack(layer).toBytes()).forward(values))).toEqual(want);
    list(layer.forward(x)).forEach((v, i) => {
      expect(Math.abs(v - want[i])).toBeLessThan(1e-6);
    });
  });

  it("are refused for a packed weight whose scales are none", () => {
    const coded = { rows: 1, columns: 1, bits: 8, signed: true, group: null, codebook: null } as const;
    const codes = Uint8Array.of(1);
    expect(() =>
      PackedWeight.ofCodes({ ...coded, codes, scale: Float32Array.of(0.1), scaleType: "float16" }),
    ).toThrow("PackedWeight: float16 scales must be float16 numbers, got 0.1");
    PackedWeight.ofCodes({ ...coded, codes, scale: Float32Array.of(0.5), scaleType: "float16" });
  });
});

it("float16 holds the numbers that survive it, and no others", () => {
  const halves = widenFloat16(Uint16Array.from({ length: 2 ** 16 }, (_, code) => code));
  for (const half of halves.filter(Number.isFinite)) {
    const words = new Uint32Array(Float32Array.of(half).buffer);
    for (const step of [0, 1, -1, 2 ** 12]) {
      const x = new Float32Array(Uint32Array.of(words[0] + step).buffer);
      if (noHalf(x) < 0 !== (widenFloat16(toFloat16(x))[0] === x[0])) throw new Error(String(x[0]));
    }
  }
  expect(noHalf(Float32Array.of(1, 2 ** -24, -65504, 65536))).toBe(3);
});
