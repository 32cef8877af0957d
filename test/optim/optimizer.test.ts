import { randn, scope, tensor } from "bitgrad";
import {
  adamw,
  cosine,
  everything,
  isBias,
  isBinary,
  isNorm,
  lion,
  matching,
  noam,
  type OptimizerState,
  optimizer,
  plateau,
  schedule,
  sgd,
  type UpdateRule,
} from "bitgrad/optim";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FormatError, GradError, OptionError, ShapeError } from "../../src/errors.ts";
import { Parameter } from "../../src/nn/parameter.ts";
import { Rng } from "../../src/random/rng.ts";
import { Storage } from "../../src/storage.ts";
import { Tensor } from "../../src/tensor.ts";
import { camelOptions, expectWithin, golden } from "./golden.ts";
import { rules } from "./rules.ts";

const vector = (...values: number[]) =>
  new Tensor(new Storage(Float32Array.from(values), "float32"), [values.length], "float32");

const param = (...values: number[]) => new Parameter(vector(...values));

const model = () => ({
  first: { weight: param(1, -2, 3), bias: param(0.5) },
  norm: { kind: "norm", weight: param(1, 1), bias: param(0, 0) },
  last: { weight: param(0.25, 4) },
});

type Model = ReturnType<typeof model>;

const all = (m: Model) => [m.first.weight, m.first.bias, m.norm.weight, m.norm.bias, m.last.weight];

/** Fills every gradient with normals. */
function backward(m: Model, rng: Rng): void {
  for (const parameter of all(m)) {
    const grad = new Float32Array(parameter.value.size);
    rng.fillNormal(grad);
    parameter.grad = vector(...grad);
  }
}

const values = (m: Model) => all(m).map((parameter) => [...parameter.value.data]);

