/** Every op of the table on every one of its samples. */

import { BitgradError, checkNumerics, isTensor, OptionError, type Tensor, zeros } from "bitgrad";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { afterEach, describe, expect, it } from "vitest";
import { isFloat } from "../../src/dtype.ts";
import { sameShape } from "../../src/shape.ts";
import { gradients } from "../../src/tape.ts";
import { type OpName, table } from "../ops-table.ts";
import { type Sample, samples } from "../samples.ts";

const names = Object.keys(table) as OpName[];
const rulesOf = (name: OpName) => table[name].rules;

/** The first result: the others are for the gradient alone. */
const run = (name: OpName, inputs: readonly (Tensor | null)[], options?: object): Tensor => {
  const result = (table[name] as (...args: unknown[]) => Tensor | readonly Tensor[])(
    ...inputs,
    ...(options ? [options] : []),
  );
  return isTensor(result) ? result : result[0];
};

/** The inputs that are there and not held constant. */
const given = ({ inputs, constant = [] }: Sample): Tensor[] =>
  inputs.filter((t, i) => t !== null && !constant.includes(i)) as Tensor[];
/** The op as a function of them, in their precision. */
const ofGiven =
  (name: OpName, { inputs, options, constant = [] }: Sample) =>
  (...xs: Tensor[]): Tensor => {
    const precise = xs.some((x) => x.dtype === "float64");
    let next = 0;
    const all = inputs.map((t, i) => {
      if (t === null) return null;
      if (!constant.includes(i)) return xs[next++];
      return precise ? double(t) : t;
    });
    return run(name, all, options);
  };
const double = (t: Tensor): Tensor => (isFloat(t.dtype) ? t.to("float64") : t);
const floats = (inputs: readonly Tensor[]) => inputs.filter((t) => isFloat(t.dtype));
const describeSample = ({ inputs, options }: Sample) =>
  `${inputs.map((t) => (t ? `${t.dtype}(${t.shape})` : "none")).join(" ")} ${JSON.stringify(options ?? {})}`;

afterEach(() => checkNumerics(false));

