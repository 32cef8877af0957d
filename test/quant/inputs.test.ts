/** What stands before a layer's product: what is refused of it, and when. */

import { Rng, randn, tensor } from "bitgrad";
import { evaluate, Linear, loadStateDict, Sequential, stateDict } from "bitgrad/nn";
import {
  binarySigns,
  bwn,
  calibrate,
  dynamicInput,
  freeze,
  int8Dynamic,
  int8Static,
  minMax,
  pack,
  plan,
  prepare,
  type QuantConfig,
  SpecInputQuantizer,
  spec,
  staticInput,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const x = randn([3, 4], { rng: new Rng(1) });
const net = (config: QuantConfig) =>
  prepare(
    new Sequential(new Linear(4, 3, { rng: new Rng(2) }), new Linear(3, 2, { rng: new Rng(3) })),
    plan({ default: config }),
  );
const code = (code: string, message: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });

it.each([Number.NaN, Infinity, -Infinity])("signs of %d are refused prepared, frozen and packed", (odd) => {
  const given = tensor([[1, odd, -1, 0]]);
  const model = net(binarySigns());
  const refused = code("NUMERICS", `must be finite, got ${odd} at index 1`);
  expect(() => model.forward(given)).toThrow(refused);
  evaluate(freeze(model));
  expect(() => model.forward(given)).toThrow(refused);
  const values = { data: given.data as Float32Array, shape: given.shape };
  expect(() => pack(model).forward(values)).toThrow(refused);
});

describe("calibration", () => {
  const batches = () => [x, x.mul(2), x.mul(5)];

  it("is refused while another one of the model goes on, which is left alone", async () => {
    const model = net(int8Static());
    const alone = await calibrate(net(int8Static()), batches());
    const one = calibrate(model, batches());
    const busy = code("STAGE", 'got "0.inputQuantizer" observing; await');
    await expect(calibrate(model, [x.mul(100)])).rejects.toThrow(busy);
    await one;
    const numbers = (m: object) => Object.values(stateDict(m)).map((t) => Array.from(t.data));
    expect(numbers(model)).toEqual(numbers(alone));
    await calibrate(model, batches());
  });

  it("is refused within its own forward, as freeze is", async () => {
    const model = net(int8Static());
    const inner: Promise<unknown>[] = [];
    const forward = (batch: typeof x) => {
      inner.push(calibrate(model, [batch]).catch((error) => error));
      expect(() => freeze(model)).toThrow(code("STAGE", "freeze: the model must not be at calibration"));
      model.forward(batch);
    };
    await calibrate(model, [x], { forward });
    expect(await inner[0]).toEqual(code("STAGE", "calibrate: the model must not be at calibration"));
    freeze(model);
  });

  it("refuses observers that give no scale, or one that float32 holds as none", async () => {
    const given = (params: unknown) =>
      calibrate(
        net({
          weight: bwn(),
          input: staticInput({
            observer: (s) => ({ spec: s, observe: () => {}, params: () => params as never }),
          }),
        }),
        [x],
      );
    for (const junk of [null, 5, {}, { scale: 1, zeroPoint: null }])
      await expect(given(junk)).rejects.toThrow(
        code("OPTION", "calibrate: an observer must give { scale, zeroPoint } of tensors, got"),
      );
    for (const scale of [1e-60, 1e60]) {
      const params = { scale: tensor(Float64Array.of(scale)), zeroPoint: null };
      await expect(given(params)).rejects.toThrow(code("OPTION", "must give a positive scale"));
    }
  });
});

describe("a static scale that a state brings", () => {
  it.each([
    ["scale", -1, "a positive scale, got -1"],
    ["scale", Number.NaN, "a positive scale, got NaN"],
    ["scale", Infinity, "a positive scale, got Infinity"],
    ["zeroPoint", 0.5, "a zero point that is a code, got 0.5"],
    ["zeroPoint", 256, "a zero point that is a code, got 256"],
    ["zeroPoint", Number.NaN, "a zero point that is a code, got NaN"],
  ])("is refused where its %s is %d", async (name, number, message) => {
    const load = (model: object) => {
      const key = `1.inputQuantizer.${name}`;
      loadStateDict(model, { ...stateDict(model), [key]: tensor([number]) });
    };
    const model = await calibrate(net(int8Static()), [x]);
    load(model);
    expect(() => model.forward(x)).toThrow(code("OPTION", message));
    expect(() => freeze(model)).toThrow(
      code("OPTION", `freeze: a static input of "1.inputQuantizer" must have ${message}`),
    );
    const frozen = evaluate(freeze(await calibrate(net(int8Static()), [x])));
    load(frozen);
    expect(() => frozen.forward(x)).toThrow(code("OPTION", message));
    expect(() => pack(frozen)).toThrow(code("OPTION", message));
  });
});

describe("a config", () => {
  it("of unknown fields is refused by plan", () => {
    const make = (more: object) => () => plan({ default: { weight: bwn(), ...more } as never });
    expect(make({ inputs: dynamicInput() })).toThrow(
      code(
        "OPTION",
        'plan: default must be a config: unknown option, got "inputs"; known options are weight, input',
      ),
    );
    expect(make({ input: null })).toThrow(code("OPTION", "option input may be left out, got null"));
    expect(() => plan({ rules: [["**", { weight: bwn(), b: 1 } as never]] })).toThrow(
      "rule 0 must give a config",
    );
    make({ input: undefined })();
    make({ input: dynamicInput() })();
  });

  it("whose input gives no SpecInputQuantizer is refused by prepare, and so is one stage for two layers", () => {
    for (const input of [() => 5, () => null, () => undefined, () => dynamicInput()])
      expect(() => net({ weight: bwn(), input: input as never })).toThrow(
        code("OPTION", "prepare: the input of a config must give a SpecInputQuantizer, got"),
      );
    const stage = dynamicInput()();
    const shared = { weight: bwn(), input: () => stage };
    expect(() => net(shared)).toThrow(
      code(
        "OPTION",
        'a SpecInputQuantizer serves one layer, got that of "0.weight" for "1.weight" too; make a new one',
      ),
    );
    const model = new Sequential(new Linear(4, 3), new Linear(3, 2));
    prepare(model, plan({ rules: [["0.weight", shared]] }));
    expect(() => prepare(model, plan({ rules: [["1.weight", shared]] }))).toThrow(
      code("OPTION", 'got that of "0.inputQuantizer" for "1.weight" too'),
    );
    prepare(model, plan({ rules: [["1.weight", shared]] }), { replace: true });
    prepare(model, plan({ default: int8Dynamic() }), { replace: true });
  });
});

it("a SpecInputQuantizer is made of a spec, and of an observer or null", () => {
  for (const junk of [5, null, undefined, {}])
    expect(() => new SpecInputQuantizer(junk as never, null)).toThrow(code("OPTION", "input: needs a spec"));
  for (const junk of [5, undefined, {}, { observe: () => {} }, { params: () => {} }])
    expect(() => new SpecInputQuantizer(spec(), junk as never)).toThrow(
      code("OPTION", "input: an observer needs the functions observe and params"),
    );
  expect(() => net({ weight: bwn(), input: staticInput({ observer: (() => 5) as never }) })).toThrow(
    code("OPTION", "staticInput: an observer needs the functions observe and params, got 5"),
  );
  expect(new SpecInputQuantizer(spec(), minMax(spec())).calibrated).toBe(false);
});
