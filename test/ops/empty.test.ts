/** Gradients of first and second order where an axis is empty: whatever an op makes of it, it can be differentiated. */

import * as bitgrad from "bitgrad";
import { BitgradError, full, grad, type Tensor, zeros } from "bitgrad";
import { kdLoss, softCrossEntropy } from "bitgrad/distill";
import * as nn from "bitgrad/nn";
import { describe, expect, it } from "vitest";
import { isFloat } from "../../src/dtype.ts";
import { isTensor } from "../../src/tensor.ts";
import { type OpName, table } from "../ops-table.ts";
import { type CompositeName, composites, samples } from "../samples.ts";

type Run = (...inputs: Tensor[]) => unknown;

const losses: Record<string, (x: Tensor, y: Tensor) => Tensor> = {
  mseLoss: nn.mseLoss,
  l1Loss: nn.l1Loss,
  huberLoss: nn.huberLoss,
  smoothL1Loss: nn.smoothL1Loss,
  bceLoss: nn.bceLoss,
  bceWithLogits: nn.bceWithLogits,
  klDiv: nn.klDiv,
  crossEntropy: nn.crossEntropy,
  softCrossEntropy,
  kdLoss,
};

/** The inputs with every axis of one size made empty, for each size that they have. */
function* emptied(inputs: readonly (Tensor | null)[]): Generator<(Tensor | null)[]> {
  const sizes = new Set(inputs.flatMap((t) => (t ? [...t.shape] : [])));
  for (const size of sizes) {
    if (size === 0) continue;
    yield inputs.map((t) => {
      if (t === null) return null;
      const shape = t.shape.map((n) => (n === size ? 0 : n));
      // Small numbers are indices too.
      return isFloat(t.dtype) ? full(shape, 0.5) : zeros(shape, { dtype: t.dtype });
    });
  }
}

const floatsOf = (result: unknown): Tensor[] => {
  const all = isTensor(result) ? [result] : Array.isArray(result) ? result : [];
  return all.filter((t): t is Tensor => isTensor(t) && isFloat(t.dtype));
};

/** Takes the first and the second gradient of all that `run` gives, and checks their shapes. */
function differentiate(run: Run, inputs: readonly (Tensor | null)[]): void {
  const leaves = inputs.filter((t): t is Tensor => t !== null && isFloat(t.dtype));
  try {
    if (leaves.length === 0 || floatsOf(run(...(inputs as Tensor[]))).length === 0) return;
  } catch (error) {
    // Some ops refuse an empty axis, or options that no longer fit.
    expect(error).toBeInstanceOf(BitgradError);
    return;
  }
  const f = (...xs: Tensor[]): Tensor => {
    let next = 0;
    return squares(
      floatsOf(run(...(inputs.map((t) => (t && isFloat(t.dtype) ? xs[next++] : t)) as Tensor[]))),
    );
  };
  const first = (...xs: Tensor[]) => squares(list(grad(f)(...xs)));
  for (const gradients of [list(grad(f)(...leaves)), list(grad(first)(...leaves))])
    gradients.forEach((g, i) => {
      expect(g.shape).toEqual(leaves[i].shape);
    });
}

const list = (g: unknown): Tensor[] => (isTensor(g) ? [g] : (g as Tensor[]));
const squares = (all: readonly Tensor[]): Tensor =>
  all.map((t) => t.square().sum()).reduce((a, b) => a.add(b), zeros([]));

// Rows behind a public function trust the options that it makes.
const open = (Object.keys(table) as OpName[]).filter((name) => name in bitgrad);

describe.each(open)("%s of an empty axis", (name) => {
  it("has gradients of both orders, or is refused", () => {
    const run = table[name] as Run;
    for (const { inputs, options } of samples[name])
      for (const empty of emptied(inputs))
        differentiate((...xs) => run(...xs, ...((options ? [options] : []) as never[])), empty);
  });
});

describe.each(Object.keys(composites) as CompositeName[])("%s of an empty axis", (name) => {
  it("has gradients of both orders, or is refused", () => {
    for (const { inputs, run } of composites[name])
      for (const empty of emptied(inputs)) differentiate(run, empty);
  });
});

describe.each(Object.entries(losses))("%s of an empty axis", (_, run) => {
  it("has gradients of both orders, or is refused", () => {
    for (const shape of [
      [0, 3],
      [2, 0],
      [0, 0],
    ])
      differentiate(run, [full(shape, 0.5), full(shape, 0.25)]);
  });
});
