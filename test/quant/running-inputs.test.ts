import { checkpoint, manualSeed, OptionError, randn, StageError, type Tensor, tensor } from "bitgrad";
import { Conv2d, clone, evaluate, Linear, loadStateDict, stateDict, train } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import {
  calibrate,
  freeze,
  int8Static,
  movingAverage,
  pack,
  plan,
  prepare,
  SpecInputQuantizer,
  spec,
  staticInput,
  ste,
} from "bitgrad/quant";
import { trainStep } from "bitgrad/train";
import { beforeEach, describe, expect, it } from "vitest";

beforeEach(() => manualSeed(5));

const momentum = 0.25;
const running = (more = {}) =>
  prepare(new Linear(4, 2), plan({ default: int8Static({ momentum, ...more }) }));
const inputOf = (layer: Linear | Conv2d) => layer.inputQuantizer as SpecInputQuantizer;
const scales = (layer: Linear | Conv2d) => {
  const { scale, zeroPoint, range } = inputOf(layer);
  return [scale, zeroPoint, range].map((buffer) => buffer && [...buffer.data]);
};

describe("a static input with a momentum", () => {
  it.each(["affine", "symmetric"] as const)(
    "follows the batches as movingAverage does, %s",
    (inputScheme) => {
      const model = running({ inputScheme });
      const observer = movingAverage(spec({ scheme: inputScheme }), { momentum });
      for (let i = 0; i < 5; i++) {
        const x = randn([3, 4]).mul(i + 1);
        observer.observe(x);
        model.forward(x);
        const { scale, zeroPoint } = observer.params();
        expect([...inputOf(model).scale!.data]).toEqual([...scale.data]);
        if (zeroPoint) expect([...inputOf(model).zeroPoint!.data]).toEqual([...zeroPoint.data]);
      }
    },
  );

  it("begins at the calibrated range where there is one", async () => {
    const model = running();
    await calibrate(model, [tensor([[-1, 0, 1, 3]])]);
    model.forward(tensor([[-5, 0, 0, 3]]));
    const [low, high] = inputOf(model).range!.data as Float32Array;
    expect(low).toBeCloseTo(-2, 1);
    expect(high).toBeCloseTo(3, 1);
    await calibrate(model, [tensor([[0, 0, 0, 8]])]);
    model.forward(tensor([[0, 0, 0, 4]]));
    expect(inputOf(model).range!.data[1]).toBeCloseTo(7, 1);
  });

  it.each([
    ["affine", "tensor", [0, 255], [0, 447]],
    ["affine", "channel", [0, 255], [0, 447]],
    ["symmetric", "tensor", [-127, 127], [-95.25, 351]],
    ["symmetric", "channel", [-127, 127], [-95.25, 351]],
  ] as const)(
    "begins at the calibrated range where its scale is 1, %s, of a %s, also from a state",
    async (scheme, granularity, [low, high], wanted) => {
      const make = () => {
        const input = staticInput({ scheme, granularity, momentum });
        return prepare(new Linear(2, 1), plan({ default: { weight: ste({ bits: 8 }), input } }));
      };
      const model = make();
      const calibrated = tensor([
        [low, 0],
        [high, 0],
      ]);
      await calibrate(model, [tensor([[0, 0]]), calibrated, tensor([[0, 0]])]);
      expect(inputOf(model).scale!.data[0]).toBe(1);
      const resumed = make();
      loadStateDict(resumed, stateDict(model));
      for (const each of [model, resumed]) {
        const x = tensor([
          [0, 0],
          [1023, 3],
        ]);
        each.forward(x);
        const range = inputOf(each).range!.data as Float32Array;
        expect([...range.subarray(0, 2)]).toEqual(wanted);
        // A channel that had but zeros begins with its first numbers.
        if (granularity === "channel") expect([...range.subarray(2)]).toEqual([0, 3]);
      }
    },
  );

  it("forgets what a calibration that fails has met", async () => {
    const model = running();
    await expect(
      calibrate(model, [tensor([[-128, 0, 0, 127]]), tensor([[Number.NaN, 0, 0, 0]])]),
    ).rejects.toThrow("every element must be finite");
    await calibrate(model, [tensor([[0, 0, 0, 0]])]);
    expect(scales(model)).toEqual([[1], [0], [0, 0]]);
  });

  it("stays in evaluation, and once it is frozen", () => {
    const model = running();
    model.forward(randn([3, 4]));
    const held = scales(model);
    evaluate(model).forward(randn([3, 4]).mul(100));
    expect(scales(model)).toEqual(held);
    train(freeze(model)).forward(randn([3, 4]).mul(100));
    expect(scales(model)).toEqual(held);
    const x = randn([2, 4]);
    const packed = pack(evaluate(model)).forward({ data: x.data as Float32Array, shape: [2, 4] });
    expect([...packed.data]).toEqual([...model.forward(x).data]);
  });

  it("needs no calibration, but a batch", () => {
    expect(() => freeze(running())).toThrow(StageError);
    expect(() => evaluate(running()).forward(randn([2, 4]))).toThrow(StageError);
    const model = running();
    model.forward(randn([2, 4]));
    expect(() => freeze(model)).not.toThrow();
  });

  it("goes on from a state to the same bits", () => {
    const batches = Array.from({ length: 6 }, () => randn([3, 4]));
    const step = (model: Linear, x: Tensor) =>
      trainStep(model, optimizer(model, sgd({ lr: 0.1 })), (m) => m.forward(x).square().mean());
    const whole = running();
    const half = clone(whole);
    for (const x of batches) step(whole, x);
    for (const x of batches.slice(0, 3)) step(half, x);
    const resumed = running();
    loadStateDict(resumed, stateDict(clone(half)));
    for (const x of batches.slice(3)) step(resumed, x);
    expect(scales(resumed)).toEqual(scales(whole));
    expect([...resumed.weight.value.data]).toEqual([...whole.weight.value.data]);
    expect(scales(half)).not.toEqual(scales(whole));
  });

  it("is as it was after a step that is undone", () => {
    const model = running();
    model.forward(randn([3, 4]));
    const held = scales(model);
    const update = optimizer(model, sgd({ lr: 0.1 }));
    const bad = () =>
      trainStep(model, update, (m) => {
        m.forward(randn([3, 4]).mul(9));
        throw new Error("stop");
      });
    expect(bad).toThrow("stop");
    expect(scales(model)).toEqual(held);
    expect(() => model.forward(tensor([[1, Number.NaN, 0, 0]]))).toThrow("every element must be finite");
    expect(scales(model)).toEqual(held);
  });

  it("serves a convolution, an empty batch and one of zeros", () => {
    const conv = prepare(new Conv2d(2, 3, 3), plan({ default: int8Static({ momentum }) }));
    conv.forward(randn([2, 2, 5, 5]));
    const held = scales(conv);
    expect(held[0]).not.toEqual([0]);
    const model = running();
    model.forward(tensor([[0, 0, 0, 0]]));
    expect(scales(model)).toEqual([[1], [0], [0, 0]]);
    // Zeros say nothing of the range: it begins with what comes then.
    model.forward(tensor([[-1, 0, 0, 2]]));
    expect(scales(model)[2]).toEqual([-1, 2]);
    const found = scales(model);
    model.forward(randn([0, 4]));
    expect(scales(model)).toEqual(found);
  });

  it("refuses a momentum that is none, and checkpoint", () => {
    for (const wrong of [0, 1.5, -1, Number.NaN])
      expect(() => int8Static({ momentum: wrong })).toThrow(OptionError);
    expect(() => new SpecInputQuantizer(spec({ granularity: "token" }), null, 0.1)).toThrow(OptionError);
    const model = running();
    expect(() => checkpoint((x: Tensor) => model.forward(x))(randn([2, 4]))).toThrow(StageError);
  });

  it("is written in a plan as the call of its preset", () => {
    const json = JSON.stringify(plan({ default: int8Static({ momentum: 0.01 }) }));
    expect(json).toContain('"momentum":0.01');
    const model = prepare(new Linear(4, 2), plan(JSON.parse(json)));
    expect(inputOf(model).momentum).toBe(0.01);
  });
});
