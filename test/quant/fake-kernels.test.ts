/** Fake quantization, whose loops are kernels, against the numeric contract one number at a time. */

import { createHash } from "node:crypto";
import { noGrad, Rng, randn, scope, setThreads, type Tensor, tensor, useBackend } from "bitgrad";
import { Linear } from "bitgrad/nn";
import {
  binarySigns,
  bitnet158,
  bwn,
  chooseParams,
  dequantize,
  fakeQuantize,
  plan,
  prepare,
  type QuantParams,
  type QuantSpec,
  quantize,
  type SpecOptions,
  spec,
} from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { roundEven } from "../../kernels/elementwise/special.ts";
import { ranges } from "../../kernels/fake-quantize/reference.ts";
import { bits } from "../packed/twins.ts";
import { scaleAt } from "./scale-at.ts";

afterEach(() => useBackend("simd"));

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const draw = (shape: number[], seed: string): Tensor => randn(shape, { rng: new Rng(seed) });

/** The value and whether the gradient passes. */
function byContract(
  x: number,
  scale: number,
  zero: number,
  how: QuantSpec,
): [value: number, passes: boolean] {
  const { qmin, qmax, codebook, bits: count, scheme } = how;
  if (count === 1 && scheme === "symmetric") return [x < 0 ? -scale : scale, true];
  const u = Math.fround(x / scale);
  if (codebook) {
    const apart = codebook.map((level) => Math.abs(level - u));
    const code = apart.indexOf(Math.min(...apart));
    const step = (a: number, b: number) => Math.abs(codebook[a] - codebook[b]);
    const last = codebook.length - 1;
    const passes = u > codebook[0] - step(0, 1) / 2 && u <= codebook[last] + step(last, last - 1) / 2;
    return [Math.fround(Math.fround(codebook[code]) * scale), passes];
  }
  const q = roundEven(u) + zero;
  const code = Math.min(qmax, Math.max(qmin, q));
  return [Math.fround((code - zero) * scale), code === q];
}

const schemes: [string, Partial<SpecOptions>][] = [
  ["8 bits", { bits: 8 }],
  ["4 bits of the full range", { bits: 4, range: "full" }],
  ["affine codes", { bits: 8, scheme: "affine" }],
  ["signed affine codes", { bits: 4, scheme: "affine", signed: true }],
  ["negative scales", { bits: 4, scheme: "absmax-signed" }],
  ["a codebook", { bits: 3, scheme: "codebook", codebook: [-1, -0.3, 0, 0.25, 0.5, 0.6, 0.9] }],
  ["signs", { bits: 1 }],
];
const layouts: [string, Partial<SpecOptions>, number[]][] = [
  ["a tensor", {}, [5, 27]],
  ["a row", { granularity: "channel" }, [5, 3, 9]],
  ["a column of matrices", { granularity: "channel", axis: 1 }, [2, 3, 3, 3]],
  ["a channel of the last axis", { granularity: "channel", axis: 1 }, [9, 7]],
  ["a token", { granularity: "token" }, [3, 4, 33]],
  ["a ragged group", { granularity: { group: 7 } }, [6, 23]],
  ["a ragged group of the first axis", { granularity: { group: 2 }, axis: 0 }, [5, 9]],
  ["a ragged group between axes", { granularity: { group: 2 }, axis: 1 }, [3, 5, 4]],
  ["a ragged block", { granularity: { block: [2, 5] } }, [5, 13]],
  ["a block of matrices", { granularity: { block: [3, 2] } }, [2, 4, 6]],
];

