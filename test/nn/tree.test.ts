import { FormatError, noGrad, OptionError, ones, Rng, StageError, scope, type Tensor, tensor } from "bitgrad";
import {
  BatchNorm1d,
  clone,
  Dropout,
  evaluate,
  Linear,
  loadStateDict,
  Parameter,
  parameterCount,
  parameters,
  parametrize,
  removeParametrization,
  Sequential,
  setTrainable,
  stateDict,
  taps,
  train,
  withoutData,
} from "bitgrad/nn";
import { arb } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

class Block {
  linear: Linear;
  norm = new BatchNorm1d(3);
  drop = new Dropout(0.5);
  constructor(seed: number) {
    this.linear = new Linear(3, 3, { rng: new Rng(seed) });
  }
  forward(x: Tensor): Tensor {
    return this.drop.forward(this.norm.forward(this.linear.forward(x)));
  }
}

/** Two blocks and a head tied to the first block's weight. */
class Model {
  blocks = [new Block(1), new Block(2)];
  head = new Linear(3, 3, { bias: false });
  constructor() {
    this.head.weight = this.blocks[0].linear.weight;
  }
  forward(x: Tensor): Tensor {
    return this.head.forward(this.blocks.reduce((y, block) => block.forward(y), x));
  }
}

const plain = (state: Record<string, Tensor>) =>
  Object.fromEntries(Object.entries(state).map(([name, t]) => [name, t.toArray()]));

describe("stateDict", () => {
  it("names parameters and buffers, tied ones twice, over one memory", () => {
    const model = new Model();
    const state = stateDict(model);
    expect(Object.keys(state).filter((name) => !name.startsWith("blocks.1"))).toEqual([
      "blocks.0.linear.weight",
      "blocks.0.linear.bias",
      "blocks.0.norm.weight",
      "blocks.0.norm.bias",
      "blocks.0.norm.runningMean",
      "blocks.0.norm.runningVar",
      "blocks.0.norm.numBatchesTracked",
      "head.weight",
    ]);
    expect(state["head.weight"].storage).toBe(state["blocks.0.linear.weight"].storage);
    model.head.weight.assign(ones([3, 3]));
    expect(state["head.weight"].data[4]).toBe(1);
    expect(state["head.weight"].requiresGrad).toBe(false);
  });

  it("goes into another model and comes back the same, whatever the numbers", () => {
    fc.assert(
      fc.property(arb.tensor({ shape: [2, 3], dtype: "float32" }), (weight) => {
        const [from, to] = [new Linear(3, 2), new Linear(3, 2)];
        from.weight.assign(weight);
        expect(loadStateDict(to, stateDict(from))).toEqual({ missing: [], unexpected: [] });
        expect(plain(stateDict(to))).toEqual(plain(stateDict(from)));
      }),
    );
  });
});

