import { Rng, rand, randn, type Tensor, tensor } from "bitgrad";
import { Conv2d, Linear, parametrize, Sequential } from "bitgrad/nn";
import {
  type AciqPrior,
  aciq,
  aciqObserver,
  bwn,
  calibrate,
  clipSearch,
  int8Static,
  lapq,
  minMax,
  mse,
  nf4,
  plan,
  prepare,
  type Quantizer,
  quantizedTransform,
  spec,
  staticInput,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { rangesOf } from "../../src/codes/params.ts";
import { aciqRanges, gaussClip, laplaceClip, roundingNoise } from "../../src/quant/methods/aciq.ts";
import { errorsOf, type Numbers, spreadsOf } from "../../src/quant/methods/clips.ts";
import { vertexOf } from "../../src/quant/methods/lapq.ts";
import { powell } from "../../src/quant/methods/powell.ts";
import { differing, methodCases } from "../golden/method-cases.ts";
import { heavy, layerOf as layerWith } from "./setup.ts";

const of = <P>(method: string) =>
  methodCases<P>("calib-clips")
    .filter(({ name }) => name.includes(method))
    .map((each) => [each.name, each] as const);

describe("the constants of ACIQ", () => {
  it.each(of<{ b_or_sigma: number }>("aciq_clip"))("%s", (_name, given) => {
    const noises = given.inputs.bits.data.map((bits) => roundingNoise(spec({ bits }), "aciq"));
    const unit = given.params.b_or_sigma;
    expect([
      ...differing(
        given,
        "laplace",
        noises.map((noise) => laplaceClip(noise) * unit),
      ),
      ...differing(
        given,
        "gauss",
        noises.map((noise) => gaussClip(noise) * unit),
      ),
    ]).toEqual([]);
  });

  it("are those of the code of OCS where they are asked for, and no clip where its noise is 0", () => {
    const laplace = [2.331529, 3.045288, 4.003786, 5.082521, 6.232117, 7.427004, 8.65265];
    for (const [i, want] of laplace.entries())
      expect(laplaceClip(roundingNoise(spec({ bits: i + 2 }), "ocs"))).toBeCloseTo(want, 5);
    const gauss = { 2: 1.478183, 3: 1.804892, 4: 2.192278, 8: 3.616913 };
    for (const [bits, want] of Object.entries(gauss))
      expect(gaussClip(roundingNoise(spec({ bits: Number(bits) }), "ocs"))).toBeCloseTo(want, 5);
    for (const clip of [laplaceClip, gaussClip])
      expect(clip(roundingNoise(spec({ bits: 1 }), "ocs"))).toBe(Infinity);
  });

  it("have the squared error that the paper gives, of a Laplace distribution with b = 1", () => {
    [0.284878, 0.119702, 0.046021].forEach((want, i) => {
      const noise = roundingNoise(spec({ bits: i + 2 }), "aciq");
      const clip = laplaceClip(noise);
      expect(2 * Math.exp(-clip) + clip ** 2 * noise).toBeCloseTo(want, 5);
    });
  });
});

describe("clips of the code of OCS", () => {
  it.each(of<{ bits: number }>("clip_threshold"))("%s", (_name, given) => {
    const { bits } = given.params;
    const x = tensor(given.inputs.values.data);
    const full = spec({ bits, range: "full", granularity: "tensor" });
    const ranges = rangesOf(x, full);
    const numbers: Numbers = { x, spec: full, ranges, mass: null };
    const largest = Math.max(-ranges[0].min, ranges[0].max);
    // Its codes are full, and its scale is that of narrow ones, so that of a range half a step wider.
    const steps = 2 ** (bits - 1) - 1;
    const errorAt = (clip: number): number =>
      errorsOf(numbers, [{ ...ranges[0], min: 0, max: (clip * (steps + 0.5)) / steps }], 2)[0];
    const errors = Array.from({ length: 100 }, (_, k) => errorAt(((k + 1) / 100) * largest));
    expect(differing(given, "grid_errors", errors)).toEqual([]);
    expect(differing(given, "grid_best", [errors.indexOf(Math.min(...errors)) + 1])).toEqual([]);
    // Its clip leaves out the mean, from which ours reaches as far to both sides.
    const [{ mean }] = spreadsOf(numbers);
    const clipOf = (prior: AciqPrior["prior"]): number => {
      const [{ min, max }] = aciqRanges(numbers, { prior, constants: "ocs", keepWhole: false });
      return Math.max(-min, max) - Math.abs(mean);
    };
    // It takes the prior of less error on a histogram.
    const clips = [clipOf("laplace"), clipOf("gauss")];
    expect(clips.filter((clip) => differing(given, "aciq", [clip]).length === 0)).toHaveLength(1);
    expect(clips).toContain(clipOf("best"));
  });
});

/** Numbers of a Laplace distribution. */
const laplace = (shape: number[], seed: string): Tensor => {
  const rng = new Rng(seed);
  return rand(shape, { rng }).log().sub(rand(shape, { rng }).log());
};
const whole = (bits: number): Quantizer => ste({ bits, granularity: "tensor", scaleDtype: "float32" });
const layerOf = (weight: Tensor, quantizer: Quantizer): Linear => layerWith(weight, { weight: quantizer });
/** OMSE is a search for the clip without data. */
const omse = <M extends object>(model: M, options: { layers?: string } = {}): Promise<M> =>
  clipSearch(model, null, { least: 0, ...options });
/** Squared error of a layer's weight, relative to its square. */
const relative = ({ weight }: Pick<Linear, "weight">): number =>
  weight.value.sub(weight.effective()).square().mean().item() / weight.value.square().mean().item();

describe("aciq and omse", () => {
  it("have the errors that were measured elsewhere, on a matrix of Student-t(4)", async () => {
    // Of three draws, since the largest number decides what plain codes err by.
    const measured: [bits: number, lq: number, aciq: number, omse: number][] = [
      [8, 2.9e-3, 2.9e-3, 2.5e-3],
      [6, 4.9e-2, 2e-2, 1.4e-2],
      [4, 0.562, 0.056, 0.055],
      [3, 0.874, 0.117, 0.113],
    ];
    for (const [bits, ...want] of measured) {
      for (const [i, run] of [null, aciq, omse].entries()) {
        let error = 0;
        for (const seed of ["a", "b", "c"]) {
          const layer = layerOf(heavy([128, 256], seed), whole(bits));
          await run?.(layer);
          error += relative(layer) / 3;
        }
        expect(error / want[i], `${bits} bits, ${run?.name}`).toBeGreaterThan(0.3);
        expect(error / want[i], `${bits} bits, ${run?.name}`).toBeLessThan(1.4);
      }
    }
  });

  it("make no row worse than its whole range, whatever the scheme and the weights", async () => {
    const quantizers = [
      ste({ bits: 3 }),
      ste({ bits: 4, granularity: { group: 24 } }),
      ste({ bits: 3, scheme: "affine" }),
      ste({ bits: 3, scheme: "affine", zeroPoint: "float" }),
      ste({ bits: 4, scheme: "absmax-signed" }),
      ste({ bits: 2, range: "full", granularity: "token" }),
      ste({ bits: 8 }),
    ];
    const weight = heavy([6, 100], "rows").mul(tensor([[1], [0], [100], [1e-3], [1], [1]]));
    weight.data.subarray(400, 500).fill(-3);
    for (const quantizer of quantizers)
      for (const run of [aciq, omse]) {
        const layer = layerOf(weight, quantizer);
        const errors = () => weight.sub(layer.weight.effective()).square().sum({ axis: 1 }).data;
        const before = errors();
        await run(layer);
        errors().forEach((error, r) => {
          expect(error, `${quantizer.name} ${run.name} row ${r}`).toBeLessThanOrEqual(before[r] * (1 + 1e-5));
        });
      }
  });

  it("serve scales of blocks and of convolutions, and weights of nothing", async () => {
    const block = ste({ bits: 3, granularity: { block: [4, 16] } });
    const conv = new Conv2d(6, 4, 3, { bias: false });
    conv.weight.assign(heavy([4, 6, 3, 3], "conv"));
    prepare(conv, plan({ default: { weight: ste({ bits: 3, granularity: { group: 24 } }) } }));
    for (const layer of [layerOf(heavy([8, 40], "block"), block), conv]) {
      const before = relative(layer);
      await aciq(layer);
      expect(relative(layer)).toBeLessThan(before);
    }
    const none = layerOf(tensor([[1, 2, 3]]), whole(3));
    none.weight.replace(tensor(new Float32Array(0), { shape: [0, 3] }));
    for (const run of [aciq, omse]) expect((await run(none)).weight.effective().shape).toEqual([0, 3]);
  });

  it("clips where the distribution says, with keepWhole false also where that is worse", async () => {
    const x = laplace([200, 100], "laplace");
    const clipOf = async (options: Partial<AciqPrior>): Promise<number> => {
      const layer = layerOf(x, whole(4));
      await aciq(layer, options);
      return quantizedTransform(layer.weight)!.codes!.scale.item() * 7;
    };
    // 5.02864 times mean |x|, which is 1 but for chance, and 2.55914 times √2.
    const near = async (options: Partial<AciqPrior>, want: number) =>
      expect(Math.abs((await clipOf(options)) / want - 1)).toBeLessThan(0.02);
    await near({ prior: "laplace", constants: "aciq" }, 5.02864);
    await near({ prior: "gauss", constants: "aciq" }, 2.55914 * Math.SQRT2);
    await near({ prior: "laplace", constants: "ocs" }, 4.003786);
    // 14 steps, and so W(3 · 14²).
    await near({ prior: "laplace" }, 4.8147);
    const wide = layerOf(heavy([128, 256], "t4"), whole(8));
    const before = relative(wide);
    await aciq(wide, { keepWhole: false });
    expect(relative(wide)).toBeGreaterThan(2 * before);
    await aciq(wide);
    expect(relative(wide)).toBeLessThanOrEqual(before);
  });

  it("keeps what a mask has made 0, and codebooks may be searched", async () => {
    const layer = new Linear(40, 4, { bias: false, rng: new Rng(1) });
    const mask = tensor(
      Float32Array.from({ length: 160 }, (_, i) => (i % 3 === 0 ? 0 : 1)),
      { shape: [4, 40] },
    );
    parametrize(layer, "weight", { mask, apply: (w: Tensor) => w.mul(mask) });
    prepare(layer, plan({ default: { weight: ste({ bits: 3 }) } }));
    for (const run of [aciq, omse]) {
      await run(layer);
      const values = layer.weight.effective().data;
      expect(values.every((v, i) => i % 3 !== 0 || v === 0)).toBe(true);
    }
    const book = layerOf(heavy([8, 64], "book"), nf4());
    const before = relative(book);
    await omse(book);
    expect(relative(book)).toBeLessThan(before);
    await expect(aciq(book)).rejects.toThrow(
      'aciq: needs evenly spaced codes, got a codebook of layer ""; leave it out',
    );
  });

  it("clip best by the steps that there are, at 2 and 3 narrow bits", async () => {
    for (const x of [
      randn([200, 100], { rng: new Rng("n") }),
      laplace([200, 100], "l"),
      heavy([200, 100], "t"),
    ])
      for (const bits of [2, 3]) {
        const errors = [];
        for (const constants of ["steps", "aciq", "ocs"] as const) {
          const layer = layerOf(x, whole(bits));
          await aciq(layer, { constants });
          errors.push(relative(layer));
        }
        const searched = layerOf(x, whole(bits));
        await omse(searched);
        expect(errors[0]).toBeLessThan(1.03 * relative(searched));
        expect(errors[0]).toBeLessThan(1.02 * Math.min(...errors));
      }
  });

  it("refuse signs, codes of a quantizer's own, weights that are not finite, and what no option is", async () => {
    const signs = layerOf(tensor([[1, 2]]), bwn());
    await expect(aciq(signs)).rejects.toThrow(
      'aciq: needs evenly spaced codes, got signs of layer ""; leave it out',
    );
    await expect(lapq(signs, [1], { loss: () => 1 })).rejects.toThrow(
      "lapq: signs have no range to clip, got bits 1",
    );
    const odd = layerOf(tensor([[1, Infinity]]), whole(4));
    await expect(aciq(odd)).rejects.toThrow(
      'aciq: weights must be finite, got Infinity at index 1 of layer ""',
    );
    const own = layerOf(tensor([[1, 2]]), { ...whole(4), codes: (x: Tensor) => x.mul(0).to("int8") });
    for (const run of [aciq(own), lapq(own, [1], { loss: () => 1 })])
      await expect(run).rejects.toThrow(
        'needs quantizers that round, got "int4", which brings codes of its own',
      );
    const layer = layerOf(tensor([[1, 2]]), whole(4));
    await expect(aciq(layer, { prior: "cauchy" as never })).rejects.toThrow(
      'aciq: prior must be one of best, laplace, gauss, got "cauchy"',
    );
    await expect(aciq(layer, { constants: "own" as never })).rejects.toThrow(
      "aciq: constants must be one of steps, aciq, ocs",
    );
    await expect(aciq(new Linear(2, 2))).rejects.toThrow("aciq: the model must be prepared");
  });
});

describe("aciqObserver", () => {
  const narrow = (bits: number) => spec({ bits, granularity: "tensor" });

  it("finds the clip that aciq finds of the same numbers, to within a bin", async () => {
    const x = laplace([200, 100], "observed");
    for (const prior of ["laplace", "gauss", "best"] as const) {
      const layer = layerOf(x, whole(4));
      await aciq(layer, { prior });
      const observer = aciqObserver(narrow(4), { prior });
      observer.observe(x);
      const want = quantizedTransform(layer.weight)!.codes!.scale.item();
      expect(observer.params().scale.item() / want).toBeCloseTo(1, 2);
    }
  });

  it("takes numbers that are not negative for one half of a distribution, zeros left out", () => {
    const affine = spec({ bits: 3, scheme: "affine", granularity: "tensor" });
    const x = laplace([20_000], "relu").relu();
    // The constant of 4 bits, or of 14 steps, times a mean of 1 of what is positive.
    for (const [constants, want] of [
      ["aciq", 5.02864],
      ["steps", 4.8147],
    ] as const) {
      const observer = aciqObserver(affine, { prior: "laplace", constants });
      observer.observe(x);
      expect(Math.abs((observer.params().scale.item() * 7) / want - 1)).toBeLessThan(0.04);
      expect(observer.params().zeroPoint!.item()).toBe(0);
    }
  });

  it("has less error than the whole range at 4 bits, and serves static inputs", async () => {
    const x = heavy([64, 32], "inputs");
    const errorOf = async (observer: typeof minMax): Promise<number> => {
      const layer = new Linear(32, 8, { rng: new Rng(1) });
      const target = layer.forward(x);
      const input = staticInput({ bits: 4, scheme: "symmetric", observer });
      prepare(layer, plan({ default: { weight: ste({ bits: 8 }), input } }));
      await calibrate(layer, [x]);
      return layer.forward(x).sub(target).square().mean().item();
    };
    const [range, clip, grid] = [await errorOf(minMax), await errorOf(aciqObserver), await errorOf(mse)];
    expect(clip).toBeLessThan(0.7 * range);
    expect(clip).toBeLessThan(1.5 * grid);
    const eight = prepare(new Linear(32, 8), plan({ default: int8Static({ observer: aciqObserver }) }));
    await calibrate(eight, [x]);
  });

  it("refuses codebooks and wrong options", () => {
    expect(() => aciqObserver(nf4({ granularity: "tensor" }).spec)).toThrow(
      "aciqObserver: needs evenly spaced codes",
    );
    expect(() => aciqObserver(narrow(4), { prior: "best ever" as never })).toThrow(
      "aciqObserver: prior must be one of",
    );
    expect(() => aciqObserver(narrow(4), { bins: 0 })).toThrow("aciqObserver: bins must be an integer");
  });
});

describe("powell", () => {
  it("finds the lowest point of a long valley that lies across the axes, along the way that it went", async () => {
    let calls = 0;
    const f = async ([a, b, c]: readonly number[]): Promise<number> => {
      calls++;
      return 50 * (a - b) ** 2 + 50 * (b - c) ** 2 + ((a + b + c) / 3 - 1) ** 2;
    };
    const found = await powell(f, { at: [0, 0, 0], value: 1 }, { rounds: 8, step: 0.5 });
    expect(found.value).toBeLessThan(1e-6);
    for (const x of found.at) expect(x).toBeCloseTo(1, 2);
    expect(calls).toBeLessThan(150);
  });

  it("stays where nothing is lower, and goes no further than rounds", async () => {
    const start = { at: [1, 2], value: 0 };
    expect(await powell(async () => 1, start, { rounds: 3, step: 1 })).toEqual(start);
    expect(await powell(async () => -1, start, { rounds: 0, step: 1 })).toEqual(start);
  });
});

describe("lapq", () => {
  const x = laplace([64, 24], "lapq");
  const mlp = (bits: number, input: boolean, momentum: number | null = null) => {
    const rng = new Rng("mlp");
    const [first, last] = [new Linear(24, 32, { rng }), new Linear(32, 8, { rng })];
    const model = new Sequential(first, (y: Tensor) => y.relu(), last);
    for (const { weight } of [first, last])
      weight.assign(heavy([...weight.shape], `${weight.size}`).mul(0.2));
    const target = model.forward(x);
    const loss = (batch: Tensor): Tensor => model.forward(batch).sub(target).square().mean();
    const weight = whole(bits);
    prepare(
      model,
      plan({ default: input ? { weight, input: staticInput({ bits, momentum }) } : { weight } }),
    );
    return {
      model,
      scaleOf: (): Tensor => (first.inputQuantizer as unknown as { scale: Tensor }).scale,
      loss,
      held: () => [first, last].map(({ weight }) => quantizedTransform(weight)!.codes),
    };
  };

  it("makes the loss less than omse does at 3 bits, of weights and inputs together", async () => {
    for (const input of [false, true]) {
      const { model, loss, scaleOf } = mlp(3, input);
      if (input) await calibrate(model, [x]);
      const before = input ? scaleOf().item() : null;
      const range = loss(x).item();
      await omse(model);
      const searched = loss(x).item();
      const names: string[] = [];
      await lapq(model, [x], {
        loss,
        onLayer: ({ layer, done, of }) => names.push(`${done}/${of} ${layer}`),
      });
      expect(names).toEqual(["1/2 0", "2/2 2"]);
      expect(loss(x).item()).toBeLessThan(0.95 * Math.min(range, searched));
      if (before !== null) expect(scaleOf().item()).not.toBe(before);
    }
  });

  it("is where ranges that follow the batches go on from", async () => {
    const { model, loss, scaleOf } = mlp(3, true, 1e-6);
    await calibrate(model, [x]);
    const calibrated = scaleOf().item();
    await lapq(model, [x], { loss });
    const clipped = scaleOf().item();
    expect(clipped).toBeLessThan(0.9 * calibrated);
    model.forward(x);
    expect(scaleOf().item()).toBeCloseTo(clipped, 4);
  });

  it("is never above the loss of whole ranges, nor grows with more rounds", async () => {
    for (const [bits, input] of [
      [8, false],
      [3, true],
    ] as const) {
      const losses = [];
      for (const rounds of [0, 1, 3]) {
        const { model, loss } = mlp(bits, input);
        if (input) await calibrate(model, [x]);
        losses.push(loss(x).item());
        await lapq(model, [x], { loss, rounds });
        losses.push(loss(x).item());
      }
      const [range, none, , one, , three] = losses;
      expect(none).toBeLessThanOrEqual(range);
      expect(one).toBeLessThanOrEqual(none);
      expect(three).toBeLessThanOrEqual(one);
    }
  });

  it("leaves the model as it was where a loss is no finite number, or throws", async () => {
    const { model, loss, held, scaleOf } = mlp(3, true);
    await calibrate(model, [x]);
    await omse(model, { layers: "0" });
    const before = held();
    const first = scaleOf().item();
    for (const [wrong, message] of [
      [Number.NaN, "lapq: the loss must be one finite number, got NaN of batch 1"],
      [x, "lapq: the loss must be one finite number, got (64, 24) of batch 1"],
      [Promise.resolve(1), "lapq: loss must be synchronous, got a promise"],
    ] as const) {
      let calls = 0;
      const odd = (batch: Tensor) => (++calls > 41 && calls % 2 === 0 ? wrong : loss(batch)) as number;
      await expect(lapq(model, [x, x], { loss: odd })).rejects.toThrow(message);
      expect(held()[0]!.codes.data).toEqual(before[0]!.codes.data);
      expect(held()[1]).toBe(null);
      expect(scaleOf().item()).toBe(first);
    }
  });

  it("refuses batches that can be run once only, none, inputs not calibrated, and a missing loss", async () => {
    const { model, loss } = mlp(3, true);
    await expect(lapq(model, [x], { loss })).rejects.toThrow(
      'lapq: static inputs must be calibrated, got none of layer "0"; call calibrate first',
    );
    await calibrate(model, [x]);
    await expect(lapq(model, [], { loss })).rejects.toThrow("lapq: needs at least one batch, got none");
    await expect(lapq(model, [x].values(), { loss })).rejects.toThrow(
      "lapq: batches are run through once for each",
    );
    await expect(lapq(model, 3 as never, { loss })).rejects.toThrow(
      "lapq: batches must be iterable: put one in a list, got 3",
    );
    await expect(lapq(model, [x], {} as never)).rejects.toThrow(
      "lapq: option loss must be a function of a batch, got null",
    );
    await expect(lapq(model, [x], { loss, norms: [] })).rejects.toThrow(
      "lapq: norms must be a list of positive numbers, got ()",
    );
  });

  it("finds the vertex of a parabola, where it opens upwards within the points", () => {
    const points = (f: (p: number) => number) => [2, 2.5, 3, 3.5, 4].map((p) => [p, f(p)] as const);
    expect(vertexOf(points((p) => 3 * (p - 2.7) ** 2 + 1))).toBeCloseTo(2.7, 10);
    expect(vertexOf(points((p) => -((p - 2.7) ** 2)))).toBe(null);
    expect(vertexOf(points((p) => (p - 5) ** 2))).toBe(null);
    expect(vertexOf([[2, 1]])).toBe(null);
  });
});
