import { defineOp, type Tensor, tensor } from "bitgrad";
import { gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

/** x³ with a slope that is off by `error`, and whose own slope is right only if `second`. */
const cube = (error: number, second = true) =>
  defineOp<[x: Tensor]>("cube", {
    shape: ([x]) => x,
    forward(out, [x]) {
      for (let i = 0; i < out.length; i++) out[i] = x.data[i] ** 3;
    },
    vjp: (grad, { inputs: [x] }) => [grad.mul((second ? x : x.detach()).square().mul(3 + error))],
  });

describe("gradcheck", () => {
  it("accepts right gradients, of several inputs and of several results", () => {
    gradcheck(cube(0), [[1, -2, 3]]);
    gradcheck((a, b) => [a.mul(b), a.sum()], [[[1, 2]], [[3], [4]]]);
  });

  it("refuses a slope that is off by a hundred-thousandth, naming the input", () => {
    expect(() =>
      gradcheck(
        (a, b) => a.add(cube(1e-5)(b)),
        [
          [1, 2],
          [3, 4],
        ],
      ),
    ).toThrow(
      /^gradcheck: the gradient for input 1 of shape \(2\) is not the slope, got .* where differences give .*, bound/,
    );
  });

  it("sees an error in one element among large ones that cancel", () => {
    const f = (x: Tensor) =>
      cube(0)(x)
        .mul(tensor([1e6, -1e6, 0]))
        .add(cube(1e-2)(x).mul(tensor([0, 0, 1e6])));
    expect(() => gradcheck(f, [[1, 1, 1]])).toThrow("gradcheck");
  });

  it("passes integers through unchecked and refuses to check nothing", () => {
    gradcheck((x, index) => x.gather(index), [[1, 2, 3], tensor([2, 2], { dtype: "int32" })]);
    expect(() => gradcheck((x) => x, [tensor([1], { dtype: "int32" })])).toThrow(
      "gradcheck: no input is a float tensor, got ((1))",
    );
  });

  it("refuses a missing gradient and a NaN", () => {
    expect(() => gradcheck((x) => x.detach().mul(2), [[1]])).toThrow("is not the slope, got 0");
    expect(() => gradcheck((x) => x.sqrt(), [[-1]])).toThrow("NaN");
  });
});

describe("gradgradcheck", () => {
  it("accepts a right second gradient and refuses a wrong one whose first is right", () => {
    gradgradcheck(cube(0), [[1, -2, 3]]);
    gradcheck(cube(0, false), [[1, -2, 3]]);
    expect(() => gradgradcheck(cube(0, false), [[1, -2, 3]])).toThrow(
      "gradgradcheck: the gradient for input 0",
    );
  });
});
