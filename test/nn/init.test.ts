import { OptionError, Rng, ShapeError } from "bitgrad";
import { blank, init, Parameter } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const parameter = (...shape: number[]) => new Parameter(blank(shape));
const rng = () => new Rng(7);
const spread = ({ value }: Parameter) => ({
  mean: value.mean().item(),
  std: value.std().item(),
  most: value.abs().max().item(),
});

describe("initialisers", () => {
  it("fill with constants and return the parameter", () => {
    const p = parameter(2);
    expect(init.constant(p, 3)).toBe(p);
    expect(p.value.toArray()).toEqual([3, 3]);
    expect(init.ones(p).value.toArray()).toEqual([1, 1]);
    expect(init.zeros(p).value.toArray()).toEqual([0, 0]);
    expect(p.version).toBe(3);
  });

  it("draw uniformly between their bounds", () => {
    const { mean, most } = spread(init.uniform(parameter(10000), { low: -2, high: 2, rng: rng() }));
    expect(mean).toBeCloseTo(0, 1);
    expect(most).toBeGreaterThan(1.99);
    expect(most).toBeLessThanOrEqual(2);
  });

  it("draw normals of the asked mean and deviation", () => {
    const { mean, std } = spread(init.normal(parameter(10000), { mean: 1, std: 0.2, rng: rng() }));
    expect(mean).toBeCloseTo(1, 1.5);
    expect(std).toBeCloseTo(0.2, 2);
  });

  it("cut normals to absolute bounds, with the deviation of the cut distribution", () => {
    const p = init.truncNormal(parameter(20000), { std: 2, low: -2, high: 2, rng: rng() });
    const { std, most } = spread(p);
    expect(most).toBeLessThanOrEqual(2);
    // √(1 − 2φ(1)/(2Φ(1) − 1)) of a standard normal cut at one deviation.
    expect(std).toBeCloseTo(2 * 0.5396, 1.5);
  });

  it.each([
    ["kaimingUniform", { mode: "fanIn" }, Math.sqrt(2 / (50 * 4))],
    ["kaimingNormal", { mode: "fanOut" }, Math.sqrt(2 / (100 * 4))],
    ["kaimingNormal", { nonlinearity: "tanh" }, 5 / 3 / Math.sqrt(50 * 4)],
    ["xavierUniform", { gain: 2 }, 2 * Math.sqrt(2 / (150 * 4))],
    ["xavierNormal", {}, Math.sqrt(2 / (150 * 4))],
  ] as const)("%s with %j has the deviation of its paper", (name, options, std) => {
    const p = parameter(100, 50, 2, 2);
    const initialise = init[name] as (p: Parameter, options: object) => Parameter;
    expect(spread(initialise(p, { ...options, rng: rng() })).std / std).toBeCloseTo(1, 1.5);
  });

  it.each([
    [3, 7],
    [7, 3],
    [5, 5],
    [4, 2, 3],
  ])("makes (%i, %i, …) orthogonal", (...shape) => {
    const { value } = init.orthogonal(parameter(...shape), { gain: 2, rng: rng() });
    const matrix = value.reshape([shape[0], value.size / shape[0]]);
    const [rows, columns] = matrix.shape;
    const gram =
      rows <= columns
        ? matrix.matmul(matrix, { transposeB: true })
        : matrix.matmul(matrix, { transposeA: true });
    const n = Math.min(rows, columns);
    const wanted = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_, j) => (i === j ? 4 : 0)),
    );
    expectClose(gram, wanted, { atol: 1e-5 });
  });

  it("know PyTorch's gains", () => {
    expect(init.gain("relu")).toBe(Math.SQRT2);
    expect(init.gain("leakyRelu", 1)).toBe(1);
    expect(init.gain("selu")).toBe(0.75);
    expect(() => init.gain("swish" as "relu")).toThrow(OptionError);
  });

  it("refuse what has no fan, no probability or no value", () => {
    expect(() => init.kaimingUniform(parameter(3))).toThrow(ShapeError);
    expect(() => init.truncNormal(parameter(3), { low: 1, high: 1 })).toThrow(OptionError);
    expect(() => init.truncNormal(parameter(3), { low: 50, high: 60 })).toThrow("some probability");
    expect(() => init.constant(parameter(3), Number.NaN)).toThrow("got NaN");
    expect(() => init.kaimingNormal(parameter(3, 3), { mode: "fan_in" as "fanIn" })).toThrow('"fan_in"');
  });
});