describe.each(schemes)("%s", (_, scheme) => {
  it.each(layouts)(
    "by %s: values and gradients are those of the contract, by both backends",
    (_layout, layout, shape) => {
      const how = spec({ ...scheme, ...layout });
      const x = draw(shape, "x").detach();
      const fitting = chooseParams(x, how);
      // Scales that leave numbers out of the range, and numbers on the ends and between codes.
      const params: QuantParams = { ...fitting, scale: fitting.scale.mul(how.bits === 1 ? 1 : 0.5) };
      const [scales, zeros] = [list(params.scale), list(params.zeroPoint ?? params.scale.mul(0))];
      for (let i = 0; i < x.size; i += 5) {
        const k = scaleAt(how, shape, i);
        x.data[i] = scales[k] * ([-0.5, 0.5, how.qmin - 0.5, how.qmax + 0.5, 0, -0][i % 6] - zeros[k]);
      }
      const want = list(x).map((v, i) => {
        const k = scaleAt(how, shape, i);
        return byContract(v, scales[k], zeros[k], how);
      });
      if (how.bits > 1) expect(want.some(([, passes]) => !passes)).toBe(true);
      for (const backend of ["simd", "reference"] as const) {
        useBackend(backend);
        const given = x.detach();
        given.requiresGrad = true;
        scope(() => {
          const y = fakeQuantize(given, how, params);
          expect(list(y)).toEqual(want.map(([value]) => value + 0));
          expect(bits(noGrad(() => fakeQuantize(given, how, params)))).toEqual(bits(y));
          y.mul(3).sum().backward();
          expect(list(given.grad!)).toEqual(want.map(([, passes]) => (passes ? 3 : 0)));
        });
      }
    },
  );
});

it("values and gradients are the same bits on three threads", async () => {
  const x = draw([512, 520], "threads").detach();
  x.requiresGrad = true;
  const shapes: Partial<SpecOptions>[] = [{}, { granularity: "token" }, { granularity: { group: 7 } }];
  const all = schemes.flatMap(([, scheme]) => shapes.map((layout) => spec({ ...scheme, ...layout })));
  const numbers = () =>
    all.map((how) =>
      scope(() => {
        const { scale, zeroPoint } = chooseParams(x, how);
        const y = fakeQuantize(x, how, { scale: scale.mul(0.5), zeroPoint });
        y.mul(x.detach()).sum().backward();
        const hash = createHash("sha256");
        for (const t of [scale, y, fakeQuantize(x, how), x.grad!])
          hash.update(new Uint8Array(Float32Array.from(t.data).buffer));
        x.grad = null;
        return hash.digest("hex");
      }),
    );
  const alone = numbers();
  await setThreads(3);
  try {
    expect(numbers()).toEqual(alone);
  } finally {
    await setThreads(1);
  }
});

it("the scales of means do not depend on where the numbers lie, nor on the backend", () => {
  for (const n of [1, 7, 8, 13, 1000]) {
    const x = draw([3, n], `means ${n}`).mul(10);
    for (const quantizer of [bwn(), bitnet158({ scaleDtype: "float32" })]) {
      useBackend("simd");
      const want = bits(quantizer.params(x).scale);
      expect(bits(scope(() => quantizer.params(x.add(0)).scale))).toEqual(want);
      useBackend("reference");
      expect(bits(quantizer.params(x).scale)).toEqual(want);
    }
  }
});

it("a sum of magnitudes takes every eighth number for itself", () => {
  // Beside 2^53 a 1 is lost, and two of them are not.
  const x = Float64Array.from({ length: 9 }, (_, i) => (i === 0 ? 2 ** 53 : 1));
  const out = new Float64Array(4);
  ranges(out, x, { rows: 1, n: 9, step: 9 }, true);
  // 0 and 8 make 2^53, 1 to 7 make 7: the pairs are added first.
  expect(out[2]).toBe(2 ** 53 + 2 + 4);
  expect(out[2]).not.toBe(x.reduce((sum, v) => sum + v));
});

