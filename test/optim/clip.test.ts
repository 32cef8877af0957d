import { clipGradNorm, clipGradValue } from "bitgrad/optim";
import { describe, expect, it } from "vitest";
import { GradError, OptionError } from "../../src/errors.ts";
import { Parameter } from "../../src/nn/parameter.ts";
import { Storage } from "../../src/storage.ts";
import { Tensor } from "../../src/tensor.ts";
import { expectWithin, golden } from "./golden.ts";

const tensorOf = (data: number[], shape: number[]) =>
  new Tensor(new Storage(Float32Array.from(data), "float32"), shape, "float32");

const withGrad = (data: number[], shape: number[] = [data.length]) => {
  const parameter = new Parameter(tensorOf(new Array(data.length).fill(0), shape));
  parameter.grad = tensorOf(data, shape);
  return parameter;
};

const gradData = (parameter: Parameter) => [...(parameter.grad as Tensor).data];

describe("golden clip cases", () => {
  it.each(golden("clip").map((c) => [c.id, c] as const))(
    "%s",
    (_id, { op, params, inputs, outputs, tol }) => {
      const names = Object.keys(inputs);
      const parameters = names.map((name) => withGrad(inputs[name].data, inputs[name].shape));
      if (op === "clip_grad_norm") {
        const normType = Number(params.norm_type);
        const total = clipGradNorm(parameters, params.max_norm as number, { normType });
        expectWithin([total], outputs.total_norm.data, tol);
      } else {
        clipGradValue(parameters, params.clip_value as number);
      }
      names.forEach((name, i) => {
        expectWithin(gradData(parameters[i]), outputs[`${name}_after`].data, tol);
        expect((parameters[i].grad as Tensor).shape).toEqual(inputs[name].shape);
      });
    },
  );
});

describe("clipGradNorm", () => {
  it("passes over parameters without a gradient and counts a repeated one once", () => {
    const bare = new Parameter(tensorOf([1], [1]));
    const p = withGrad([3, 4]);
    expect(clipGradNorm([bare, p, p], 10)).toBe(5);
    expect(clipGradNorm([], 1)).toBe(0);
  });

  it("scales a gradient that two parameters share once for each", () => {
    const [a, b] = [withGrad([3]), withGrad([3])];
    b.grad = a.grad;
    clipGradNorm([a, b], 1);
    expect(gradData(a)[0]).toBeCloseTo(Math.SQRT1_2, 6);
    expect(gradData(b)[0]).toBeCloseTo(Math.SQRT1_2, 6);
  });

  it.each([2, 1, Infinity])("refuses gradients that are not finite, in norm %d", (normType) => {
    for (const bad of [Number.NaN, Infinity]) {
      const p = withGrad([1, bad, 2]);
      expect(() => clipGradNorm([p], 1, { normType })).toThrow(GradError);
      expect(gradData(p)).toEqual([1, bad, 2]);
    }
  });

  it("refuses limits out of range", () => {
    expect(() => clipGradNorm([], 0)).toThrow(OptionError);
    expect(() => clipGradNorm([], Number.NaN)).toThrow(OptionError);
    expect(() => clipGradNorm([], 1, { normType: 0 })).toThrow(OptionError);
    expect(() => clipGradValue([], -1)).toThrow(OptionError);
  });
});

describe("clipGradValue", () => {
  it("keeps NaN in sight", () => {
    const p = withGrad([Number.NaN, 5, -5]);
    clipGradValue([p], 1);
    expect(gradData(p)).toEqual([Number.NaN, 1, -1]);
  });
});
