/** Broadcasting in einsum: axes of size 1 stand for any number, as in NumPy and PyTorch. */

import { einsum, grad, matmul, Rng, randn, ShapeError, type Tensor } from "bitgrad";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const rng = new Rng(3);
const draw = (...shape: number[]) => randn(shape, { rng, dtype: "float64" });

describe("einsum", () => {
  it("broadcasts the axes behind the dots", () => {
    const [a, b] = [draw(5, 1, 2, 3), draw(4, 3, 4)];
    const y = einsum("...ij,...jk->...ik", a, b);
    expect(y.shape).toEqual([5, 4, 2, 4]);
    expectClose(y, matmul(a, b));
    expectClose(einsum("...ij,...jk", a, b), y);
    const [c, d] = [draw(2, 1), draw(1, 3)];
    expectClose(einsum("...,...->...", c, d), c.mul(d));
    expectClose(einsum("...,...", c, d), c.mul(d));
    expectClose(einsum("...,...->", c, d), c.mul(d).sum());
  });

  it("broadcasts an axis that has a letter", () => {
    const [a, b] = [draw(3, 1), draw(3, 4)];
    expectClose(einsum("ij,ij->ij", a, b), a.mul(b));
    expectClose(einsum("ij,ij->", a, b), a.mul(b).sum());
    expectClose(einsum("ij,jk->ik", a, b.transpose()), a.mul(b.sum({ axis: 1 }).unsqueeze(0)));
    expect(einsum("ij,ij->ij", a, draw(3, 0)).shape).toEqual([3, 0]);
  });

  it("gives the gradients of what it broadcast, summed to their shapes", () => {
    const [a, b] = [draw(5, 1, 2, 3), draw(4, 3, 4)];
    const own = grad((x: Tensor, y: Tensor) => einsum("...ij,...jk->...ik", x, y).square().sum())(a, b);
    const want = grad((x: Tensor, y: Tensor) => matmul(x, y).square().sum())(a, b);
    own.forEach((g, i) => {
      expect(g.shape).toEqual([a, b][i].shape);
      expectClose(g, want[i]);
    });
  });

  it("refuses sizes that do not broadcast, and a diagonal that is no square", () => {
    expect(() => einsum("...ij,...jk->...ik", draw(5, 2, 2, 3), draw(4, 3, 4))).toThrow(ShapeError);
    expect(() => einsum("ij,jk->ik", draw(2, 3), draw(2, 4))).toThrow(
      'einsum: axis "j" has two sizes, got 3 and 2 in "ij,jk->ik"',
    );
    expect(() => einsum("ii->i", draw(1, 3))).toThrow(ShapeError);
    expect(() => einsum("ii->i", draw(3, 1))).toThrow(ShapeError);
  });
});