describe("optimizer", () => {
  it("moves a parameter by its rule, bumps its version and keeps its gradient", () => {
    const p = param(1, 2);
    p.grad = vector(10, -10);
    const before = p.version;
    optimizer([p], sgd({ lr: 0.1 })).step();
    expect([...p.value.data]).toEqual([0, 3]);
    expect(p.version).toBeGreaterThan(before);
    expect([...(p.grad as Tensor).data]).toEqual([10, -10]);
  });

  it("passes over parameters without a gradient, and zeroGrad drops every gradient", () => {
    const m = model();
    m.first.weight.grad = vector(1, 1, 1);
    const opt = optimizer(m, sgd({ lr: 1 }));
    opt.step();
    expect([...m.first.weight.value.data]).toEqual([0, -3, 2]);
    expect([...m.last.weight.value.data]).toEqual([0.25, 4]);
    opt.zeroGrad();
    expect(m.first.weight.grad).toBeNull();
  });

  it("gives each parameter to the first row that takes it", () => {
    const m = model();
    const opt = optimizer(m, [
      [isNorm, sgd({ lr: 1 })],
      [isBias, sgd({ lr: 2 })],
      [matching("last.**"), sgd({ lr: 3 })],
      [everything, sgd({ lr: 4 })],
    ]);
    expect(opt.groups.map((group) => group.parameters.map(({ path }) => path))).toEqual([
      ["norm.weight", "norm.bias"],
      ["first.bias"],
      ["last.weight"],
      ["first.weight"],
    ]);
  });

  it("names the parameters that no row takes", () => {
    expect(() => optimizer(model(), [[isNorm, sgd()]])).toThrow(OptionError);
    expect(() => optimizer(model(), [[isNorm, sgd()]])).toThrow(
      'optimizer: no row takes some parameters, got ("first.weight", "first.bias", "last.weight"); end with [everything, rule]',
    );
  });

  it("names the row that takes no parameter", () => {
    const rows = [
      [everything, sgd()],
      [isBias, lion()],
    ] as const;
    expect(() => optimizer(model(), rows)).toThrow(
      'optimizer: a row takes no parameter, got row 1 ("lion") of 2',
    );
  });

  it("steps a shared parameter once", () => {
    const shared = param(1);
    const tied = { embed: { weight: shared }, head: { weight: shared } };
    shared.grad = vector(1);
    optimizer(tied, sgd({ lr: 0.25 })).step();
    expect([...shared.value.data]).toEqual([0.75]);
    optimizer([shared, shared], sgd({ lr: 0.25 })).step();
    expect([...shared.value.data]).toEqual([0.5]);
  });

  it("takes one-bit parameters by their transforms or their mark", () => {
    const plain = param(1);
    const quantized = param(1);
    quantized.transforms.push({ apply: (weight) => weight, bits: 1 });
    const signs = Object.assign(param(1), { binary: true });
    expect([plain, quantized, signs].map((p) => isBinary("x", p))).toEqual([false, true, true]);
  });

  it("isBias goes by the last name of the path", () => {
    const p = param(1);
    expect(
      ["bias", "a.bias", "a.inBias", "biases.weight", "a.unbias"].map((path) => isBias(path, p)),
    ).toEqual([true, true, true, false, false]);
  });

  it("refuses a gradient of another shape", () => {
    const p = param(1, 2);
    Object.defineProperty(p, "grad", { value: vector(1) });
    expect(() => optimizer([p], sgd()).step()).toThrow(ShapeError);
  });

  it.each([{ clipNorm: 0 }, { clipNorm: Number.NaN }, { clipValue: -1 }, { clip: 1 }])(
    "refuses the options %o",
    (options) => {
      expect(() => optimizer(model(), sgd(), options as object)).toThrow(OptionError);
    },
  );

  it("runs the golden case of parameter groups", () => {
    const [{ params, inputs, outputs, tol }] = golden("optimizer").filter((c) => c.op === "param_groups");
    const { defaults, groups } = params as { defaults: object; groups: object[] };
    const weights = groups.map((_, i) => param(...inputs[`param${i}`].data));
    const opt = optimizer(
      Object.fromEntries(weights.map((weight, i) => [`p${i}`, weight])),
      groups.map(
        (options, i) => [matching(`p${i}`), rules.sgd(camelOptions({ ...defaults, ...options }))] as const,
      ),
    );
    const after: number[][] = weights.map(() => []);
    for (let step = 0; step < inputs.grads0.shape[0]; step++) {
      weights.forEach((weight, i) => {
        const n = weight.value.size;
        weight.grad = vector(...inputs[`grads${i}`].data.slice(step * n, (step + 1) * n));
      });
      opt.step();
      weights.forEach((weight, i) => {
        after[i].push(...weight.value.data);
      });
    }
    for (const [i, steps] of after.entries()) expectWithin(steps, outputs[`param${i}_after`].data, tol);
  });

  it("serves a rule without a learning rate beside one with", () => {
    const seen: number[] = [];
    const flip: UpdateRule = {
      name: "flip",
      options: {},
      init: () => ({}),
      update(weight, grad, _state, lr) {
        seen.push(lr);
        for (let i = 0; i < weight.length; i++) if (weight[i] * grad[i] > 0) weight[i] = -weight[i];
      },
    };
    const m = { signs: param(1, -1, 1), scale: param(2) };
    m.signs.grad = vector(1, 1, -1);
    const opt = optimizer(m, [
      [matching("signs"), flip],
      [everything, sgd({ lr: 0.5 })],
    ]);
    expect(opt.lr).toBe(0.5);
    opt.step();
    expect([...m.signs.value.data]).toEqual([-1, -1, 1]);
    opt.lr = 0.05;
    opt.step();
    expect(seen).toEqual([1, 0.1]);
  });
});

