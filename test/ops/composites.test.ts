/** Every composed public function on every one of its samples. */

import * as bitgrad from "bitgrad";
import { type Tensor, zeros } from "bitgrad";
import { gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { isFloat } from "../../src/dtype.ts";
import { BitgradError } from "../../src/errors.ts";
import { isTensor } from "../../src/tensor.ts";
import { type CompositeName, composites } from "../samples.ts";

const functions: Record<string, unknown> = { ...bitgrad };
const junk = [undefined, null, "tensor", { a: 1 }, () => 1, Symbol("x"), new Map(), [["ragged"], 1]];

describe.each(Object.keys(composites) as CompositeName[])("%s", (name) => {
  const samples = composites[name];
  const all = (result: Tensor | readonly Tensor[]) => (isTensor(result) ? [result] : result);

  it("gives arrays that fill its shapes", () => {
    for (const { inputs, run } of samples) {
      for (const y of all(run(...inputs))) {
        expect(y.data.length).toBe(y.shape.reduce((a, b) => a * b, 1));
      }
    }
  });

  if (samples.some(({ rough }) => !rough)) {
    it("has the first and second gradients that differences give", () => {
      for (const { inputs, run, rough } of samples) {
        if (rough) continue;
        try {
          gradcheck(run, inputs);
          gradgradcheck(run, inputs);
        } catch (error) {
          throw new Error(`${run}`, { cause: error });
        }
      }
    });
  }

  it("keeps float64", () => {
    for (const { inputs, run } of samples) {
      const wide = inputs.map((t) => (isFloat(t.dtype) ? t.to("float64") : t));
      for (const y of all(run(...wide))) if (isFloat(y.dtype)) expect(y.dtype).toBe("float64");
    }
  });

  it("takes empty tensors, or says why not", () => {
    for (const { inputs, run } of samples) {
      const empty = inputs.map((t) =>
        zeros(
          t.shape.map(() => 0),
          { dtype: t.dtype },
        ),
      );
      expectTyped(() => run(...empty));
    }
  });

  it("refuses what is no tensor", () => {
    const [{ inputs, run }] = samples;
    for (const value of junk) {
      inputs.forEach((_, i) => {
        const args = inputs.map((t, k) => (k === i ? value : t)) as Tensor[];
        if (optional(name, i) && (value === undefined || value === null)) return;
        expect(() => run(...args), `${String(value)} as input ${i}`).toThrow(BitgradError);
      });
    }
  });

  it("meets every kind of junk with an error of its own", () => {
    const f = functions[name] as (...args: unknown[]) => unknown;
    for (const first of [samples[0].inputs[0], ...junk]) {
      for (const second of [...junk, 1, [1, 2], Number.NaN]) {
        for (const third of [undefined, null, "x", { nonsense: 1 }, 1.5, samples[0].inputs[0]]) {
          expectTyped(() => f(first, second, third));
        }
      }
      expectTyped(() => f(first));
    }
    expectTyped(() => f());
  });
});

/** Where nothing may stand for a tensor: the weight and bias of normalisation and the like, the weights of a count. */
const optional = (name: CompositeName, i: number): boolean =>
  name === "bincount" ||
  (i > 0 && /Norm$|^conv|^linear$/.test(name) && (!/^conv|^linear$/.test(name) || i > 1));

/** A result, or an error of the library. */
function expectTyped(fn: () => unknown): void {
  try {
    fn();
  } catch (error) {
    expect(error).toBeInstanceOf(BitgradError);
  }
}
