import { concat, GradError, noGrad, type Tensor, tensor } from "bitgrad";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { Parameter } from "../src/nn/parameter.ts";

const leaf = (data: number | number[]): Tensor => tensor(data, { dtype: "float64", requiresGrad: true });
const gradOf = (t: Tensor): Tensor => {
  if (!t.grad) throw new Error("no gradient");
  return t.grad;
};

describe("backward", () => {
  it("adds to .grad on every call", () => {
    const x = leaf([1, 2]);
    x.square().sum().backward();
    x.mul(3).sum().backward();
    expectClose(gradOf(x), [5, 7]);
  });

  it("sums over every path from a leaf", () => {
    const x = leaf(2);
    const y = x.mul(x);
    y.mul(y).add(x).backward();
    expectClose(gradOf(x), 33);
  });

  it("takes a gradient for a root of several numbers, and needs one", () => {
    const x = leaf([1, 2]);
    x.square().backward(tensor([1, 10], { dtype: "float64" }));
    expectClose(gradOf(x), [2, 40]);
    expect(() => x.square().backward()).toThrow(
      "backward: only a single number has an implicit gradient, got (2); pass one of that shape",
    );
    expect(() => x.square().backward(tensor([1]))).toThrow(
      "must have the shape of the tensor, got (1) for (2)",
    );
  });

  it("gives leaves of one op gradients of their own", () => {
    const [a, b] = [leaf([1]), leaf([2])];
    a.add(b).sum().backward();
    expect(gradOf(a).data).not.toBe(gradOf(b).data);
  });

  it("frees the graph, unless it is retained", () => {
    const x = leaf([1, 2]);
    const kept = x.square().sum();
    kept.backward({ retainGraph: true });
    kept.backward();
    expectClose(gradOf(x), [4, 8]);
    expect(() => kept.backward()).toThrow(
      "backward: the graph was already freed, got the result of sum; pass retainGraph: true to the first backward",
    );
  });

  it("stops at detach and at integers", () => {
    const x = leaf([1, 2]);
    x.mul(x.detach()).sum().backward();
    expectClose(gradOf(x), [1, 2]);
    expect(x.to("int32").requiresGrad).toBe(false);
    expect(x.argmax().requiresGrad).toBe(false);
  });

  it("refuses what nothing leads to, naming what is wrong", () => {
    expect(() => tensor(1).backward()).toThrow("backward: nothing to differentiate");
    expect(() => leaf(1).backward({ keepGraph: true } as never)).toThrow("unknown option");
  });

  it("differentiates with respect to a leaf that is itself the root", () => {
    const x = leaf(3);
    x.backward();
    expectClose(gradOf(x), 1);
  });

  it("records the gradient with createGraph, so that it can be differentiated", () => {
    const x = leaf(3);
    x.mul(x).mul(x).backward({ createGraph: true });
    const slope = gradOf(x);
    x.grad = null;
    slope.backward();
    expectClose(gradOf(x), 18);
  });

  it("sums broadcast gradients back to each operand's shape", () => {
    const [a, b] = [leaf([1, 2, 3]), leaf(2)];
    a.mul(b)
      .add(tensor([[0], [0]], { dtype: "float64" }))
      .sum()
      .backward();
    expectClose(gradOf(a), [4, 4, 4]);
    expectClose(gradOf(b), 12);
  });

  it("gives a gradient in its leaf's dtype", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    x.mul(leaf([3, 4]))
      .sum()
      .backward();
    expect(gradOf(x).dtype).toBe("float32");
  });

  it("walks a graph of ten thousand ops without recursion", () => {
    const x = leaf(1);
    let y: Tensor = x;
    for (let i = 0; i < 10_000; i++) y = y.add(0);
    y.backward();
    expectClose(gradOf(x), 1);
  });

  it("accumulates over many uses of one tensor", () => {
    const x = leaf([1, 2]);
    concat(Array.from({ length: 100 }, () => x))
      .sum()
      .backward();
    expectClose(gradOf(x), [100, 100]);
  });
});

describe("a parameter changed between forward and backward", () => {
  it("is refused where a gradient needs the old value, naming the op", () => {
    const p = new Parameter(tensor([1, 2], { dtype: "float64" }));
    const y = p.value.square().sum();
    p.update((data) => data.fill(5));
    expect(() => y.backward()).toThrow(
      "square: input 0 was changed in place after the forward pass, got version 1 where 0 was recorded; run the forward pass again",
    );
  });

  it("is refused also through a reshape", () => {
    const p = new Parameter(tensor([1, 2], { dtype: "float64" }));
    const y = p.value.reshape([2, 1]).square().sum();
    p.assign([3, 4]);
    expect(() => y.backward()).toThrow("was changed in place");
  });
});

describe("infinite and missing numbers", () => {
  it("stay where they are in the gradients of gather and scatter", () => {
    const x = leaf([1, 2, 3]);
    x.gather(tensor([0], { dtype: "int32" }))
      .mul(Number.POSITIVE_INFINITY)
      .sum()
      .backward();
    expectClose(gradOf(x), [Number.POSITIVE_INFINITY, 0, 0]);
    const y = leaf([1, 2, 3]);
    y.scatter(tensor([0], { dtype: "int32" }), [Number.NaN])
      .mul(2)
      .sum()
      .backward();
    expectClose(gradOf(y), [0, 2, 2]);
  });
});

describe("noGrad", () => {
  it("records nothing inside, records again outside, also after an error", () => {
    const x = leaf(2);
    expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    expect(() =>
      noGrad(() => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(x.mul(2).requiresGrad).toBe(true);
  });

  it("refuses an async callback", () => {
    expect(() => noGrad(async () => 1)).toThrow(
      "noGrad: the callback must be synchronous, got a promise; wrap each synchronous part instead",
    );
    expect(() => noGrad(3 as never)).toThrow(GradError);
  });
});

describe("requiresGrad", () => {
  it("cannot be set on integers, nor taken from a computed tensor", () => {
    expect(() => tensor([1], { dtype: "int32", requiresGrad: true })).toThrow(
      "only float tensors have gradients",
    );
    const y = leaf(1).mul(2);
    expect(() => {
      y.requiresGrad = false;
    }).toThrow("cannot be turned off on a computed tensor, got the result of mul; use detach()");
  });
});