describe("learning rates", () => {
  it("setting lr scales every group alike", () => {
    const opt = optimizer(model(), [
      [isBias, sgd({ lr: 0.5 })],
      [everything, sgd({ lr: 0.125 })],
    ]);
    expect(opt.lr).toBe(0.5);
    opt.lr = 1;
    expect(opt.groups.map((group) => group.lr)).toEqual([1, 0.25]);
    for (const bad of [-1, Number.NaN, Infinity]) {
      expect(() => {
        opt.lr = bad;
      }).toThrow(OptionError);
    }
  });

  it("refuses to scale an initial rate of 0", () => {
    const opt = optimizer(model(), sgd({ lr: 0 }));
    expect(() => {
      opt.lr = 1;
    }).toThrow("optimizer: lr cannot scale an initial rate, got 0");
  });

  it("a schedule is in force from step 0 and multiplies every group's initial rate", () => {
    const opt = optimizer(model(), [
      [isBias, sgd({ lr: 2 })],
      [everything, sgd({ lr: 1 })],
    ]);
    const warmup = schedule(opt, cosine({ warmup: 4, total: 10 }));
    const seen = [];
    for (let k = 0; k < 4; k++) {
      seen.push(opt.groups.map((group) => group.lr));
      warmup.step();
    }
    expect(seen).toEqual([
      [0.5, 0.25],
      [1, 0.5],
      [1.5, 0.75],
      [2, 1],
    ]);
    expect(warmup.count).toBe(4);
  });

  it("a schedule resumes from its count", () => {
    const [a, b] = [0, 1].map(() => optimizer(model(), sgd({ lr: 1 })));
    const first = schedule(a, noam({ dim: 16, warmup: 5 }));
    for (let k = 0; k < 7; k++) first.step();
    const second = schedule(b, noam({ dim: 16, warmup: 5 }));
    second.loadStateDict(first.stateDict());
    expect(b.lr).toBe(a.lr);
    expect(() => second.loadStateDict({ count: -1 })).toThrow(OptionError);
    expect(() => schedule(a, (k) => (k === 0 ? 1 : Number.NaN)).step()).toThrow(OptionError);
  });

  it("a plateau cuts the rate when its metric stops falling", () => {
    const opt = optimizer(model(), sgd({ lr: 1 }));
    const reducer = schedule(opt, plateau({ patience: 0, factor: 0.5 }));
    const seen = [3, 2, 2, 1].map((metric) => {
      reducer.step(metric);
      return opt.lr;
    });
    expect(seen).toEqual([1, 1, 0.5, 0.5]);
    const other = optimizer(model(), sgd({ lr: 1 }));
    schedule(other, plateau({ patience: 0, factor: 0.5 })).loadStateDict(reducer.stateDict());
    expect(other.lr).toBe(0.5);
  });
});

describe("optimizer clipping", () => {
  const twoSteps = (options: object) => {
    const m = { a: param(0, 0), b: param(0) };
    m.a.grad = vector(3, 0);
    m.b.grad = vector(4);
    optimizer(m, sgd({ lr: 1 }), options).step();
    return { m, moved: [...m.a.value.data, ...m.b.value.data] };
  };

  it("clipNorm scales all gradients by one factor and leaves them as they are", () => {
    const { m, moved } = twoSteps({ clipNorm: 1 });
    expectWithin(moved, [-0.6, 0, -0.8], { rtol: 1e-6, atol: 0 });
    expect([...(m.a.grad as Tensor).data]).toEqual([3, 0]);
  });

  it("clipNorm above the norm changes no bit", () => {
    expect(twoSteps({ clipNorm: 6 }).moved).toEqual([-3, 0, -4]);
  });

  it("clipValue bounds each element, before clipNorm", () => {
    expect(twoSteps({ clipValue: 3.5 }).moved).toEqual([-3, 0, -3.5]);
    expectWithin(twoSteps({ clipValue: 3, clipNorm: 1 }).moved, [-Math.SQRT1_2, 0, -Math.SQRT1_2], {
      rtol: 1e-6,
      atol: 0,
    });
  });

  it.each([Number.NaN, Infinity, -Infinity])(
    "clipNorm names the parameter whose gradient holds %d",
    (bad) => {
      const m = model();
      m.first.bias.grad = vector(1);
      m.norm.bias.grad = vector(1, bad);
      const opt = optimizer(m, sgd({ lr: 1 }), { clipNorm: 1 });
      expect(() => opt.step()).toThrow(GradError);
      expect(() => opt.step()).toThrow(
        `step: a gradient must be finite, got ${bad} in that of norm.bias; no parameter was changed`,
      );
      expect([...m.first.bias.value.data]).toEqual([0.5]);
    },
  );
});

