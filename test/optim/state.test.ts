import { FormatError, GradError, OptionError, Rng, randn, type Tensor, tensor } from "bitgrad";
import { Linear, Parameter } from "bitgrad/nn";
import { adamw, everything, matching, optimizer, sgd, type UpdateRule } from "bitgrad/optim";
import { trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

const model = (names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, new Parameter(tensor([1, 2]))]));

const fill = (m: Record<string, Parameter>, grad: readonly number[]) => {
  for (const parameter of Object.values(m)) parameter.grad = tensor([...grad]);
};

const numbers = (m: Record<string, Parameter>) => Object.values(m).map(({ value }) => value.toArray());

/** Keeps one number for each row of a matrix, a counter of bytes, and the smallest loss seen. */
const rowwise: UpdateRule<{ rows: Float32Array; flips: Uint8Array; least: number }> = {
  name: "rowwise",
  options: { lr: 1 },
  init: (size) => ({
    rows: new Float32Array(Math.sqrt(size)),
    flips: new Uint8Array(size),
    least: Infinity,
  }),
  update(weight, grad, state) {
    const n = state.rows.length;
    grad.forEach((g, i) => {
      state.rows[Math.floor(i / n)] += g;
      weight[i] -= state.rows[Math.floor(i / n)] / 8;
      state.flips[i] += 3;
    });
    state.least = -1;
  },
};

describe("a rule's state", () => {
  const square = (n = 4) => ({
    w: new Parameter(randn([n, n], { rng: new Rng(1) })),
    idle: new Parameter(tensor([0])),
  });
  const step = (m: ReturnType<typeof square>, opt: ReturnType<typeof optimizer>) => {
    m.w.grad = m.w.value.mul(0.5).detach();
    opt.step();
  };

  it.each([4, 16])("is saved with its own lengths and dtypes, and resumes bit for bit (%i rows)", (n) => {
    const m = square(n);
    const opt = optimizer(m, rowwise);
    step(m, opt);
    const saved = opt.stateDict();
    const rows = saved["state.w.rows"] as Tensor;
    const flips = saved["state.w.flips"] as Tensor;
    expect([rows.shape, rows.dtype]).toEqual([[n], "float32"]);
    expect([flips.shape, flips.dtype]).toEqual([[n, n], "uint8"]);
    expect([...flips.data]).toEqual(Array(n * n).fill(3));

    const twin = square(n);
    twin.w.assign(m.w.value);
    const resumed = optimizer(twin, rowwise);
    resumed.loadStateDict(saved);
    step(m, opt);
    step(twin, resumed);
    expect(twin.w.value.toArray()).toEqual(m.w.value.toArray());
    expect((resumed.stateDict()["state.w.flips"] as Tensor).toArray()).toEqual(
      (opt.stateDict()["state.w.flips"] as Tensor).toArray(),
    );
  });

  it.each([
    ["a slot of another length", { "state.w.rows": tensor([1, 2]) }, "must be a float32 tensor of shape (4)"],
    ["a slot of another dtype", { "state.w.flips": tensor([[1]]) }, "must be a uint8 tensor of shape (4, 4)"],
  ])("is refused with %s", (_, wrong, text) => {
    const m = square();
    const opt = optimizer(m, rowwise);
    step(m, opt);
    const load = () => opt.loadStateDict({ ...opt.stateDict(), ...wrong });
    expect(load).toThrow(FormatError);
    expect(load).toThrow(text);
  });

  it.each([
    ["a word", "up"],
    ["a list", [1, 2]],
    ["an array of no dtype", new Uint16Array(2)],
    ["nothing", undefined],
  ])("holding %s is refused before anything moves", (_, slot) => {
    const m = model(["a", "b"]);
    const odd: UpdateRule = { name: "odd", options: {}, init: () => ({ slot: slot as never }), update() {} };
    const opt = optimizer(m, [
      [matching("a"), sgd({ lr: 1 })],
      [everything, odd],
    ]);
    fill(m, [1, 1]);
    expect(() => opt.step()).toThrow(OptionError);
    expect(() => opt.step()).toThrow("step: a slot of a rule must be a number or a typed array");
    expect(numbers(m)).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });
});

