/** 1-bit weights of a model fitted to what its layers are given. */

import { OptionError, Rng, randn, relu, StageError, type Tensor, tensor } from "bitgrad";
import { Conv2d, evaluate, Flatten, LayerNorm, Linear, parametrize, Sequential } from "bitgrad/nn";
import {
  type BinarizeOptions,
  binarize,
  binaryWeightOnly,
  bwn,
  chooseParams,
  dequantize,
  freeze,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  type Quantizer,
  quantized,
  quantizedTransform,
  spec,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const codesOf = ({ weight }: { weight: Linear["weight"] }) => quantizedTransform(weight)!.codes;
const config = (quantizer: Quantizer) => plan({ default: { weight: quantizer } });
const exactly = { scaleDtype: "float32" } as const;

/** Rows whose columns are correlated, each with another magnitude and a mean. */
function inputs(rows: number, columns: number, seed: string): Tensor {
  const rng = new Rng(seed);
  const sizes = Float32Array.from({ length: columns }, (_, i) => 3 / (1 + (i % 7)));
  const mixed = randn([rows, columns], { rng }).matmul(randn([columns, columns], { rng }));
  return mixed.mul(tensor(sizes)).add(0.5);
}

const layerOf = (quantizer: Quantizer, outputs = 12, columns = 20): Linear => {
  const layer = new Linear(columns, outputs, { rng: new Rng("layer") });
  layer.weight.assign(randn([outputs, columns], { rng: new Rng("weight") }).add(0.3));
  return prepare(layer, config(quantizer));
};

/** Σ (x (Ŵ − W)ᵀ)² of each row of W. */
const errors = (x: Tensor, { weight }: Linear): number[] => {
  const off = weight.effective().sub(weight.value);
  return list(x.matmul(off, { transposeB: true }).square().sum({ axis: 0 }));
};

const quantizers: [name: string, make: () => Quantizer][] = [
  ["a scale for each row", () => bwn(exactly)],
  ["a scale for ragged groups", () => bwn({ granularity: { group: 7 }, ...exactly })],
  ["a scale for the tensor", () => bwn({ granularity: "tensor", ...exactly })],
  ["a scale for ragged blocks, which rows share", () => bwn({ granularity: { block: [5, 8] }, ...exactly })],
  ["a mean and a scale for each row", () => bwn({ center: true, ...exactly })],
  [
    "a mean and a scale for ragged groups",
    () => bwn({ center: true, granularity: { group: 7 }, ...exactly }),
  ],
  ["a mean and a scale for the tensor", () => bwn({ center: true, granularity: "tensor", ...exactly })],
];

describe.each(quantizers)("with %s", (name, make) => {
  const x = inputs(64, 20, "x");

  it("feedback has at most the error of ARB-X, and that at most the error of ARB", async () => {
    const found: number[][] = [];
    for (const method of ["arb", "arbX", "feedback"] as const) {
      found.push(errors(x, await binarize(layerOf(make()), [x], { method })));
    }
    // Rows that share a scale are fitted together.
    const sums = /tensor|share/.test(name) ? found.map((all) => [all.reduce((a, b) => a + b)]) : found;
    for (let i = 0; i < sums[0].length; i++) {
      expect(sums[1][i]).toBeLessThanOrEqual(sums[0][i] * 1.0001);
      expect(sums[2][i]).toBeLessThanOrEqual(sums[1][i] * 1.0001);
    }
    const total = found.map((all) => all.reduce((a, b) => a + b));
    expect(total[2]).toBeLessThan(0.8 * total[0]);
  });

  it("freezes and packs the codes that it found", async () => {
    const layer = await binarize(layerOf(make()), [x]);
    const held = list(dequantize(codesOf(layer)!));
    const frozen = evaluate(freeze(layer));
    expect(list(dequantize(codesOf(frozen)!))).toEqual(held);
    const root = pack(frozen).root as unknown as {
      weight: { readRow(out: Float32Array, row: number): void };
    };
    const packed = new Float32Array(12 * 20);
    for (let row = 0; row < 12; row++) root.weight.readRow(packed.subarray(row * 20, (row + 1) * 20), row);
    expect(Array.from(packed)).toEqual(held);
  });

  it("gives the same bits again, and as much for batches of other sizes", async () => {
    const [first, again, parts] = await Promise.all(
      [[x], [x], x.chunk(4)].map((batches) => binarize(layerOf(make()), batches)),
    );
    expect(list(codesOf(again)!.codes)).toEqual(list(codesOf(first)!.codes));
    expect(list(codesOf(again)!.scale)).toEqual(list(codesOf(first)!.scale));
    expect(list(codesOf(parts)!.codes)).toEqual(list(codesOf(first)!.codes));
  });
});

describe("ARB", () => {
  it("reads no batches, and without a mean is what bwn does", async () => {
    const layer = layerOf(bwn());
    const before = list(layer.weight.effective());
    expect(list((await binarize(layer, null, { method: "arb" })).weight.effective())).toEqual(before);
  });

  it("with a mean has a smaller error of the weights than the mean magnitude about it", async () => {
    const layer = layerOf(bwn({ center: true, ...exactly }));
    const off = () => layer.weight.effective().sub(layer.weight.value).square().sum().item();
    const before = off();
    await binarize(layer, null, { method: "arb" });
    expect(off()).toBeLessThan(before);
  });
});

describe("ARB-X", () => {
  it("gives the scale of a row by least squares, where inputs do not cancel along its signs", async () => {
    const x = inputs(64, 20, "x");
    const layer = await binarize(layerOf(bwn(exactly)), [x], { method: "arbX" });
    const signs = layer.weight.effective().sign();
    const [wanted, given] = [layer.weight.value, signs].map((w) => x.matmul(w, { transposeB: true }));
    const best = list(
      wanted
        .mul(given)
        .sum({ axis: 0 })
        .div(given.square().sum({ axis: 0 })),
    );
    list(codesOf(layer)!.scale).forEach((scale, row) => {
      expect(Math.abs(scale / best[row] - 1)).toBeLessThan(2e-6);
    });
  });
});

describe("layers in order", () => {
  const model = () => {
    const rng = new Rng("model");
    return new Sequential(new Linear(20, 24, { rng }), relu, new Linear(24, 5, { rng }));
  };
  const outputError = (made: Sequential, x: Tensor): number => {
    const want = model().forward(x);
    return made.forward(x).sub(want).square().sum().item() / want.square().sum().item();
  };

  it("lowers the error of what a model gives on batches that it has not seen", async () => {
    const [seen, other] = inputs(320, 20, "seen").split([256, 64]);
    const plain = prepare(model(), config(bwn()));
    const found = await binarize(prepare(model(), config(bwn())), [seen]);
    expect(outputError(found, other)).toBeLessThan(0.7 * outputError(plain, other));
  });

  it("fits later layers to what earlier ones give by their codes", async () => {
    const x = inputs(64, 20, "x");
    const made = prepare(model(), config(bwn()));
    await binarize(made, [x], { layers: "0" });
    const hidden = relu((made[0] as Linear).forward(x));
    const alone = prepare(model()[2] as Linear, config(bwn()));
    await binarize(alone, [hidden]);
    await binarize(made, [x]);
    expect(list(codesOf(made[2] as Linear)!.codes)).toEqual(list(codesOf(alone)!.codes));
  });

  it("passes over weights of other kinds unless they are named", async () => {
    const mixed = plan({ default: binaryWeightOnly(), rules: [["2.weight", int8WeightOnly()]] });
    const made = prepare(model(), mixed);
    const heard: string[] = [];
    await binarize(made, [inputs(32, 20, "x")], {
      onLayer: ({ layer, done, of }) => heard.push(`${layer} ${done}/${of}`),
    });
    expect(heard).toEqual(["0 1/1"]);
    expect(codesOf(made[2] as Linear)).toBeNull();
    await expect(binarize(made, [inputs(32, 20, "x")], { layers: "*" })).rejects.toThrow(
      'binarize: weights must be of signs, as bwn() makes them, got 8 bits of "int8" in layer "2"',
    );
  });

  it("fits convolutions, also those in groups", async () => {
    const rng = new Rng("conv");
    const net = new Sequential(
      new Conv2d(4, 8, 3, { groups: 2, rng }),
      relu,
      new Flatten(),
      new Linear(8 * 4 * 4, 3, { rng }),
    );
    const x = randn([16, 4, 6, 6], { rng }).add(1);
    const want = net.forward(x);
    prepare(net, config(bwn()));
    const off = () => net.forward(x).sub(want).square().sum().item();
    const before = off();
    await binarize(net, [x]);
    expect(off()).toBeLessThan(0.8 * before);
  });
});

describe("odd numbers", () => {
  it("takes rows of zeros, inputs that are 0 and a single column", async () => {
    for (const quantizer of [bwn(), bwn({ center: true })]) {
      const layer = layerOf(quantizer, 3, 4);
      layer.weight.assign(
        tensor([
          [0, 0, 0, 0],
          [1, 1, 1, 1],
          [1, -2, 3, 0],
        ]),
      );
      const x = randn([8, 4]).mul(tensor([1, 0, 1, 1]));
      await binarize(layer, [x]);
      expect(list(layer.weight.effective()).every(Number.isFinite)).toBe(true);
      expect(list(layer.weight.effective().slice([0]))).toEqual([0, 0, 0, 0]);
      await binarize(layer, [x.mul(0)]);
      expect(list(layer.weight.effective()).every(Number.isFinite)).toBe(true);
      const thin = await binarize(layerOf(quantizer, 3, 1), [randn([8, 1])]);
      expect(errors(tensor([[1]]), thin).every((error) => error < 1e-5)).toBe(true);
    }
  });

  it("takes a Hessian of fewer rows than columns", async () => {
    const layer = await binarize(layerOf(bwn()), [inputs(3, 20, "few")]);
    expect(list(layer.weight.effective()).every(Number.isFinite)).toBe(true);
  });

  it.each(quantizers)(
    "by %s does not blow up scales where inputs cancel along the signs, as those of a LayerNorm",
    async (_, make) => {
      const x = new LayerNorm(20).forward(inputs(64, 20, "normed")).detach();
      for (const method of ["arbX", "feedback"] as const) {
        const layer = layerOf(make());
        // All of a row have one sign.
        layer.weight.assign(
          randn([12, 20], { rng: new Rng("weight") })
            .abs()
            .add(0.1),
        );
        const most = layer.weight.value.abs().max().item();
        await binarize(layer, [x], { method });
        expect(layer.weight.effective().abs().max().item()).toBeLessThan(3 * most);
      }
    },
  );

  it.each([Number.NaN, Infinity])(
    "refuses weights of %s, naming the layer, and leaves the model as it was",
    async (odd) => {
      const made = prepare(new Sequential(new Linear(4, 4), new Linear(4, 2)), config(bwn()));
      const { weight } = made[1] as Linear;
      weight.update((data) => {
        data[0] = odd;
      });
      const run = binarize(made, [randn([8, 4])], {
        forward: (x) => {
          (made[0] as Linear).forward(x);
          (made[1] as Linear).forward(x);
        },
      });
      await expect(run).rejects.toThrow('in layer "1"');
      expect(codesOf(made[0] as Linear)).toBeNull();
    },
  );
});

describe("the wrong call", () => {
  const x = [randn([8, 20])];
  const wrong = (options: Partial<BinarizeOptions<Tensor>>, quantizer = bwn()) =>
    binarize(layerOf(quantizer), x, options);

  it("refuses models that are not prepared, or frozen, and no batches", async () => {
    await expect(binarize(new Linear(4, 2), x)).rejects.toThrow(StageError);
    await expect(binarize(freeze(layerOf(bwn())), x)).rejects.toThrow(/must not be frozen/);
    await expect(binarize(layerOf(bwn()), [])).rejects.toThrow(/needs at least one batch/);
    await expect(binarize(layerOf(bwn()), null)).rejects.toThrow(
      'binarize: feedback needs batches, got null; give some, or use { method: "arb" }',
    );
  });

  it("refuses options that are none", async () => {
    await expect(wrong({ method: "best" as never })).rejects.toThrow(
      /method must be one of arb, arbX, feedback/,
    );
    await expect(wrong({ damping: 0 })).rejects.toThrow(/damping must be a finite number above 0, got 0/);
    await expect(wrong({ iterations: -1 })).rejects.toThrow(
      /iterations must be an integer of at least 0, got -1/,
    );
    await expect(wrong({ rounds: 3 } as never)).rejects.toThrow(/unknown option, got "rounds"/);
  });

  it("refuses a quantizer that brings codes of its own", async () => {
    const own = { ...bwn(), codes: (w: Tensor) => w.sign().abs().to("int8") };
    await expect(wrong({}, own)).rejects.toThrow(/codes must be those of the spec, got a quantizer "binary"/);
  });

  it("refuses scales that go down columns", async () => {
    const signs = spec({ bits: 1, axis: 0, granularity: { group: 4 } });
    const layer = new Linear(20, 12);
    parametrize(layer, "weight", quantized({ ...bwn(), spec: signs, params: (w) => chooseParams(w, signs) }));
    await expect(binarize(layer, x)).rejects.toThrow(
      'binarize: scales must be of stretches of rows, got some along axis 0 in layer ""',
    );
  });

  it("refuses 1-bit codes that are no mean and scale", async () => {
    const affine = spec({ bits: 1, scheme: "affine", granularity: "channel" });
    const quantizer = {
      ...bwn(),
      spec: affine,
      params: (w: Tensor) => ({
        scale: tensor(new Float32Array(w.shape[0]).fill(1)),
        zeroPoint: tensor(new Float32Array(w.shape[0])),
      }),
    };
    await expect(wrong({}, quantizer)).rejects.toThrow(OptionError);
  });
});
