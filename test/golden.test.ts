import * as bitgrad from "bitgrad";
import * as distill from "bitgrad/distill";
import * as nn from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { check, readSuite } from "./golden/case.ts";
import { table } from "./golden/table.ts";

describe.each(Object.entries(table))("PyTorch's %s cases agree in values and gradients", (name, suite) => {
  it.each(readSuite(name).map((given) => ({ id: given.id, given })))("$id", ({ given }) => {
    check(given, suite[given.op]);
  });

  it("has a row for every op of the suite and no other", () => {
    const ops = new Set(readSuite(name).map(({ op }) => op));
    expect(Object.keys(suite).sort()).toEqual([...ops].sort());
  });

  it("names public functions in its calls", () => {
    const known = { ...bitgrad, ...nn, ...distill, ...quant };
    for (const { call } of Object.values(suite)) {
      for (const [, dot, word] of call.matchAll(/(\.?)\b(\w+)\(/g)) {
        if (dot === "") expect(known, call).toHaveProperty(word);
        else if (word !== "forward") expect(bitgrad.Tensor.prototype, call).toHaveProperty(word);
      }
    }
  });
});

describe("a case fails", () => {
  const [given] = readSuite("matmul");
  const { run } = table.matmul[given.op];
  const { out } = given.outputs;

  it.each([
    ["on a value just outside its tolerance", { outputs: { out: { ...out, data: out.data.map(nudged) } } }],
    ["on another shape", { outputs: { out: { ...out, shape: [...out.shape, 1] } } }],
    ["on another dtype", { outputs: { out: { ...out, dtype: "int64" } } }],
    ["on a missing output", { outputs: { ...given.outputs, indices: out } }],
    ["on a NaN that is not there", { outputs: { out: { ...out, data: out.data.map(() => "NaN") } } }],
    [
      "on a wrong gradient",
      { grads: { input: { ...given.inputs.input, data: given.inputs.input.data.map(() => 9) } } },
    ],
  ])("%s", (_, change) => {
    expect(() => check(given, { call: "", run })).not.toThrow();
    expect(() => check({ ...given, ...change }, { call: "", run })).toThrow();
  });

  function nudged(value: number | string): number {
    const { rtol, atol } = given.tol;
    return Number(value) + 1.01 * (atol + rtol * Math.abs(Number(value)));
  }
});
