/** Options of ops outside of their domain are refused, wherever the op runs. */

import * as bitgrad from "bitgrad";
import { OptionError, ones, shapesOnly, type Tensor, tensor } from "bitgrad";
import { describe, expect, it } from "vitest";

const wrong: [name: string, options: object, message: string][] = [
  ["softShrink", { lambda: -1 }, "softShrink: lambda must not be negative, got -1"],
  ["hardShrink", { lambda: -0.5 }, "hardShrink: lambda must not be negative, got -0.5"],
  ["celu", { alpha: 0 }, "celu: alpha must be finite and not 0, got 0"],
  ["celu", { alpha: -Infinity }, "celu: alpha must be finite and not 0, got -Infinity"],
  ["softplus", { beta: 0 }, "softplus: beta must be finite and not 0, got 0"],
  ["softplus", { beta: Infinity }, "softplus: beta must be finite and not 0, got Infinity"],
  ["hardTanh", { min: 1, max: -1 }, "hardTanh: min must not be above max, got 1 and -1"],
  ["gelu", { approximate: "tan" }, 'gelu: unknown approximation, got "tan"; use "none" or "tanh"'],
];

describe("an option outside of its domain is an OptionError", () => {
  it.each(wrong)("%s %o", (name, options, message) => {
    const op = (x: Tensor) =>
      (bitgrad as unknown as Record<string, (x: Tensor, options: object) => Tensor>)[name](x, options);
    for (const run of [() => op(tensor([-1, 2])), () => shapesOnly(() => op(ones([2])))]) {
      expect(run).toThrow(OptionError);
      expect(run).toThrow(message);
    }
  });

  it("and the ends of a domain are in it", () => {
    const x = tensor([-1, 0, 2]);
    expect(x.softShrink({ lambda: 0 }).toArray()).toEqual([-1, 0, 2]);
    expect(x.hardShrink({ lambda: Infinity }).toArray()).toEqual([0, 0, 0]);
    expect(x.hardTanh({ min: 1, max: 1 }).toArray()).toEqual([1, 1, 1]);
    expect(x.hardTanh({ min: -Infinity, max: Infinity }).toArray()).toEqual([-1, 0, 2]);
    expect(x.softplus({ threshold: -Infinity }).toArray()).toEqual([-1, 0, 2]);
  });
});