describe("loadStateDict", () => {
  const full = () => stateDict(new Model());

  it("takes PyTorch's names of batch norm buffers", () => {
    const norm = new BatchNorm1d(1);
    const report = loadStateDict(norm, {
      weight: tensor([2]),
      bias: tensor([3]),
      running_mean: tensor([4]),
      running_var: tensor([5]),
      num_batches_tracked: tensor(6, { dtype: "uint8" }),
    });
    expect(report).toEqual({ missing: [], unexpected: [] });
    expect([norm.runningMean.item(), norm.runningVar.item(), norm.numBatchesTracked.item()]).toEqual([
      4, 5, 6,
    ]);
  });

  it("needs a tied parameter under one name only, and equal values under both", () => {
    const { "head.weight": tied, ...rest } = full();
    const model = new Model();
    loadStateDict(model, rest);
    expect(model.head.weight.value.toArray()).toEqual(tied.toArray());
    expect(() => loadStateDict(model, { ...rest, "head.weight": ones([3, 3]) })).toThrow("its twin");
  });

  it("lists what is missing, unexpected and misshapen at once, and changes nothing", () => {
    const state: Record<string, Tensor> = { ...full(), extra: ones([1]) };
    delete state["blocks.1.linear.bias"];
    state["blocks.1.linear.weight"] = ones([2, 3]);
    const model = new Model();
    const before = plain(stateDict(model));
    const load = () => loadStateDict(model, state);
    expect(load).toThrow(FormatError);
    expect(load).toThrow('1 missing ("blocks.1.linear.bias")');
    expect(load).toThrow('1 unexpected ("extra")');
    expect(load).toThrow("(2, 3) where the model has (3, 3)");
    expect(plain(stateDict(model))).toEqual(before);
  });

  it("forgives a checkpoint without the count of batches", () => {
    const norm = new BatchNorm1d(1);
    const { numBatchesTracked: _, ...rest } = stateDict(norm);
    expect(loadStateDict(norm, rest).missing).toEqual([]);
  });

  it("counts long lists and shows a handful", () => {
    expect(() => loadStateDict(new Model(), {})).toThrow(/13 missing .*… 13 in all/);
  });

  it("takes what it finds and reports the rest when not strict", () => {
    const layer = new Linear(1, 1);
    const report = loadStateDict(layer, { bias: tensor([7]), other: tensor([1]) }, { strict: false });
    expect(report).toEqual({ missing: ["weight"], unexpected: ["other"] });
    expect(layer.bias?.value.toArray()).toEqual([7]);
  });

  it("renames, leaves out what becomes null, and refuses two names that become one", () => {
    const layer = new Linear(1, 1, { bias: false });
    const state = { "module.weight": tensor([[5]]), "module.other": tensor([1]) };
    loadStateDict(layer, state, {
      rename: (name) => (name.endsWith("other") ? null : name.replace("module.", "")),
    });
    expect(layer.weight.value.item()).toBe(5);
    expect(() => loadStateDict(layer, state, { rename: () => "weight" })).toThrow("two names become one");
  });

  it("rounds float64 to float32 and refuses integers for floats", () => {
    const layer = new Linear(1, 1, { bias: false });
    loadStateDict(layer, { weight: tensor([[0.1]], { dtype: "float64" }) });
    expect(layer.weight.value.item()).toBe(Math.fround(0.1));
    const integers = { weight: tensor([[1]], { dtype: "int32" }) };
    expect(() => loadStateDict(layer, integers)).toThrow("int32 where the model has float32");
  });

  it("makes graphs recorded before it refuse to run backward", () => {
    const layer = new Linear(1, 1);
    const y = layer.forward(tensor([[1]], { requiresGrad: true }));
    loadStateDict(layer, stateDict(new Linear(1, 1)));
    expect(() => y.backward()).toThrow("changed in place");
  });

  it("refuses what is no state", () => {
    expect(() => loadStateDict(new Linear(1, 1), { weight: [[1]] } as never)).toThrow(OptionError);
    expect(() => loadStateDict(new Linear(1, 1), null as never)).toThrow(OptionError);
  });
});

describe("modes", () => {
  it("switch every layer that has one", () => {
    const model = new Model();
    expect(evaluate(model)).toBe(model);
    expect(model.blocks.map(({ drop, norm }) => [drop.training, norm.training])).toEqual([
      [false, false],
      [false, false],
    ]);
    expect(train(model).blocks[1].drop.training).toBe(true);
  });

  it("freeze by path; a frozen parameter gets no gradient", () => {
    const model = evaluate(new Model());
    expect(setTrainable(model, "**.bias", false)).toHaveLength(4);
    model
      .forward(ones([2, 3]))
      .sum()
      .backward();
    expect(model.blocks[0].linear.bias?.grad).toBe(null);
    expect(model.blocks[0].linear.weight.grad).not.toBe(null);
    setTrainable(model, /bias$/, true);
    expect(parameters(model).every(({ trainable }) => trainable)).toBe(true);
    expect(() => setTrainable(model, "blocks.9.*", false)).toThrow('fits no parameter, got "blocks.9.*"');
  });

  it("count shared parameters once", () => {
    expect(parameterCount(new Model())).toBe(2 * (9 + 3 + 3 + 3));
  });
});

