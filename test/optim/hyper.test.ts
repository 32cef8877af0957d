import { OptionError, randn, Rng, type Tensor, tensor } from "bitgrad";
import { Parameter, signs } from "bitgrad/nn";
import {
  adamw,
  everything,
  linear,
  matching,
  optimizer,
  plateau,
  rmsprop,
  type Scheduler,
  schedule,
  sgd,
  step,
  type UpdateRule,
} from "bitgrad/optim";
import { describe, expect, it } from "vitest";
import { bop } from "./bop.ts";
import { rules } from "./rules.ts";

const leaf = () => new Parameter(tensor([1, -2, 3]));

const filled = (...parameters: Parameter[]) => {
  for (const [i, p] of parameters.entries()) p.grad = randn(p.shape, { rng: new Rng(i) });
};

const numbers = (p: Parameter) => [...p.value.data];

/** Every rule that has a number to write beside its rate: its weight decay where it has one. */
const written = Object.keys(rules).flatMap((name) => {
  const options = Object.entries(rules[name]({}).options);
  const numbers = options.filter(([key, value]) => key !== "lr" && typeof value === "number");
  const keys = numbers.map(([key]) => key).sort((a, b) => +(b === "weightDecay") - +(a === "weightDecay"));
  return keys.slice(0, 1).map((key): [name: string, key: string] => [name, key]);
});

describe("hyper-parameters of a group", () => {
  it("are the numbers of the rule's options by name, but for the rate", () => {
    const { hyper, initialHyper, lr } = optimizer([leaf()], adamw({ lr: 0.5, betas: [0.8, 0.9] })).groups[0];
    expect({ ...hyper }).toEqual({ "betas.0": 0.8, "betas.1": 0.9, eps: 1e-8, weightDecay: 0.01 });
    expect(initialHyper).toEqual({ ...hyper });
    expect(lr).toBe(0.5);
  });

  it.each(written)("of %s make the rule anew: the next step is that of a rule made so, %s", (name, key) => {
    const [rewritten, made] = [leaf(), leaf()];
    const opt = optimizer([rewritten], rules[name]({ lr: 0.1 }));
    opt.groups[0].hyper[key] = 0.25;
    filled(rewritten);
    filled(made);
    opt.step();
    optimizer([made], rules[name]({ lr: 0.1, [key]: 0.25 })).step();
    expect(numbers(rewritten)).toEqual(numbers(made));
    expect(opt.groups[0].rule.options).toMatchObject({ lr: 0.1, [key]: 0.25 });
  });

  it("write one item of a list", () => {
    const group = optimizer([leaf()], adamw()).groups[0];
    group.hyper["betas.1"] = 0.5;
    group.hyper["betas.0"] = 0.25;
    expect((group.rule.options as { betas?: number[] }).betas).toEqual([0.25, 0.5]);
    expect(group.initialHyper["betas.1"]).toBe(0.999);
  });

  it("go on with what the rule remembers", () => {
    const p = new Parameter(tensor([0]));
    const opt = optimizer([p], sgd({ lr: 1, momentum: 0.5 }));
    p.grad = tensor([1]);
    opt.step();
    opt.groups[0].hyper.momentum = 0.25;
    opt.step();
    // m = 1, then 0.25·1 + 1.
    expect(numbers(p)).toEqual([-2.25]);
  });

  it.each<[string, UpdateRule, string, unknown, string]>([
    ["the rule's own range", adamw(), "betas.0", 1.5, "adamw: each of betas must lie in [0, 1), got 1.5"],
    [
      "a rate of 0",
      sgd(),
      "weightDecay",
      -1,
      "sgd: weightDecay must be a finite number of at least 0, got -1",
    ],
    ["NaN", bop(), "tau", Number.NaN, "hyper: tau of bop must be a number, got NaN"],
    ["text", bop(), "tau", "1", 'hyper: tau of bop must be a number, got "1"'],
    ["the range of a user's rule", bop(), "gamma", 2, "bop: gamma must lie in [0, 1], got 2"],
    ["another name", bop(), "lr", 1, 'hyper: no such hyper-parameter, got "lr"; bop has tau, gamma'],
    ["a list", adamw(), "betas", [0.9, 0.9], 'got "betas"; adamw has betas.0, betas.1, eps, weightDecay'],
    ["memory", sgd(), "momentum", 0.9, "sgd: momentum must stay 0 once the rule is made, got 0.9"],
    ["less memory", rmsprop({ momentum: 0.9 }), "momentum", 0, "rmsprop: momentum must stay above 0"],
  ])("refuse what is outside of %s, and change nothing", (_, rule, key, value, text) => {
    const group = optimizer([leaf()], rule).groups[0];
    const before = { ...group.hyper };
    const write = () => Object.assign(group.hyper, { [key]: value });
    expect(write).toThrow(OptionError);
    expect(write).toThrow(text);
    expect({ ...group.hyper }).toEqual(before);
    expect(group.rule.options).toEqual(rule.options);
  });

  it("are none of a rule that cannot be made anew", () => {
    const { with: _, ...fixed } = bop();
    const group = optimizer([leaf()], fixed).groups[0];
    expect({ ...group.hyper }).toEqual({});
    expect(() => Object.assign(group.hyper, { tau: 1 })).toThrow(
      'got "tau"; bop has none, since it lacks the method with',
    );
    expect(() => Reflect.deleteProperty(group.hyper, "tau")).toThrow(OptionError);
  });
});

