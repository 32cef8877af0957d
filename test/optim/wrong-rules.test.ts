/** Rules of one's own that lack a part, or give what is none: typed errors, and nothing is changed. */

import { ones } from "bitgrad";
import { Linear } from "bitgrad/nn";
import { type OptimizerRows, optimizer, sgd, type UpdateRule } from "bitgrad/optim";
import { describe, expect, it } from "vitest";

const good = { name: "own", options: { lr: 1 }, init: () => ({ sum: 0 }), update: () => {} };
const made = (changes: object) => {
  const model = new Linear(2, 2);
  model
    .forward(ones([1, 2]))
    .sum()
    .backward();
  return optimizer(model, { ...good, ...changes } as never);
};
const option = (message: string) =>
  expect.objectContaining({ code: "OPTION", message: expect.stringContaining(message) });

describe("a rule", () => {
  it.each<[string, object, string]>([
    ["init", { init: undefined }, 'must have init, a function, got undefined of "own"'],
    ["a function for init", { init: 5 }, "must have init, a function, got 5"],
    ["options", { options: undefined }, "must have options, { lr, … }, got undefined"],
    ["options that are some", { options: null }, "must have options, { lr, … }, got null"],
    ["a rate that is one", { options: { lr: "1" } }, 'finite and not negative, got "1"'],
    ["a rate that is a number", { options: { lr: Number.NaN } }, "finite and not negative, got NaN"],
    ["a rate from 0 up", { options: { lr: -1 } }, "finite and not negative, got -1"],
  ])("without %s is refused", (_, changes, message) => {
    expect(() => made(changes)).toThrow(option(message));
    const rows: OptimizerRows = [[() => true, { ...good, ...changes } as UpdateRule]];
    expect(() => optimizer(new Linear(2, 2), rows)).toThrow(option(message));
  });

  it.each([null, undefined, 5, "x", [1], new Float32Array(4), new Map()])(
    "whose init gives %s is refused by step and by loadStateDict",
    (state) => {
      const optim = made({ init: () => state });
      const message = "init of a rule must give its slots by name, { … }, got";
      expect(() => optim.step()).toThrow(option(message));
      expect(() => optim.loadStateDict(optim.stateDict())).toThrow(option(message));
    },
  );

  it("whose with gives no rule is refused, and the rule before stays", () => {
    for (const next of [null, 5, {}, { ...good, init: null }]) {
      const optim = made({ options: { lr: 1, beta: 0.5 }, with: () => next });
      const [group] = optim.groups;
      const before = group.rule;
      expect(() => {
        group.hyper.beta = 0.9;
      }).toThrow(option("a rule must have"));
      expect(group.rule).toBe(before);
      expect(group.hyper.beta).toBe(0.5);
    }
  });

  it("of the library, and one that has all parts, is taken", () => {
    made({}).step();
    optimizer(new Linear(2, 2), sgd({ lr: 0.1 }));
  });
});