describe("optimizer state", () => {
  const rows = (rule: UpdateRule) =>
    [
      [isBias, sgd({ lr: 0.1, momentum: 0.9 })],
      [everything, rule],
    ] as const;

  it.each(Object.keys(rules))("of %s resumes bit for bit", (name) => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(4), fc.nat(4), (seed, before, after) => {
        const m = model();
        const opt = optimizer(m, rows(rules[name]({})), { clipNorm: 1 });
        const rng = new Rng(seed);
        for (let k = 0; k < before; k++) {
          backward(m, rng);
          opt.step();
          opt.lr *= 0.9;
        }
        const twin = model();
        all(m).forEach((parameter, i) => {
          all(twin)[i].update((data) => data.set(parameter.value.data as Float32Array));
        });
        const resumed = optimizer(twin, rows(rules[name]({})), { clipNorm: 1 });
        resumed.loadStateDict(opt.stateDict());
        const state = rng.state;
        for (const [m2, opt2] of [
          [m, opt],
          [twin, resumed],
        ] as const) {
          rng.state = state;
          for (let k = 0; k < after; k++) {
            backward(m2, rng);
            opt2.step();
          }
        }
        expect(values(twin)).toEqual(values(m));
        expect(resumed.lr).toBe(opt.lr);
      }),
      { numRuns: 10 },
    );
  });

  const stepped = () => {
    const m = model();
    const opt = optimizer(m, adamw());
    backward(m, new Rng(1));
    opt.step();
    return { m, opt };
  };

  it("is flat, named by path, in the parameters' shapes, and a copy", () => {
    const { m, opt } = stepped();
    const saved = opt.stateDict();
    expect(Object.keys(saved)).toContain("state.first.weight.mean");
    expect((saved["state.first.weight.mean"] as Tensor).shape).toEqual([3]);
    expect(saved["state.first.weight.step"]).toBe(1);
    expect(saved["lr.first.weight"]).toBe(1e-3);
    const mean = [...(saved["state.first.weight.mean"] as Tensor).data];
    backward(m, new Rng(2));
    opt.step();
    expect([...(saved["state.first.weight.mean"] as Tensor).data]).toEqual(mean);
  });

  it.each<[string, (saved: OptimizerState) => void, string]>([
    [
      "a missing slot",
      (s) => delete s["state.first.weight.mean"],
      "state.first.weight.mean must be a float32 tensor of shape (3), got nothing",
    ],
    ["a wrong shape", (s) => Object.assign(s, { "state.first.weight.mean": vector(1) }), "got float32 (1)"],
    ["a number for a tensor", (s) => Object.assign(s, { "state.first.weight.mean": 3 }), "got 3"],
    [
      "a NaN step",
      (s) => Object.assign(s, { "state.last.weight.step": Number.NaN }),
      "state.last.weight.step must be a number, got NaN",
    ],
    ["a missing rate", (s) => delete s["lr.norm.bias"], "lr.norm.bias must be a number, got nothing"],
    ["an unknown name", (s) => Object.assign(s, { "state.other.mean": 1 }), 'got ("state.other.mean")'],
  ])("with %s is refused and changes nothing", (_what, damage, message) => {
    const { opt } = stepped();
    const saved = opt.stateDict();
    damage(saved);
    const target = stepped().opt;
    const before = target.stateDict();
    expect(() => target.loadStateDict(saved)).toThrow(FormatError);
    expect(() => target.loadStateDict(saved)).toThrow(message);
    const text = (state: OptimizerState) =>
      Object.entries(state).map(([key, value]) => [key, typeof value === "number" ? value : [...value.data]]);
    expect(text(target.stateDict())).toEqual(text(before));
  });
});

describe("optimizer on the tape", () => {
  it("fits a line from gradients that backward computed, one scope a step", () => {
    const m = { weight: new Parameter(tensor([[0], [0]])), bias: new Parameter(tensor([0])) };
    const opt = optimizer(m, adamw({ lr: 0.1, weightDecay: 0 }), { clipNorm: 1 });
    const decay = schedule(opt, cosine({ total: 300 }));
    const x = randn([64, 2], { rng: new Rng("line") });
    const y = x.matmul(tensor([[2], [-1]])).add(0.5);
    for (let k = 0; k < 300; k++) {
      scope(() => {
        opt.zeroGrad();
        x.matmul(m.weight.effective()).add(m.bias.effective()).sub(y).square().mean().backward();
        opt.step();
      });
      decay.step();
    }
    expectWithin([...m.weight.value.data, ...m.bias.value.data], [2, -1, 0.5], { rtol: 0, atol: 1e-3 });
  });

  it("makes a graph recorded before the step refuse to run backward", () => {
    const p = new Parameter(tensor([1, 2]));
    const loss = p.effective().square().sum();
    p.grad = tensor([1, 1]);
    optimizer([p], sgd({ lr: 1 })).step();
    expect(() => loss.backward()).toThrow(GradError);
  });
});