describe("parametrize", () => {
  const double = { apply: (w: Tensor) => w.mul(2) };

  it("puts transforms on by path, in order, and leaves the latent value", () => {
    const model = new Sequential(new Linear(2, 1), new Linear(2, 1));
    const plusOne = { apply: (w: Tensor) => w.add(1) };
    const found = parametrize(model, "1.weight", double, plusOne);
    expect(found.map(({ path }) => path)).toEqual(["1.weight"]);
    const { weight } = model[1] as Linear;
    expect(weight.effective().toArray()).toEqual(weight.value.mul(2).add(1).toArray());
    expect((model[0] as Linear).weight.transforms).toHaveLength(0);
  });

  it("makes one transform for each parameter from a factory, whose parameters are found and trained", () => {
    const model = new Sequential(new Linear(2, 1), new Linear(2, 1));
    const paths: string[] = [];
    parametrize(model, "*.weight", (p, path) => {
      paths.push(path);
      const scale = new Parameter(tensor([p.size]));
      return { scale, apply: (w: Tensor) => w.mul(scale.value) };
    });
    expect(paths).toEqual(["0.weight", "1.weight"]);
    expect(Object.keys(stateDict(model))).toContain("1.weight.transforms.0.scale");
    expect(parameters(model)).toHaveLength(6);
  });

  it("transforms a tied parameter once and parameters of transforms never", () => {
    const model = new Model();
    parametrize(model, "**.weight", () => ({ weight: new Parameter(ones([1])), apply: (w: Tensor) => w }));
    expect(model.head.weight.transforms).toHaveLength(1);
    parametrize(model, "**", double);
    const inner = model.head.weight.transforms[0] as unknown as { weight: Parameter };
    expect(inner.weight.transforms).toHaveLength(0);
  });

  it("leaves the model as it was when it fails", () => {
    const model = new Sequential(new Linear(2, 1), new Linear(2, 1));
    const failing = (_: Parameter, path: string) => {
      if (path === "1.weight") throw new Error("no");
      return double;
    };
    expect(() => parametrize(model, "*.weight", failing)).toThrow("no");
    expect((model[0] as Linear).weight.transforms).toHaveLength(0);
    expect(() => parametrize(model, "2.*", double)).toThrow(OptionError);
    expect(() => parametrize(model, "0.*", {} as never)).toThrow("apply");
    expect(() => parametrize(model, "0.*")).toThrow("needs a transform");
  });

  it("comes off with its effect baked in, or without", () => {
    const layer = new Linear(2, 1);
    const latent = layer.weight.value.toArray();
    parametrize(layer, "weight", double);
    removeParametrization(layer, "weight", { bake: false });
    expect(layer.weight.value.toArray()).toEqual(latent);
    parametrize(layer, "weight", double);
    expect(removeParametrization(layer, "*")).toEqual(["weight"]);
    expect(layer.weight.value.toArray()).toEqual(
      tensor(latent as number[][])
        .mul(2)
        .toArray(),
    );
    expect(() => removeParametrization(layer, "*")).toThrow("fits no transformed parameter");
  });
});

describe("taps", () => {
  it("collect outputs by path, and gradients flow through them", () => {
    const model = evaluate(new Model());
    const tap = taps(model, "blocks.*");
    const { result, calls, output } = tap.collect(() => model.forward(ones([2, 3])));
    expect(tap.paths).toEqual(["blocks.0", "blocks.1"]);
    expect([...calls.keys()]).toEqual(["blocks.0", "blocks.1"]);
    expect(result.toArray()).toEqual(model.head.forward(output("blocks.1")).toArray());
    output("blocks.0").sum().backward();
    expect(model.blocks[0].linear.weight.grad).not.toBe(null);
    tap.dispose();
  });

  it("hear nothing outside collect and leave no trace after dispose, in any order", () => {
    const model = evaluate(new Model());
    const first = taps(model, "blocks.0");
    const second = taps(model, ["blocks.*", "head"]);
    first.dispose();
    expect(second.collect(() => model.forward(ones([2, 3]))).calls.get("blocks.0")).toHaveLength(1);
    second.dispose();
    second.dispose();
    expect(Object.hasOwn(model.blocks[0], "forward")).toBe(false);
    expect(Object.hasOwn(model.head, "forward")).toBe(false);
    expect(() => second.collect(() => 0)).toThrow("disposed");
  });

  it("restore a forward that is the object's own", () => {
    const forward = (x: Tensor) => x;
    const layer = { forward };
    const tap = taps({ layer }, "layer");
    expect(layer.forward).not.toBe(forward);
    tap.dispose();
    expect(layer.forward).toBe(forward);
    expect(Object.keys(layer)).toEqual(["forward"]);
  });

  it("list every call, and name what cannot be one output", () => {
    const shared = new Linear(2, 2);
    const model = { a: shared, b: shared, c: new Linear(2, 2), pair: { forward: () => [1, 2] } };
    const tap = taps(model, "**");
    const { calls, output } = tap.collect(() => {
      model.a.forward(model.b.forward(ones([2])));
      model.pair.forward();
    });
    expect([calls.get("a")?.length, calls.get("b")?.length, calls.get("c")?.length]).toEqual([2, 2, 0]);
    expect(() => output("a")).toThrow("2 calls");
    expect(() => output("c")).toThrow("0 calls");
    expect(() => output("pair")).toThrow("must return a tensor");
    expect(() => output("d")).toThrow("not a tapped layer");
    tap.dispose();
  });

  it("give what each call was given, and stop after a layer", () => {
    const model = new Sequential(new Linear(2, 3), new Linear(3, 3), new Linear(3, 1));
    const x = ones([4, 2]);
    using tap = taps(model, "*");
    const whole = tap.collect(() => model.forward(x));
    expect(whole.inputs("0")).toEqual([x]);
    expect(whole.inputs("1")[0]).toBe(whole.output("0"));
    expect(whole.calls.get("2")).toEqual([{ inputs: [whole.output("1")], output: whole.result }]);
    const part = tap.collect(() => model.forward(x), { until: "1" });
    expect(part.result).toBe(undefined);
    expect(part.output("1").toArray()).toEqual(whole.output("1").toArray());
    expect(part.calls.get("2")).toEqual([]);
    expect(tap.collect(() => model.forward(x)).calls.get("2")).toHaveLength(1);
    expect(() => part.inputs("2")).toThrow("inputs: the layer must run once, got 0 calls");
    expect(() => tap.collect(() => 0, { until: "1" })).toThrow(StageError);
    expect(() => tap.collect(() => 0, { until: "3" })).toThrow("collect: not a tapped layer");
    expect(() =>
      tap.collect(
        () => {
          throw new RangeError("theirs");
        },
        { until: "1" },
      ),
    ).toThrow("theirs");
  });

  it("refuse a function that catches what stops it, and let its own errors pass", () => {
    const model = new Sequential(new Linear(2, 3), new Linear(3, 1));
    using tap = taps(model, "*");
    const catching = () => {
      try {
        return model.forward(ones([4, 2]));
      } catch {
        return null;
      }
    };
    expect(() => tap.collect(catching, { until: "0" })).toThrow(StageError);
    expect(() => tap.collect(catching, { until: "0" })).toThrow(
      'collect: the function caught what stops it, got until "0"; throw again what is no Error',
    );
    const careful = () => {
      try {
        return model.forward(ones([4, 2]));
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        return null;
      }
    };
    expect(tap.collect(careful, { until: "0" }).output("0").shape).toEqual([4, 3]);
    expect(tap.collect(catching).calls.get("1")).toHaveLength(1);
  });

  it("refuse patterns without a layer, nesting and promises", () => {
    const model = new Model();
    expect(() => taps(model, ["head", "tail"])).toThrow('fits no layer, got "tail"');
    const tap = taps(model, "head");
    expect(() => tap.collect(() => tap.collect(() => 0))).toThrow("running already");
    expect(() => tap.collect(async () => 0)).toThrow("synchronous");
    tap.dispose();
  });
});

