import { BitgradError, OptionError } from "bitgrad";
import { type RuleContext, sgd, type UpdateRule } from "bitgrad/optim";
import { type Law, laws } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import type { FloatArray } from "../../src/dtype.ts";
import { bop, bopSays } from "../optim/bop.ts";

const livelyBop = { tau: 0.05, gamma: 0.1 };

/** Votes, of which the first are drawn: m ← βm + (1 − β)g; s ← βs + (1 − β)·lr·sign(m); w = −sign(s). */
const voting = (): UpdateRule<{ mean: FloatArray; votes: FloatArray }> => ({
  name: "voting",
  options: { lr: 0.1 },
  init(size, weight, context) {
    const { rng } = context as RuleContext;
    const votes = Float64Array.from(weight!, (w) => -w * rng.next() * 0.01);
    return { mean: new Float64Array(size), votes };
  },
  update(weight, grad, { mean, votes }, lr) {
    for (let i = 0; i < weight.length; i++) {
      mean[i] = 0.9 * mean[i] + 0.1 * grad[i];
      votes[i] = 0.8 * votes[i] + 0.2 * lr * Math.sign(mean[i]);
      weight[i] = votes[i] > 0 ? -1 : 1;
    }
  },
});

const failing = (list: readonly Law[]): string[] =>
  list.flatMap(({ name, check }) => {
    try {
      check();
      return [];
    } catch (error) {
      expect(error).toBeInstanceOf(BitgradError);
      expect((error as BitgradError).code).toBe("LAW");
      expect((error as Error).message).toContain(name);
      return [name];
    }
  });

describe("laws.optimizer", () => {
  const says = bopSays(livelyBop);

  it("holds for a rule of signs, and tells its laws apart from those of every rule", () => {
    const every = laws.optimizer(() => bop(livelyBop));
    const ofSigns = laws.optimizer(() => bop(livelyBop), { kind: "signs", says });
    expect(ofSigns.map(({ name }) => name)).toEqual([
      "resumes bit for bit from its saved state",
      "does not depend on the order of parameters",
      "is the same when it is made anew with its own numbers",
      "leaves gradients alone",
      "names a parameter whose gradient is NaN, and changes nothing",
      "keeps every weight at 1 or −1",
      "flips exactly what it says",
      "does the same to one bit per weight",
    ]);
    expect(ofSigns.slice(0, 5).map(({ name }) => name)).toEqual(every.map(({ name }) => name));
    expect(failing(ofSigns)).toEqual([]);
    expect(failing(every)).toEqual([]);
  });

  it("holds for a rule that draws its first state and has a rate", () => {
    const list = laws.optimizer(voting, {
      kind: "signs",
      says: (weight, grads, state) => {
        const w = weight.slice();
        for (const grad of grads) voting().update(w, grad, state as never, 0.1);
        return w;
      },
    });
    expect(list.map(({ name }) => name)).toContain("moves nothing at a learning rate of 0");
    expect(failing(list)).toEqual([]);
  });

  const broken = (change: (rule: UpdateRule) => Partial<UpdateRule>) => () => {
    const rule = sgd({ lr: 0.05, momentum: 0.5 }) as UpdateRule;
    return { ...rule, with: undefined, ...change(rule) };
  };

  it.each<[string, () => UpdateRule, string[]]>([
    [
      "keeps what it remembers to itself",
      () => {
        let steps = 0;
        return broken((rule) => ({ update: (w, g, s, lr) => rule.update(w, g, s, lr / ++steps) }))();
      },
      ["resumes bit for bit from its saved state", "does not depend on the order of parameters"],
    ],
    [
      "leaves out what lies beyond whole vectors",
      broken((rule) => ({
        update(w, g, state, lr) {
          const last = w[w.length - 1];
          rule.update(w, g, state, lr);
          if (w.length > 8) w[w.length - 1] = last;
        },
      })),
      ["falls on a quadratic"],
    ],
    [
      "does not take what is written",
      broken((rule) => ({ with: () => rule })),
      ["resumes bit for bit from its saved state", "is the same when it is made anew with its own numbers"],
    ],
    [
      "writes gradients",
      broken((rule) => ({ update: (w, g, s, lr) => rule.update(w, g.fill(g[0]), s, lr) })),
      ["leaves gradients alone", "falls on a quadratic"],
    ],
    [
      "climbs",
      broken((rule) => ({ update: (w, g, s, lr) => rule.update(w, g, s, -lr) })),
      ["falls on a quadratic"],
    ],
    [
      "moves without a rate",
      broken((rule) => ({ update: (w, g, s, lr) => rule.update(w, g, s, lr + 0.01) })),
      ["moves nothing at a learning rate of 0"],
    ],
    [
      "hides NaN",
      broken((rule) => ({
        update: (w, g, s, lr) =>
          rule.update(
            w,
            g.map((v) => v || 0),
            s,
            lr,
          ),
      })),
      ["makes NaN of NaN, and of nothing else"],
    ],
  ])("names what a rule breaks that %s", (_, make, names) => {
    const found = failing(laws.optimizer(make, { kind: "continuous" }));
    expect(found).toEqual(expect.arrayContaining(names));
    if (names.length === 1) expect(found).toEqual(names);
  });

  it.each<[string, () => UpdateRule, string[]]>([
    ["another threshold", () => bop({ tau: 0.1, gamma: 0.1 }), ["flips exactly what it says"]],
    [
      "weights that are no signs",
      () => ({
        ...bop(livelyBop),
        with: undefined,
        update(weight, grad) {
          for (let i = 0; i < weight.length; i++) weight[i] = grad[i] > 0 ? 0.5 : 1;
        },
      }),
      ["keeps every weight at 1 or −1", "flips exactly what it says"],
    ],
    ["nothing that flips", () => bop({ tau: 100, gamma: 0.1 }), ["flips exactly what it says"]],
  ])("names what a rule of signs breaks that has %s", (_, make, names) => {
    const list = laws
      .optimizer(make, { kind: "signs", says })
      .filter(({ name }) => !name.includes("one bit"));
    expect(failing(list)).toEqual(names);
  });

  it("refuses what is no rule, and signs without a word of what flips", () => {
    expect(() => laws.optimizer(sgd() as never)).toThrow(
      "laws.optimizer: needs a function that makes a rule",
    );
    expect(() => laws.optimizer(() => 1 as never)).toThrow(OptionError);
    expect(() => laws.optimizer(sgd as never, { kind: "signs" })).toThrow(
      "laws.optimizer: a rule of signs needs says, a function, got null",
    );
  });
});

describe("bop", () => {
  it("flips what was worked out on paper", () => {
    const rule = bop({ gamma: 0.1, tau: 0.05 });
    const weight = Float64Array.of(1, -1, 1, -1);
    const state = rule.init(4, weight);
    const grads = [
      [0.4, -0.4, 0.2, 0.3],
      [0.4, 0.1, 0.2, 0.3],
      [0.4, -0.9, 0.2, 0.3],
      [-2, -0.4, 0.2, 0.3],
    ];
    const after = grads.map((grad) => {
      rule.update(weight, Float64Array.from(grad), state, 1);
      return [...weight];
    });
    expect(after).toEqual([
      [1, -1, 1, -1],
      [-1, -1, 1, -1],
      [-1, 1, -1, -1],
      [1, 1, -1, -1],
    ]);
    [-0.10244, -0.14206, 0.06878, 0.10317].forEach((m, i) => {
      expect(state.mean[i]).toBeCloseTo(m, 9);
    });
  });
});