describe("a schedule of a hyper-parameter", () => {
  const rows = () =>
    [
      [matching("w"), bop({ tau: 0.5, gamma: 0.25 })],
      [everything, sgd({ lr: 2, momentum: 0.5 })],
    ] as const;
  const made = () => {
    const m = { w: new Parameter(tensor([1, -1, 1, -1]), { store: signs }), b: leaf() };
    return { m, opt: optimizer(m, rows()) };
  };

  it("multiplies its initial value in the groups that have it, and leaves rates alone", () => {
    const { opt } = made();
    const tau = schedule(opt, step({ size: 2, gamma: 0.5 }), "tau");
    const rate = schedule(opt, linear({ total: 4 }));
    const seen = [];
    for (let k = 0; k < 4; k++) {
      seen.push([opt.groups[0].hyper.tau, opt.groups[1].lr]);
      tau.step();
      rate.step();
    }
    expect(seen).toEqual([
      [0.5, 2],
      [0.5, 1.5],
      [0.25, 1],
      [0.25, 0.5],
    ]);
    expect(opt.groups[1].hyper.momentum).toBe(0.5);
  });

  it("resumes bit for bit from the states of optimizer and schedule, in an optimizer made otherwise", () => {
    const run = ({ m, opt }: ReturnType<typeof made>, driver: Scheduler, from: number) => {
      for (let k = from; k < from + 5; k++) {
        m.w.grad = randn([4], { rng: new Rng(k) });
        m.b.grad = randn([3], { rng: new Rng(k) });
        opt.step();
        driver.step();
      }
    };
    const whole = made();
    const wave = (k: number) => 1 / (1 + k / 3);
    const first = schedule(whole.opt, wave, "tau");
    run(whole, first, 0);
    const saved = whole.opt.stateDict();
    expect(saved["hyper.w.tau"]).toBe(0.5 * wave(5));
    expect(saved["hyper.b.momentum"]).toBe(0.5);

    const m = { w: new Parameter(whole.m.w.value, { store: signs }), b: new Parameter(whole.m.b.value) };
    const opt = optimizer(m, [
      [matching("w"), bop({ tau: 0.5, gamma: 0.125 })],
      [everything, sgd({ lr: 1, momentum: 0.25 })],
    ]);
    opt.loadStateDict(saved);
    expect(opt.groups.map(({ hyper }) => ({ ...hyper }))).toEqual(
      whole.opt.groups.map(({ hyper }) => ({ ...hyper })),
    );
    const second = schedule(opt, wave, "tau");
    second.loadStateDict(first.stateDict());
    run(whole, first, 5);
    run({ m, opt }, second, 5);
    expect(numbers(m.w)).toEqual(numbers(whole.m.w));
    expect(numbers(m.b)).toEqual(numbers(whole.m.b));
    const plain = (state: Record<string, Tensor | number>) =>
      Object.entries(state).map(([key, held]) => [key, typeof held === "number" ? held : held.toArray()]);
    expect(plain(opt.stateDict())).toEqual(plain(whole.opt.stateDict()));
  });

  it("may be a plateau", () => {
    const { opt } = made();
    const reducer = schedule(opt, plateau({ patience: 0, factor: 0.5 }), "gamma");
    for (const metric of [1, 1]) reducer.step(metric);
    expect(opt.groups[0].hyper.gamma).toBe(0.125);
  });

  it("refuses a key that no rule has, naming those there are, and one that is 0", () => {
    const { opt } = made();
    expect(() => schedule(opt, () => 1, "threshold")).toThrow(OptionError);
    expect(() => schedule(opt, () => 1, "threshold")).toThrow(
      'schedule: no such hyper-parameter, got "threshold"; bop has tau, gamma; sgd has momentum, dampening, weightDecay',
    );
    expect(() => schedule(opt, () => 1, "weightDecay")).toThrow(
      'schedule: a multiplier cannot scale what is 0, got "weightDecay" of sgd',
    );
  });

  it("leaves every group as it was where one rule refuses a value", () => {
    const opt = optimizer({ a: leaf(), b: leaf() }, [
      [matching("a"), rules.signum({ momentum: 0.25 })],
      [everything, rules.signum({ momentum: 0.75 })],
    ]);
    const driver = schedule(opt, (k) => 1 + k, "momentum");
    expect(() => driver.step()).toThrow("signum: momentum must lie in [0, 1), got 1.5");
    expect(opt.groups.map(({ hyper }) => hyper.momentum)).toEqual([0.25, 0.75]);
    expect(driver.count).toBe(0);
  });
});