describe("clone", () => {
  it("computes the same and is independent", () => {
    const model = evaluate(new Model());
    const copy = clone(model);
    const x = ones([2, 3]);
    expect(copy.forward(x).toArray()).toEqual(model.forward(x).toArray());
    const before = plain(stateDict(model));
    for (const parameter of parameters(copy)) parameter.update((data) => data.fill(9));
    train(copy).forward(x);
    expect(plain(stateDict(model))).toEqual(before);
    expect(model.blocks[0].drop.training).toBe(false);
    expect(copy).toBeInstanceOf(Model);
  });

  it("keeps tied parameters tied and frozen ones frozen", () => {
    const model = new Model();
    setTrainable(model, "head.weight", false);
    const copy = clone(model);
    expect(copy.head.weight).toBe(copy.blocks[0].linear.weight);
    expect(copy.head.weight).not.toBe(model.head.weight);
    expect(copy.head.weight.trainable).toBe(false);
    expect(copy.blocks[1].linear.weight.trainable).toBe(true);
  });

  it("copies transforms with their state, generators at their place, and no gradients", () => {
    const layer = Object.assign(new Linear(2, 2), { rng: new Rng(1), seen: new Map([["a", new Set([1])]]) });
    const scale = new Parameter(tensor([3]));
    const learned = {
      scale,
      apply(w: Tensor) {
        return w.mul(this.scale.value);
      },
    };
    parametrize(layer, "weight", learned);
    layer
      .forward(ones([2]))
      .sum()
      .backward();
    const copy = clone(layer);
    expect(copy.weight.grad).toBe(null);
    expect(copy.rng.next()).toBe(new Rng(1).next());
    expect(layer.rng.counter).toBe(0);
    expect(copy.seen.get("a")).toEqual(new Set([1]));
    expect(copy.seen.get("a")).not.toBe(layer.seen.get("a"));
    scale.assign([5]);
    expect(copy.weight.effective().toArray()).toEqual(noGrad(() => copy.weight.value.mul(3)).toArray());
  });

  it("outlives the scope it was made in", () => {
    const layer = new Linear(1, 1);
    let inner: Linear | null = null;
    scope(() => {
      inner = clone(layer);
    });
    expect((inner as unknown as Linear).weight.value.item()).toBe(layer.weight.value.item());
  });

  it("copies models without data as such", () => {
    expect(parameterCount(clone(withoutData(() => new Linear(10 ** 6, 10 ** 6))))).toBe(10 ** 12 + 10 ** 6);
  });

  it("refuses what is no model", () => {
    expect(() => clone(null as never)).toThrow(OptionError);
  });
});
