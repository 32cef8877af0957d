import { readFileSync } from "node:fs";
import { laws } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import type { FloatArray } from "../../src/dtype.ts";
import { OptionError } from "../../src/errors.ts";
import type { UpdateRule } from "../../src/optim/rule.ts";
import { Rng } from "../../src/random/rng.ts";
import { type Case, camelOptions, expectWithin, golden } from "./golden.ts";
import { rules } from "./rules.ts";

describe("golden optimizer cases", () => {
  const cases = golden("optimizer").filter(({ op }) => op !== "param_groups");

  const ruleFor = ({ op, params }: Case): UpdateRule => {
    const options = camelOptions(params);
    if (op === "sign_sgd") return "momentum" in params ? rules.signum(options) : rules.signSgd(options);
    return rules[op](options);
  };

  it.each(cases.map((c) => [c.id, c] as const))("%s", (_id, testCase) => {
    const rule = ruleFor(testCase);
    for (let p = 0; `param${p}` in testCase.inputs; p++) {
      const weight = Float32Array.from(testCase.inputs[`param${p}`].data);
      const grads = testCase.inputs[`grads${p}`];
      const state = rule.init(weight.length, weight);
      const after: number[] = [];
      for (let step = 0; step < grads.shape[0]; step++) {
        const grad = Float32Array.from(grads.data.slice(step * weight.length, (step + 1) * weight.length));
        rule.update(weight, grad, state, rule.options.lr as number);
        after.push(...weight);
      }
      expectWithin(after, testCase.outputs[`param${p}_after`].data, testCase.tol);
    }
  });
});

const gradients = (seed: number, steps: number, size: number, like: FloatArray): FloatArray[] => {
  const rng = new Rng(seed);
  return Array.from({ length: steps }, () => {
    const grad =
      like.slice(0, 0).constructor === Float64Array ? new Float64Array(size) : new Float32Array(size);
    rng.fillNormal(grad);
    return grad;
  });
};

describe.each(Object.entries(rules))("rule %s", (name, make) => {
  it("is called by its name and gives its options with the learning rate", () => {
    const rule = make({ lr: 0.25 });
    expect(rule.name).toBe(name);
    expect(rule.options.lr).toBe(0.25);
  });

  const { lr, left } = { lr: name === "adadelta" ? 50 : 0.05, left: name === "adagrad" ? 0.7 : 0.05 };
  it.each(
    laws.optimizer(() => make({ lr }), { kind: "continuous", left }).map((law) => [law.name, law] as const),
  )("%s", (_, law) => law.check());

  it("keeps its state in the precision of the weight", () => {
    for (const weight of [new Float32Array(3), new Float64Array(3)]) {
      for (const value of Object.values(make({}).init(3, weight))) {
        if (typeof value !== "number") expect(value.constructor).toBe(weight.constructor);
      }
    }
  });

  it("treats every element, and every parameter, alike in any order", () => {
    const weight = Float32Array.of(1, -2, 3);
    const reversed = weight.slice().reverse();
    const rule = make({});
    const state = rule.init(3, weight);
    const other = rule.init(3, reversed);
    for (const grad of gradients(4, 6, 3, weight)) {
      rule.update(weight, grad, state, 0.1);
      rule.update(reversed, grad.slice().reverse(), other, 0.1);
    }
    expect(reversed.reverse()).toEqual(weight);
  });

  it("leaves gradients alone", () => {
    const weight = Float32Array.of(1, -2);
    const grad = Float32Array.of(0.25, -0.5);
    const rule = make("weightDecay" in make({}).options ? { weightDecay: 0.1 } : {});
    rule.update(weight, grad, rule.init(2, weight), 0.1);
    expect([...grad]).toEqual([0.25, -0.5]);
    expect([...weight]).not.toEqual([1, -2]);
  });

  it.each([
    { lr: Number.NaN },
    { lr: -0.1 },
    { lr: Infinity },
    { lr: "1" },
    { learningRate: 0.1 },
    { weightDecay: -1 },
  ])("refuses %o", (options) => {
    expect(() => make(options)).toThrow(OptionError);
    expect(() => make(options)).toThrow(new RegExp(`^${name}: `));
  });
});

describe("rule options", () => {
  it.each([
    ["adam", { betas: [1, 0.9] }],
    ["adamw", { betas: [0.9] }],
    ["lion", { betas: [0.9, Number.NaN] }],
    ["radam", { betas: 0.9 }],
    ["nadam", { momentumDecay: -1 }],
    ["rmsprop", { alpha: 1.5 }],
    ["adadelta", { rho: -0.1 }],
    ["signum", { momentum: 1 }],
    ["adagrad", { initialAccumulator: -1 }],
    ["sgd", { momentum: 0.9, dampening: Number.POSITIVE_INFINITY }],
    ["sgd", { nesterov: true }],
    ["sgd", { momentum: 0.9, dampening: 0.1, nesterov: true }],
  ])("%s refuses %o", (name, options) => {
    expect(() => rules[name](options)).toThrow(OptionError);
  });

  it("the file list of rules is the list tested here", () => {
    const index = readFileSync(new URL("../../src/optim/index.ts", import.meta.url), "utf8");
    const exported = [...index.matchAll(/\b(\w+) \} from "\.\/rules\//g)].map((m) => m[1]);
    expect(exported.sort()).toEqual(Object.keys(rules).sort());
  });
});

describe("rules by hand", () => {
  const run = (rule: UpdateRule, grads: number[][]) => {
    const weight = new Float64Array(3).fill(1);
    const state = rule.init(3, weight);
    return grads.map((grad) => {
      rule.update(weight, Float64Array.from(grad), state, 0.1);
      return [...weight];
    });
  };
  const grads = [
    [0.3, -2, 0],
    [-0.1, 0.5, 0.2],
    [-0.1, 0.5, 0.2],
  ];

  it.each<[string, UpdateRule, number[][]]>([
    [
      "signSgd",
      rules.signSgd({ lr: 0.1 }),
      [
        [0.9, 1.1, 1],
        [1, 1, 0.9],
        [1.1, 0.9, 0.8],
      ],
    ],
    [
      "signum",
      rules.signum({ lr: 0.1 }),
      [
        [0.9, 1.1, 1],
        [0.8, 1.2, 0.9],
        [0.7, 1.3, 0.8],
      ],
    ],
    [
      "lion",
      rules.lion({ lr: 0.1, weightDecay: 0.1 }),
      [
        [0.89, 1.09, 0.99],
        [0.9811, 0.9791, 0.8801],
        [1.071289, 0.869309, 0.771299],
      ],
    ],
  ])("%s takes the steps worked out on paper", (_name, rule, expected) => {
    run(rule, grads).forEach((weights, step) => {
      for (const [i, w] of weights.entries()) expect(w).toBeCloseTo(expected[step][i], 12);
    });
  });

  it("sgd with Nesterov momentum takes the steps worked out on paper", () => {
    // m = 1, 1.9; d = g + 0.9 m = 1.9, 2.71.
    const steps = run(rules.sgd({ lr: 0.1, momentum: 0.9, nesterov: true }), [
      [1, 1, 1],
      [1, 1, 1],
    ]);
    expect(steps[0][0]).toBeCloseTo(1 - 0.19, 12);
    expect(steps[1][0]).toBeCloseTo(1 - 0.19 - 0.271, 12);
  });
});