describe("learning rates of a state", () => {
  const rows = (first: string) =>
    [
      [matching(first), sgd({ lr: first === "a" ? 1 : 2 })],
      [everything, sgd({ lr: first === "a" ? 2 : 1 })],
    ] as const;

  it("belong to parameters, in whichever order the rows are", () => {
    const saved = optimizer(model(["a", "b"]), rows("a")).stateDict();
    const turned = optimizer(model(["b", "a"]), rows("b"));
    turned.groups[0].lr = 9;
    turned.loadStateDict(saved);
    expect(turned.groups.map(({ parameters, lr }) => [parameters[0].path, lr])).toEqual([
      ["b", 2],
      ["a", 1],
    ]);
  });

  it("that differ within a group are refused, and nothing changes", () => {
    const saved = optimizer(model(["a", "b"]), rows("a")).stateDict();
    const whole = optimizer(model(["a", "b"]), sgd({ lr: 3 }));
    expect(() => whole.loadStateDict(saved)).toThrow(FormatError);
    expect(() => whole.loadStateDict(saved)).toThrow(
      "loadStateDict: parameters of one group had rates of their own, got 1 for a and 2 for b",
    );
    expect(whole.lr).toBe(3);
  });
});

describe("a step that cannot be taken", () => {
  const taken = () => {
    const m = model(["a", "b"]);
    const opt = optimizer(m, adamw({ lr: 0.1 }));
    fill(m, [1, -1]);
    opt.step();
    return { m, opt };
  };
  const held = ({ m, opt }: ReturnType<typeof taken>) =>
    JSON.stringify([
      numbers(m),
      Object.entries(opt.stateDict()).map(([key, value]) => [
        key,
        typeof value === "number" ? value : value.toArray(),
      ]),
    ]);

  it.each([Number.NaN, Infinity, -Infinity])(
    "for a gradient of %d names the parameter and leaves weights, moments and count",
    (bad) => {
      const it = taken();
      const before = held(it);
      it.m.b.grad = tensor([1, bad]);
      expect(() => it.opt.step()).toThrow(GradError);
      expect(() => it.opt.step()).toThrow(
        `step: a gradient must be finite, got ${bad} in that of b; no parameter was changed`,
      );
      expect(held(it)).toBe(before);
    },
  );

  it("for a rate that is none leaves everything", () => {
    const it = taken();
    const before = numbers(it.m);
    it.opt.groups[0].lr = Number.NaN;
    expect(() => it.opt.step()).toThrow(
      "step: the lr of group 0 must be a finite number of at least 0, got NaN",
    );
    expect(numbers(it.m)).toEqual(before);
  });

  it("in trainStep, where the loss is finite and its gradient is not, names the parameter", () => {
    const m = { first: new Linear(2, 2), last: new Linear(2, 1) };
    m.first.bias!.assign([0, 0]);
    m.first.weight.assign([
      [0, 0],
      [0, 0],
    ]);
    const opt = optimizer(m, adamw());
    const before = m.first.weight.value.toArray();
    const run = () =>
      trainStep(m, opt, (net) =>
        net.first
          .forward(tensor([[1, 2]]))
          .sqrt()
          .sum(),
      );
    expect(run).toThrow(GradError);
    expect(run).toThrow("got Infinity in that of first.weight");
    expect(m.first.weight.value.toArray()).toEqual(before);
  });

  it("lets clipValue bound what is infinite", () => {
    const m = model(["a"]);
    m.a.grad = tensor([Infinity, 0]);
    optimizer(m, sgd({ lr: 1 }), { clipValue: 2 }).step();
    expect(numbers(m)).toEqual([[-1, 2]]);
  });
});