describe("a state with hyper-parameters", () => {
  it.each<[string, object, string]>([
    ["without one", { "hyper.0.eps": undefined }, "hyper.0.eps must be a number, got nothing"],
    [
      "with one that differs in a group",
      { "hyper.1.eps": 1 },
      "parameters of one group had eps of their own",
    ],
    [
      "with one out of range",
      { "hyper.0.betas.0": 2, "hyper.1.betas.0": 2 },
      "adamw: each of betas must lie",
    ],
    ["with another's", { "hyper.0.tau": 2 }, 'what this optimizer has not, got ("hyper.0.tau")'],
  ])("%s is refused, and nothing changes", (_, change, text) => {
    const opt = optimizer([leaf(), leaf()], adamw());
    const saved = opt.stateDict();
    opt.groups[0].hyper.eps = 0.5;
    const before = { ...opt.groups[0].hyper };
    expect(() => opt.loadStateDict({ ...saved, ...change })).toThrow(text);
    expect({ ...opt.groups[0].hyper }).toEqual(before);
  });

  it("is not needed: a state written before there were any leaves them as they are", () => {
    const opt = optimizer([leaf(), leaf()], adamw());
    opt.groups[0].hyper.eps = 0.5;
    const older = Object.fromEntries(
      Object.entries(opt.stateDict()).filter(([key]) => !key.startsWith("hyper.")),
    );
    opt.groups[0].lr = 7;
    opt.loadStateDict(older);
    expect(opt.groups[0].hyper.eps).toBe(0.5);
    expect(opt.groups[0].lr).not.toBe(7);
  });
});