it("scales that fit the rows as they come are those of chooseParams, and leave no number out", () => {
  for (const options of [{ granularity: "token" }, { granularity: "channel" }] as const) {
    const how = spec({ bits: 4, ...options });
    const x = draw([4, 3, 11], "rows").detach();
    x.data.set([0, -0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 11);
    x.data.set([3e38, -1e38, 1, -1, 0, 0, 0, 0, 0, 0, 0], 22);
    x.data.set([1e-44, -3e-44, 0, 0, 0, 0, 0, 0, 0, 0, 0], 33);
    x.requiresGrad = true;
    const want = fakeQuantize(x, how, chooseParams(x, how));
    const y = fakeQuantize(x, how);
    expect(bits(y)).toEqual(bits(want));
    y.sum().backward();
    expect(list(x.grad!)).toEqual(Array(x.size).fill(1));
  }
});

it('a number on an end code is outside of the boundary "outside", also by scales that fit the rows', () => {
  const how = spec({ granularity: "token" });
  const x = tensor(
    [
      [1, -2, 0.5, 4],
      [3, -1, 2, -3],
    ],
    { requiresGrad: true },
  );
  for (const mask of [true, false]) {
    x.grad = null;
    fakeQuantize(x, how, null, { boundary: "outside", mask }).sum().backward();
    expect(list(x.grad!)).toEqual(mask ? [1, 1, 1, 0, 0, 1, 1, 0] : Array(8).fill(1));
  }
});

it.each(["float32", "float64", "int32"] as const)(
  "a scalar of %s stays one under a learned scale",
  (dtype) => {
    const x = tensor(3, { dtype });
    const scale = tensor([0.5], { requiresGrad: true });
    const y = fakeQuantize(x, spec({ bits: 3 }), { scale, zeroPoint: null });
    expect([y.shape, y.item()]).toEqual([[], 1.5]);
    y.backward();
    expect(list(scale.grad!)).toEqual([3]);
  },
);

it("no value is −0, also where it is too small for float32", () => {
  const params = { scale: tensor([2 ** -126]), zeroPoint: tensor([1e-10]) };
  for (const rounding of ["half-even", "half-up"] as const) {
    const how = spec({ bits: 2, scheme: "affine", zeroPoint: "float", rounding });
    expect(list(fakeQuantize(tensor([0]), how, params))).toEqual([0]);
    expect(list(dequantize(quantize(tensor([0]), how, params)))).toEqual([0]);
  }
});

it.each([Number.NaN, Infinity, -Infinity])("%d is refused by scales that fit the rows, or clamped", (odd) => {
  const x = tensor([
    [1, 2, 3, 4, 5],
    [1, odd, 3, -4, 5],
  ]);
  const message = new RegExp(`quantize: every element must be finite, got ${odd} at index 6`);
  expect(() => fakeQuantize(x, spec({ granularity: "token" }))).toThrow(message);
  expect(() => fakeQuantize(x, spec({ granularity: "channel", scaleDtype: "float16" }))).toThrow(message);
  const clamp = spec({ granularity: "token", onNonFinite: "clamp" });
  if (Number.isNaN(odd)) expect(() => fakeQuantize(x, clamp)).toThrow(message);
  else expect(fakeQuantize(x, clamp).data[6]).toBe(odd > 0 ? 5 : -5);
});

it("has gradients of gradients, which stop where codes are clamped", () => {
  const how = spec({ bits: 4 });
  const params = { scale: tensor([0.1]), zeroPoint: null };
  const x = tensor([0.31, 5, -0.22, -9], { requiresGrad: true });
  const y = fakeQuantize(x, how, params);
  y.mul(x).mul(x).sum().backward({ createGraph: true });
  const slope = x.grad!;
  x.grad = null;
  slope.sum().backward();
  // Of y · x²: its gradient is x² · y′ + 2 · x · y, and y′ is 0 or 1.
  const want = list(y).map((v, i) => 2 * v + [4, 2, 4, 2][i] * x.data[i] * ([1, 0, 1, 0][i] || 0));
  list(x.grad!).forEach((got, i) => void expect(got).toBeCloseTo(want[i], 5));
});

describe("signs of an input", () => {
  const layer = () =>
    prepare(new Linear(9, 2, { bias: false, rng: new Rng("l") }), plan({ default: binarySigns() }));
  const at = [-1, 1, 0, -0, 0.5, -0.5, 1.0000001, -1.0000001, 3];

  it("are −1 below 0, and pass the gradient within −1 … 1", () => {
    for (const backend of ["simd", "reference"] as const) {
      useBackend(backend);
      const x = tensor([at], { requiresGrad: true });
      const model = layer();
      const weight = noGrad(() => model.weight.effective());
      const signs = tensor([at.map((v) => (v < 0 ? -1 : 1))]);
      const y = model.forward(x);
      expect(bits(y)).toEqual(bits(signs.linear(weight)));
      y.sum().backward();
      const whole = list(weight.sum({ axis: 0 }));
      expect(list(x.grad!)).toEqual(at.map((v, i) => (Math.abs(v) <= 1 ? whole[i] : 0)));
    }
  });

  it("are those of float64", () => {
    const wide = tensor(Float64Array.from(at)).reshape([1, 9]);
    expect(list(layer().forward(wide)).map(Math.fround)).toEqual(list(layer().forward(wide.to("float32"))));
  });
});
