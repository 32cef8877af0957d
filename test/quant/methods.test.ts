/**
 * What every method that quantizes a trained model does with bad input, a typed error that names the layer, or a rule; and
 * that the model it leaves computes with what it stores and packs.
 */

import {
  BitgradError,
  memory,
  noGrad,
  OptionError,
  ones,
  Rng,
  randn,
  ShapeError,
  StageError,
  scope,
} from "bitgrad";
import { clone, evaluate, namedParameters } from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import { freeze, pack, plan, prepare, quantizedTransform, ste } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import {
  type Batches,
  type Method,
  methods,
  modelFor,
  type RunOptions,
  rowsOf,
  Small,
  stateOf,
} from "./methods.ts";
import { list } from "./setup.ts";

const x = rowsOf(12);
const none = x.slice([[0, 0]]);
const named = (all: readonly Method[]) => all.map((method) => [method.name, method] as const);
const reading = named(methods.filter(({ reads }) => reads));
const all = named(methods);

/** What a method throws, having left the model as it was. */
async function refused(
  method: Method,
  model: Small,
  batches: Batches,
  options?: RunOptions,
): Promise<BitgradError> {
  const was = stateOf(model);
  const error = await Promise.resolve()
    .then(() => method.run(model, batches, options))
    .then(
      () => new Error("nothing was thrown"),
      (thrown: Error) => thrown,
    );
  expect(stateOf(model)).toEqual(was);
  return error as BitgradError;
}

/** What a method makes of a model, or tells of it. */
async function outcome(method: Method, batches: Batches): Promise<unknown> {
  const model = modelFor(method);
  const told = await method.run(model, batches);
  return [stateOf(model), told === model ? null : JSON.parse(JSON.stringify(told))];
}

describe.each(reading)("%s", (name, method) => {
  /** Runs a loss of the user's, which says what a batch comes to. */
  const byLoss = name === "lapq";

  it("refuses no batches, and what is none", async () => {
    expect(await refused(method, modelFor(method), [])).toEqual(
      new StageError(`${name}: needs at least one batch, got none`),
    );
    const error = await refused(method, modelFor(method), 5 as never);
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toBe(`${name}: batches must be iterable: put one in a list, got 5`);
  });

  it("refuses batches without rows, and counts none among others as nothing", async () => {
    const error = await refused(method, modelFor(method), [none, none]);
    if (byLoss) {
      expect(error.message).toBe("lapq: the loss must be one finite number, got NaN of batch 0");
      return;
    }
    expect(error).toBeInstanceOf(StageError);
    // Static inputs are reached, and see nothing.
    const own = `${name}: no batch reached a layer`;
    const seen = name === "calibrate" ? "first.inputQuantizer: observer: no batch was observed" : own;
    expect(error.message).toContain(`${seen}, got `);
    expect(await outcome(method, [x, none])).toEqual(await outcome(method, [x]));
  });

  it("refuses a batch of other features", async () => {
    const error = await refused(method, modelFor(method), [x, ones([3, 7])]);
    expect(error).toBeInstanceOf(ShapeError);
    expect(error.message).toMatch(/^first: linear: .* got \(3, 7\) and \(8, 6\)$/);
  });

  it.each([Number.NaN, Infinity, -Infinity])("refuses activations of %d", async (odd) => {
    const bad = rowsOf(12);
    (bad.data as Float32Array)[9] = odd;
    const error = await refused(method, modelFor(method), [x, bad]);
    const seen = /inputs must be finite, got (NaN|-?Infinity) in layer "(first|last)", batch 1/;
    // Reports and losses see what the model returns, and static inputs meet it themselves.
    const others: Record<string, RegExp> = {
      lapq: /the loss must be one finite number, got NaN of batch 1/,
      quantReport: /got NaN at index 5 in batch 1/,
      sensitivity: /got NaN at index 5 in batch 1/,
      allocateBits: /got NaN at index 5 in batch 1/,
      calibrate: /^first: quantize: every element must be finite, got (NaN|-?Infinity) at index 9/,
    };
    expect(error).toBeInstanceOf(BitgradError);
    expect(error.message).toMatch(others[name] ?? seen);
  });

  it("takes inputs whose Hessian is singular: a single row, zeros, all the same", async () => {
    for (const batch of [x.slice([[0, 1]]), x.mul(0), ones([4, 6])]) {
      const model = modelFor(method);
      await method.run(model, [batch]);
      for (const [path, parameter] of namedParameters(model)) {
        expect(Array.from(parameter.effective().data).every(Number.isFinite), path).toBe(true);
      }
    }
  });

  it("names a layer that no batch reaches", async () => {
    // It asks for a loss, which need not read all weights.
    if (byLoss) return;
    const model = modelFor(method);
    const error = await refused(method, model, [x], { forward: (batch) => model.first.forward(batch) });
    expect(error).toBeInstanceOf(StageError);
    expect(error.message).toMatch(new RegExp(`^${name}: no batch reached .*, got .*"last`));
  });

  it("refuses batches that can be run through once, where it runs through them more often", async () => {
    const once = () => [x][Symbol.iterator]();
    if (["calibrate", "quantReport", "sensitivity", "smoothQuant"].includes(name)) {
      expect(await outcome(method, once())).toEqual(await outcome(method, [x]));
      return;
    }
    const error = await refused(method, modelFor(method), once());
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toContain(`${name}: batches are run through once for each layer, got an iterator`);
  });
});

