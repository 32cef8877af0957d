/** Steps of containers that give no tensor, or are none. */

import { isTensor, OptionError, ones, relu, type Tensor } from "bitgrad";
import { Conv2d, Linear, Residual, Sequential, SqueezeExcite } from "bitgrad/nn";
import { pack } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const x = ones([2, 3]);
const odd: [what: string, give: () => unknown][] = [
  ["5", () => 5],
  ["undefined", () => undefined],
  ["null", () => null],
  ["(1, 2)", () => [1, 2]],
  ["Promise", async () => x],
  ["Promise", () => Promise.reject(new Error("late"))],
  ["Object", () => ({ forward: (t: Tensor) => t })],
];

describe("a step that gives no tensor", () => {
  it.each(odd)("is named by the containers that run it: %s", (what, give) => {
    const f = give as never;
    const says = (op: string, path: string) => `${op}: a step must give a tensor, got ${what} from "${path}"`;
    for (const [run, message] of [
      [() => new Sequential(relu, f).forward(x), says("Sequential", "1")],
      [() => new Sequential({ a: f, b: relu }).forward(x), says("Sequential", "a")],
      [() => new Sequential({ forward: give } as never, relu).forward(x), says("Sequential", "0")],
      [() => new Residual(f).forward(x), says("Residual", "body")],
      [() => new Residual(relu, { shortcut: f }).forward(x), says("Residual", "shortcut")],
      [
        () => new Sequential(relu, new Residual(new Sequential({ in: relu, out: f }))).forward(x),
        `1.body: ${says("Sequential", "out")}`,
      ],
      [
        () => new SqueezeExcite(3, 2, { activation: f }).forward(ones([1, 3, 2, 2])),
        says("SqueezeExcite", "activation"),
      ],
      [
        () => new Sequential(new SqueezeExcite(3, 2, { gate: f })).forward(ones([1, 3, 2, 2])),
        `0: ${says("SqueezeExcite", "gate")}`,
      ],
    ] as const) {
      expect(run).toThrow(OptionError);
      expect(run).toThrow(message);
    }
  });

  it("is a step of a class by its property, or its place where it has none", () => {
    class Net extends Sequential {
      first = new Linear(3, 3);
      override *[Symbol.iterator]() {
        yield* [this.first, relu, () => 5 as never];
      }
    }
    expect(() => new Net().forward(x)).toThrow('Sequential: a step must give a tensor, got 5 from "2"');
    const net = new Net();
    net.first = { forward: () => "no" } as never;
    expect(() => net.forward(x)).toThrow('Sequential: a step must give a tensor, got "no" from "first"');
  });
});

describe("a step that was replaced by none", () => {
  it.each([[5], [null], ["relu"], [{}], [Linear]])("is named: %s", (junk) => {
    const model = new Sequential({ a: relu, b: relu });
    Object.assign(model, { b: junk });
    const residual = new Residual(relu);
    residual.body = junk as never;
    for (const run of [() => model.forward(x), () => new Sequential(model).forward(x)]) {
      expect(run).toThrow(OptionError);
      expect(run).toThrow(/^(0: )?Sequential: needs layers and functions, got .* at "b"/);
    }
    expect(() => residual.forward(x)).toThrow(/^Residual: needs layers and functions, got .* at "body"/);
    for (const bad of [model, residual]) {
      expect(() => pack(bad)).toThrow(OptionError);
      expect(() => pack(bad)).toThrow(/^pack: /);
    }
  });

  it("may be any layer or function", () => {
    const model = new Sequential({ a: relu });
    Object.assign(model, { a: new Residual(new Linear(3, 3)) });
    expect(isTensor(model.forward(x))).toBe(true);
    const wide = new Residual(relu);
    wide.body = new Conv2d(1, 1, 1);
    expect(wide.forward(ones([1, 1, 2, 2])).shape).toEqual([1, 1, 2, 2]);
  });
});