describe.each(names)("%s", (name) => {
  const rules = rulesOf(name);
  const own = samples[name];
  const differentiable = own.filter((sample) => rules.vjp !== null && floats(given(sample)).length > 0);
  const sloped = differentiable.filter(({ surrogate }) => !surrogate);

  it("has samples, and differentiable ones where it has a gradient", () => {
    expect(own.length).toBeGreaterThan(0);
    if (rules.vjp) expect(differentiable.length).toBeGreaterThan(0);
  });

  it("has a gradient where it makes floats of floats", () => {
    const makesFloats = own.some(
      ({ inputs, options }) =>
        isFloat(run(name, inputs, options).dtype) && floats(given({ inputs })).length > 0,
    );
    expect(rules.vjp !== null).toBe(makesFloats);
  });

  it("gives its shape and dtype, no more than float32 rounding away from float64", () => {
    for (const sample of own) {
      const inputs = given(sample);
      const y = ofGiven(name, sample)(...inputs);
      expect(
        sameShape(y.shape, rules.shapes(sample.inputs, { ...rules.options, ...sample.options })[0]),
      ).toBe(true);
      expect(y.data.length).toBe(y.size);
      if (y.dtype === "bool") expect([...y.data].every((v) => v === 0 || v === 1)).toBe(true);
      const exact = ofGiven(name, sample)(...inputs.map(double));
      expect(sameShape(y.shape, exact.shape)).toBe(true);
      if (isFloat(y.dtype) && floats(inputs).length > 0) expect(exact.dtype).toBe("float64");
      const size = Math.max(0, ...exact.data.map(Math.abs).filter(Number.isFinite));
      expectClose(y, exact, { rtol: isFloat(y.dtype) ? 1e-6 : 0, atol: isFloat(y.dtype) ? size * 1e-6 : 0 });
    }
  });

  if (rules.vjp)
    it("has the gradient that differences give", () => {
      for (const sample of sloped) {
        try {
          gradcheck(ofGiven(name, sample), given(sample));
        } catch (error) {
          throw new Error(describeSample(sample), { cause: error });
        }
      }
    });

  if (rules.vjp)
    it("has the second gradient that differences give", () => {
      for (const sample of sloped) {
        try {
          gradgradcheck(ofGiven(name, sample), given(sample));
        } catch (error) {
          throw new Error(describeSample(sample), { cause: error });
        }
      }
    });

  if (differentiable.length > sloped.length)
    it("has the gradient of its surrogate", () => {
      for (const sample of differentiable) {
        if (!sample.surrogate) continue;
        const xs = given(sample).map(double);
        const wanted = gradsOf(sample.surrogate, xs, false, ofGiven(name, sample)(...xs));
        gradsOf(ofGiven(name, sample), xs).forEach((grad, i) => {
          expectClose(grad, wanted[i]);
        });
      }
    });

  if (rules.writesAll)
    it("writes every element, whatever was there", () => {
      for (const { inputs, options } of own) {
        const all = { ...rules.options, ...options };
        const dtypes = rules.dtypes(inputs as never, all);
        const make = (filled: boolean) =>
          rules.shapes(inputs as never, all).map((shape, i) => {
            const out = zeros(shape, { dtype: dtypes?.[i] ?? run(name, inputs, options).dtype });
            if (filled) out.data.fill(isFloat(out.dtype) ? Number.NaN : 77);
            return out;
          });
        const [clean, dirty] = [make(false), make(true)];
        for (const outs of [clean, dirty])
          rules.forward(
            outs.map((out) => out.data),
            inputs as never,
            all,
            outs,
          );
        expect(dirty.map((out) => out.data)).toEqual(clean.map((out) => out.data));
      }
    });

  if (rules.composed)
    it("equals its composition", () => {
      for (const sample of own) {
        const inputs = sample.inputs.map((t) => t && double(t));
        const options = { ...rules.options, ...sample.options };
        expectClose(run(name, inputs, sample.options), rules.composed!(inputs, options), {
          rtol: 1e-11,
          atol: 1e-12,
        });
      }
    });

  if (rules.fusedVjp)
    it("has a fused gradient equal to the one in ops", () => {
      for (const sample of differentiable) {
        const xs = given(sample).map(double);
        const fused = gradsOf(ofGiven(name, sample), xs, false);
        const composed = gradsOf(ofGiven(name, sample), xs, true);
        fused.forEach((grad, i) => {
          expectClose(grad, composed[i], { rtol: 1e-10, atol: 1e-11 });
        });
      }
    });

  if (rules.vjp)
    it("gives no gradient to an input that wants none", () => {
      for (const sample of differentiable) {
        const xs = given(sample).map(double);
        const everything = gradsOf(ofGiven(name, sample), xs);
        xs.forEach((x, only) => {
          if (!isFloat(x.dtype)) return;
          const inputs = xs.map((t) => t.detach());
          inputs[only].requiresGrad = true;
          const y = ofGiven(name, sample)(...inputs);
          y.backward(y.detach().add(1));
          inputs.forEach((t, i) => {
            if (i !== only) expect(t.grad, describeSample(sample)).toBeNull();
          });
          expectClose(inputs[only].grad ?? zeros(x.shape, { dtype: "float64" }), everything[only]);
        });
      }
    });

  it("takes one tensor for two inputs", () => {
    for (const sample of sloped) {
      const inputs = given(sample);
      const [x, y] = inputs;
      if (inputs.length !== 2 || !isFloat(y.dtype) || !sameShape(x.shape, y.shape)) continue;
      gradcheck((t) => run(name, [t, t], sample.options), [x.abs().add(0.1)]);
    }
  });

  it("makes no NaN on the way to its gradients", () => {
    checkNumerics(true);
    for (const sample of sloped) gradsOf(ofGiven(name, sample), given(sample), true);
  });

  if (rules.options)
    it("refuses an unknown option, naming itself", () => {
      for (const sample of own) {
        const call = () => run(name, sample.inputs, { ...sample.options, nonsense: 1 });
        expect(call).toThrow(OptionError);
        expect(call).toThrow(`${rules.name}: unknown option, got "nonsense"`);
      }
    });

  it("takes empty tensors, or says why not", () => {
    for (const { inputs, options } of own) {
      const emptied = inputs.map(
        (t) =>
          t &&
          zeros(
            t.shape.map(() => 0),
            { dtype: t.dtype },
          ),
      );
      expectTyped(() => run(name, emptied, options));
    }
  });

  it("refuses what is no tensor", () => {
    const [{ inputs, options }] = own;
    for (const junk of [
      undefined,
      null,
      "tensor",
      { a: 1 },
      () => 1,
      Symbol("x"),
      new Map(),
      [["ragged"], 1],
    ]) {
      for (let i = 0; i < rules.arity[0]; i++) {
        const args = inputs.map((t, k) => (k === i ? junk : t)) as Tensor[];
        expect(() => run(name, args, options)).toThrow(BitgradError);
      }
    }
    expect(() => run(name, [])).toThrow(BitgradError);
  });

  it("refuses more tensors than it takes", () => {
    const [{ inputs, options }] = own;
    const [, most] = rules.arity;
    if (most === Number.POSITIVE_INFINITY) return;
    const extra = [...inputs, ...Array<Tensor>(most + 1 - inputs.length).fill(zeros([]))];
    expect(() => run(name, extra, options)).toThrow(`${rules.name}: takes at most ${most} tensor`);
  });
});

/** Gradients of Σ (at + 1) · y, where `at` is y's own value unless given; zeros where there is none. */
function gradsOf(
  f: (...x: Tensor[]) => Tensor,
  xs: readonly Tensor[],
  createGraph = false,
  at?: Tensor,
): Tensor[] {
  const leaves = xs.map((x) => {
    const leaf = x.detach();
    if (isFloat(x.dtype)) leaf.requiresGrad = true;
    return leaf;
  });
  const y = f(...leaves);
  const seed = (at ?? y).detach().add(1);
  const grads = gradients([y], [seed], leaves, { createGraph, retainGraph: createGraph }, -1);
  return grads.map((g, i) => g?.detach() ?? zeros(leaves[i].shape, { dtype: "float64" }));
}

/** A result, or an error of the library. */
function expectTyped(fn: () => unknown): void {
  try {
    fn();
  } catch (error) {
    expect(error).toBeInstanceOf(BitgradError);
  }
}