describe.each(reading)("%s", (_, method) => {
  it("keeps statistics of batches alone: memory does not grow with their number", async () => {
    const most = async (count: number): Promise<number> => {
      let bytes = 0;
      const batches = {
        async *[Symbol.asyncIterator]() {
          for (let i = 0; i < count; i++) {
            bytes = Math.max(bytes, memory().bytes);
            yield x;
          }
        },
      };
      const model = modelFor(method);
      const start = memory().bytes;
      await method.run(model, batches);
      return bytes - start;
    };
    await most(1);
    expect(await most(24)).toBe(await most(3));
  });
});

describe.each(all)("%s", (name, method) => {
  it("refuses models of another stage", async () => {
    const frozen = freeze(
      prepare(new Small(), plan({ default: { weight: method.config?.weight ?? ste({ bits: 4 }) } })),
    );
    if (name !== "quantReport") {
      const error = await refused(method, frozen, [x]);
      expect(error).toBeInstanceOf(StageError);
      expect(error.message).toMatch(
        new RegExp(`^${name}: the model must (not be frozen|be float), got first\\.weight`),
      );
    }
    if (method.config === null) return;
    const error = await refused(method, new Small(), [x]);
    expect(error).toBeInstanceOf(StageError);
    expect(error.message).toBe(
      `${name}: the model must be prepared, got no quantized weight; call prepare first`,
    );
  });

  it.each([Number.NaN, Infinity])("refuses weights of %d, by the name of their layer", async (odd) => {
    const model = modelFor(method);
    model.last.weight.update((data) => {
      data[3] = odd;
    });
    const error = await refused(method, model, [x]);
    expect(error).toBeInstanceOf(BitgradError);
    // Calibration runs the model through its weights' quantizers.
    const met = `^last: quantize: every element must be finite, got ${odd} at index 3`;
    const own = `^${name}: weights must be finite, got ${odd} .*"last`;
    expect(error.message).toMatch(new RegExp(name === "calibrate" ? met : own));
  });

  it("takes weights of zeros", async () => {
    const model = modelFor(method);
    for (const { weight } of [model.first, model.last]) weight.update((data) => data.fill(0));
    await method.run(model, [x]);
    const zeros = [model.first, model.last].flatMap(({ weight }) => Array.from(weight.effective().data));
    expect(zeros.every((value) => value === 0)).toBe(true);
  });

  it("gives the same bits again, and of a clone", async () => {
    expect(await outcome(method, [x])).toEqual(await outcome(method, [x]));
    const model = modelFor(method);
    const copy = clone(model);
    await method.run(model, [x]);
    await method.run(copy, [x]);
    expect(stateOf(copy)).toEqual(stateOf(model));
  });

  it("refuses a pattern that fits no layer", async () => {
    // It has all static inputs calibrated.
    if (name === "calibrate") return;
    const error = await refused(method, modelFor(method), [x], { layers: "nowhere" });
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toMatch(
      new RegExp(`^${name}: the pattern fits no .*, got "nowhere"; there are first, last`),
    );
  });
});

const changing = all.filter(([name]) => !["quantReport", "sensitivity", "allocateBits"].includes(name));

describe.each(changing)("after %s", (_, method) => {
  it("the model computes with the numbers that are stored and packed, in a file too", async () => {
    const model = modelFor(method);
    expect(await method.run(model, [x])).toBe(model);
    const layers = [model.first, model.last];
    const live = layers.map(({ weight }) => list(weight.effective()));
    model.forward(x).sum().backward();
    for (const { weight } of layers) {
      // Held codes do not move: a model trains around them.
      const learns = quantizedTransform(weight)!.codes === null;
      expect(weight.grad !== null).toBe(learns);
      if (learns) expect(list(weight.grad!).every(Number.isFinite)).toBe(true);
    }
    evaluate(freeze(model));
    expect(layers.map(({ weight }) => list(weight.effective()))).toEqual(live);
    layers.forEach((layer, i) => {
      const given = randn([4, layer.inFeatures], { rng: new Rng(i) });
      const want = noGrad(() => scope(() => list(layer.forward(given))));
      const packed = pack(layer);
      for (const each of [packed, loadPacked(packed.toBytes())]) {
        const got = each.forward({ data: given.data as Float32Array, shape: given.shape });
        Array.from(got.data).forEach((value, k) => {
          expect(Math.abs(value - want[k])).toBeLessThanOrEqual(1e-5);
        });
      }
    });
  });
});
