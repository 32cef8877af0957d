import { Rng, randn, tensor } from "bitgrad";
import { fakeQuantize, spec } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: { data: ArrayLike<number> }) => Array.from(t.data);

/** The gradient of the sum of what a spec makes of x, by scales of 1. */
function gradientOf(x: number[], how: ReturnType<typeof spec>): number[] {
  const given = tensor(x, { requiresGrad: true });
  fakeQuantize(given, how, { scale: tensor([1]), zeroPoint: null })
    .sum()
    .backward();
  return list(given.grad!);
}

it("a codebook has 0 where it is given −0, as its file has, and is a copy", () => {
  const levels = [-1, -0, 0.4, 1];
  const made = spec({ bits: 2, scheme: "codebook", codebook: levels });
  expect(made.codebook!.map((level) => Object.is(level, -0))).toEqual([false, false, false, false]);
  levels[2] = 0.5;
  expect(made.codebook).toEqual([-1, 0, 0.4, 1]);
});

describe("the gradient of a codebook", () => {
  const codebook = (levels: number[]) => spec({ bits: 4, scheme: "codebook", codebook: levels });

  it("stops where a number is clamped to the first or the last level", () => {
    expect(gradientOf([-0.5, 0.2, 3], codebook([-1, 0, 1]))).toEqual([1, 1, 0]);
    expect(gradientOf([-3, -1, -0.6, 0.9], codebook([-0.25, 0, 0.5]))).toEqual([0, 0, 0, 0]);
  });

  it("reaches half a step beyond them, as that of uniform codes with the same levels", () => {
    const x = list(randn([400], { rng: new Rng(1) }).mul(1.2)).concat([1.5, -1.5, 1, -1, 0]);
    const uniform = spec({ bits: 2 });
    const away = (v: number) => Math.abs(Math.abs(v) - 1.5) > 0;
    const inside = x.filter(away);
    expect(gradientOf(inside, codebook([-1, 0, 1]))).toEqual(gradientOf(inside, uniform));
    expect(gradientOf([1.5, 1.4999, -1.4999], codebook([-1, 0, 1]))).toEqual([1, 1, 1]);
  });

  it("passes everywhere without the mask", () => {
    const given = tensor([-0.5, 0.2, 3], { requiresGrad: true });
    const params = { scale: tensor([1]), zeroPoint: null };
    fakeQuantize(given, codebook([-1, 0, 1]), params, { mask: false })
      .sum()
      .backward();
    expect(list(given.grad!)).toEqual([1, 1, 1]);
  });

  it("does not reach the largest number of a block from float16 scales that are rounded down", () => {
    const levels = [-1, -0.7, -0.3, 0, 0.2, 0.6, 1];
    const half = spec({ bits: 3, scheme: "codebook", codebook: levels, scaleDtype: "float16" });
    const given = tensor([1.0002, -1.0001, 0.5], { requiresGrad: true });
    fakeQuantize(given, half).sum().backward();
    expect(list(given.grad!)).toEqual([1, 1, 1]);
  });
});
