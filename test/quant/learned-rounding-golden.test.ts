/** The steps of AdaRound and SignRound, against the numbers of their public code. */

import type { Tensor } from "bitgrad";
import { Parameter } from "bitgrad/nn";
import { dequantize, type QuantSpec, quantize, spec } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { OffsetRounding } from "../../src/quant/methods/offset-rounding.ts";
import { layerError, numbersOf, type Start } from "../../src/quant/methods/reconstruction.ts";
import { codesFor, type Site, scaleIndices } from "../../src/quant/methods/sites.ts";
import { annealed, SoftRounding } from "../../src/quant/methods/soft-rounding.ts";
import { differing, type MethodCase, methodCases, tensorOf } from "../golden/method-cases.ts";

interface Params {
  bits: number;
  beta: number;
  lambda: number;
  lr: number;
  group: number;
  symmetric: boolean;
  iters: number;
  start: number;
  end: number;
  warmup: number;
}
type Case = MethodCase<Params>;
const of = (method: string) =>
  methodCases<Params>("calib-learned").filter(({ name }) => name.startsWith(`calib/${method}/`));

function expectClose(given: Case, name: string, got: ArrayLike<number>): void {
  expect(differing(given, name, Array.from(got))).toEqual([]);
}

/** A weight on its own, its start, and its error on inputs. */
function layerOf(
  { inputs }: Case,
  how: QuantSpec,
  params: { scale: Tensor; zeroPoint: Tensor | null } | null,
) {
  const weight = tensorOf(inputs.W);
  const site = { spec: how, parameter: new Parameter(weight) } as unknown as Site;
  const numbers = Float64Array.from(weight.data);
  const start: Start = {
    weight: numbers,
    codes: quantize(weight, how, params),
    mask: null,
    index: scaleIndices(site),
    made: (codes, read) => codesFor(site, codes, read),
  };
  const x = tensorOf(inputs.X).to("float64");
  const [rows, columns] = weight.shape;
  const hessian = x.matmul(x, { transposeA: true }) as Tensor<"float64">;
  const objective = layerError("golden", { layer: "", rows, columns }, numbers, {
    rows: x.shape[0],
    hessian,
  });
  const error = (values: Float64Array, gradient: Float64Array) => objective.error([values], [gradient], null);
  return { start, error, tokens: x.shape[0] };
}

describe("soft rounding", () => {
  it.each(of("adaround"))("of $name", (given) => {
    const { params, inputs } = given;
    const how = spec({ bits: params.bits, scheme: "affine", granularity: "channel" });
    const scale = tensorOf(inputs.delta).flatten();
    const zeroPoint = tensorOf(inputs.zero_point).flatten();
    const { start, error, tokens } = layerOf(given, how, { scale, zeroPoint });
    const rounding = new SoftRounding(start, { lr: 0.01, beta: [20, 2], warmup: 0, lambda: 0 });
    expectClose(given, "V_init", rounding.v);
    rounding.v.set(inputs.V.data);
    const soft = new Float64Array(start.weight.length);
    rounding.values(soft);
    expectClose(given, "soft_weight", soft);
    expectClose(given, "hard_weight", numbersOf(rounding.codes()));
    // Theirs is a sum over the inputs, ours a mean.
    const gradient = new Float64Array(soft.length);
    expectClose(given, "reconstruction", [tokens * error(soft, gradient)]);
    const sum = gradient.map((g) => g * tokens);
    expectClose(given, "grad_V", rounding.gradient(sum, params.lambda, params.beta));
  });

  it.each(of("adaround_beta"))("anneals its exponent: $name", (given) => {
    const { params, inputs } = given;
    const { start, end, warmup, iters } = params;
    const got = inputs.step.data.map((step) => annealed([start, end], step, warmup * iters, iters));
    expectClose(given, "beta", got);
  });
});

describe("rounding by offsets", () => {
  it.each(of("signround_step"))("of $name", (given) => {
    const { params, inputs } = given;
    const { group } = params;
    const scheme = params.symmetric ? "absmax-signed" : "affine";
    const how = spec({ bits: params.bits, scheme, granularity: { group } });
    const { start, error } = layerOf(given, how, null);
    const rounding = new OffsetRounding(start, params.lr, true);
    const values = new Float64Array(start.weight.length);
    rounding.values(values);
    expectClose(given, "round_to_nearest", values);
    expect(Array.from(values)).toEqual(Array.from(dequantize(start.codes).data));
    rounding.v.set(inputs.V.data);
    rounding.least.set(inputs.min_scale.data);
    rounding.most.set(inputs.max_scale.data);
    rounding.values(values);
    const { codes, scale, zeroPoint } = rounding.codes();
    expectClose(given, "codes", codes.data);
    expectClose(given, "scale", scale.data as Float32Array);
    if (zeroPoint) expectClose(given, "zero", zeroPoint.data as Float32Array);
    // Theirs is a mean over outputs, ours a sum.
    const [rows] = inputs.W.shape;
    const gradient = new Float64Array(values.length);
    expectClose(given, "loss", [error(values, gradient) / rows]);
    const mean = gradient.map((g) => g / rows);
    const slope = rounding.gradient(mean);
    expectClose(given, "grad_V", slope.v);
    expectClose(given, "grad_min_scale", slope.least);
    expectClose(given, "grad_max_scale", slope.most);
    rounding.step(mean, 0, params.iters);
    expectClose(given, "V_next", rounding.v);
    expectClose(given, "min_scale_next", rounding.least);
    expectClose(given, "max_scale_next", rounding.most);
  });
});
