import {
  BitgradError,
  bernoulli,
  checkNumerics,
  checkpoint,
  defineMultiOp,
  defineOp,
  dropout,
  GradError,
  grad,
  hvp,
  manualSeed,
  memory,
  noGrad,
  scope,
  type Tensor,
  tensor,
  valueAndGrad,
  vjp,
} from "bitgrad";
import { arb, expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { Parameter } from "../src/nn/parameter.ts";

const leaf = (data: number | number[] | number[][]): Tensor =>
  tensor(data, { dtype: "float64", requiresGrad: true });
const double = (data: number | number[] | number[][]): Tensor => tensor(data, { dtype: "float64" });

afterEach(() => checkNumerics(false));

describe("grad", () => {
  it("gives one argument's gradient in that argument's form", () => {
    expectClose(grad((x: Tensor) => x.square().sum())(double([1, 2])), [2, 4]);
    const tree = { w: double([1, 2]), rest: [double(3), 7] as const, name: "layer" };
    const g = grad((p: typeof tree) => p.w.sum().mul(p.rest[0]))(tree);
    expectClose(g.w, [3, 3]);
    expectClose(g.rest[0], 3);
    expect(g.rest[1]).toBeNull();
    expect(g.name).toBeNull();
  });

  it("gives a list for several arguments, with zeros where there is no path", () => {
    const [a, b, c] = grad((x: Tensor, y: Tensor, _z: Tensor) => x.mul(y).sum())(
      double([1, 2]),
      double([3, 4]),
      double([Number.POSITIVE_INFINITY]),
    );
    expectClose(a, [3, 4]);
    expectClose(b, [1, 2]);
    expectClose(c, [0]);
  });

  it("differentiates a function that returns its argument", () => {
    expectClose(grad((x: Tensor) => x)(double(3)), 1);
  });

  it("nests: the third derivative of x⁴ is 24x", () => {
    const f = (x: Tensor) => x.mul(x).mul(x).mul(x);
    expectClose(grad(grad(grad(f)))(double(2)), 48);
    expectClose(grad((x: Tensor) => grad((y: Tensor) => x.mul(y).mul(y))(x))(double(3)), 12);
  });

  it("leaves .grad and requiresGrad of its arguments alone", () => {
    const x = leaf([1, 2]);
    grad((t: Tensor) => t.square().sum())(x);
    expect(x.grad).toBeNull();
    const y = double([1]);
    grad((t: Tensor) => t.square().sum())(y);
    expect(y.requiresGrad).toBe(false);
  });

  it("leaves the graph behind a captured tensor usable", () => {
    const w = leaf([1, 2]);
    const hidden = w.square();
    grad((x: Tensor) => x.mul(hidden).sum())(double([1, 1]));
    hidden.sum().backward();
    expectClose(w.grad as Tensor, [2, 4]);
  });

  it("records the gradient with createGraph", () => {
    const x = leaf(3);
    const slope = grad((t: Tensor) => t.mul(t).mul(t), { createGraph: true })(x);
    slope.backward();
    expectClose(x.grad as Tensor, 18);
  });

  it("refuses vectors, promises, non-functions and nothing to differentiate", () => {
    expect(() => grad((x: Tensor) => x)(double([1, 2]))).toThrow(
      "grad: the function must return a single number, got (2); reduce it, for example with sum()",
    );
    expect(() => grad((async (x: Tensor) => x) as never)(double(1))).toThrow("must be synchronous");
    expect(() => grad(3 as never)(double(1))).toThrow(GradError);
    expect(() => grad((x: Tensor) => x)(tensor(1, { dtype: "int32" }))).toThrow(
      "no argument holds a float tensor",
    );
    expect(() => grad((x: Tensor) => x, { creategraph: true } as never)).toThrow("unknown option");
  });

  it("is linear in the function", () => {
    fc.assert(
      fc.property(
        arb.tensor({ dtype: "float64", shape: [3], min: -2, max: 2 }),
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: -3, max: 3 }),
        (x, a, b) => {
          const f = (t: Tensor) => t.sin().sum();
          const h = (t: Tensor) => t.square().mul(t).sum();
          const both = grad((t: Tensor) => f(t).mul(a).add(h(t).mul(b)))(x);
          expectClose(both, grad(f)(x).mul(a).add(grad(h)(x).mul(b)), { atol: 1e-12, rtol: 1e-12 });
        },
      ),
    );
  });
});

describe("valueAndGrad", () => {
  it("gives the value, outside the graph unless asked, and the gradient", () => {
    const { value, grad: g } = valueAndGrad((x: Tensor) => x.square().sum())(double([1, 2]));
    expectClose(value, 5);
    expectClose(g, [2, 4]);
    expect(value.requiresGrad).toBe(false);
  });
});

describe("vjp", () => {
  it("pulls back as often as one likes", () => {
    const [value, pullback] = vjp((x: Tensor, y: Tensor) => x.mul(y))(double([1, 2]), double([3, 4]));
    expectClose(value, [3, 8]);
    expectClose(pullback(double([1, 0]))[0], [3, 0]);
    expectClose(pullback(double([0, 1]))[1], [0, 2]);
  });

  it("refuses a vector of another shape", () => {
    const [, pullback] = vjp((x: Tensor) => x.mul(2))(double([1, 2]));
    expect(() => pullback(double([1]))).toThrow(
      "vjp: the vector must have the shape of the value, got (1) for (2)",
    );
  });
});

describe("hvp", () => {
  it("multiplies by the Hessian of a quadratic form", () => {
    const a = double([
      [2, 1, 0],
      [1, 3, -1],
      [0, -1, 4],
    ]);
    const f = (x: Tensor) => x.matmul(a).dot(x).mul(0.5);
    expectClose(hvp(f)(double([1, 2, 3]), double([1, 0, -1])), [2, 2, -4]);
  });

  it("multiplies by the Hessian of Rosenbrock's function", () => {
    const f = (x: Tensor) => {
      const [a, b] = x.split(1);
      return a.neg().add(1).square().add(b.sub(a.square()).square().mul(100)).sum();
    };
    // [[1200x² − 400y + 2, −400x], [−400x, 200]] at (1, 2).
    expectClose(hvp(f)(double([1, 2]), double([1, 1])), [402 - 400, -400 + 200]);
  });

  it("is zero for a linear function, and refuses a vector of another shape", () => {
    expectClose(hvp((x: Tensor) => x.mul(3).sum())(double([1, 2]), double([1, 1])), [0, 0]);
    expect(() => hvp((x: Tensor) => x.square().sum())(double([1, 2]), double(1))).toThrow("hvp");
  });
});

describe("checkpoint", () => {
  const w = leaf([
    [1, -2],
    [0.5, 3],
  ]);
  const f = (x: Tensor) => x.matmul(w).tanh().matmul(w);
  const gradsOf = (g: (x: Tensor) => Tensor, x: Tensor) => {
    w.grad = null;
    const input = x.detach();
    input.requiresGrad = true;
    const y = g(input.mul(2));
    y.square().sum().backward();
    return [y, input.grad as Tensor, w.grad as unknown as Tensor];
  };
  const x = double([
    [1, 2],
    [-1, 0.5],
    [3, 1],
  ]);

  it("gives the same values and gradients, also to what it captures", () => {
    const plain = gradsOf(f, x);
    gradsOf(checkpoint(f), x).forEach((t, i) => {
      expectClose(t, plain[i]);
    });
  });

  it("counts a path outside it once", () => {
    const t = leaf(3);
    const square = t.square();
    checkpoint((a: Tensor) => a.mul(square).mul(t))(square).backward();
    expectClose(t.grad as Tensor, 5 * 3 ** 4);
  });

  it("nests, one in another and one after another", () => {
    const plain = gradsOf((t) => f(f(f(t))), x);
    const twice = checkpoint((t: Tensor) => checkpoint(f)(checkpoint(f)(t)));
    gradsOf((t) => twice(checkpoint(f)(t)), x).forEach((t, i) => {
      expectClose(t, plain[i]);
    });
  });

  it("passes gradients of gradients", () => {
    gradcheck((t) => checkpoint((a: Tensor) => a.sin().mul(a))(t), [x]);
    gradgradcheck((t) => checkpoint((a: Tensor) => a.sin().mul(a))(t), [x]);
    expectClose(grad(grad((t: Tensor) => checkpoint((a: Tensor) => a.mul(a).mul(a))(t)))(double(2)), 12);
  });

  it("repeats random draws and leaves the generator where it was", () => {
    const g = (t: Tensor) => dropout(t, { p: 0.5 });
    manualSeed(3);
    const ones = leaf(new Array(50).fill(1));
    const y = checkpoint(g)(ones);
    const after = bernoulli(0.5, [20]);
    y.sum().backward();
    const later = bernoulli(0.5, [20]);
    expectClose(ones.grad as Tensor, y);
    manualSeed(3);
    g(ones);
    expectClose(after, bernoulli(0.5, [20]));
    expectClose(later, bernoulli(0.5, [20]));
  });

  it("keeps fewer tensors alive in a scope", () => {
    const deep = (t: Tensor) => {
      let y = t;
      for (let i = 0; i < 20; i++) y = y.sin();
      return y;
    };
    const held = (g: (t: Tensor) => Tensor) =>
      scope(() => {
        const before = memory().tensors;
        const y = g(leaf([1, 2]));
        const count = memory().tensors - before;
        y.sum().backward();
        return count;
      });
    expect(held(deep)).toBeGreaterThan(20);
    expect(held(checkpoint(deep))).toBeLessThan(5);
  });

  it("passes a function through that returns its input, or nothing to differentiate", () => {
    const t = leaf([1, 2]);
    checkpoint((a: Tensor) => a)(t)
      .mul(3)
      .sum()
      .backward();
    expectClose(t.grad as Tensor, [3, 3]);
    expect(checkpoint((a: Tensor) => a.mul(2))(double(1)).requiresGrad).toBe(false);
    expectClose(
      noGrad(() => checkpoint((a: Tensor) => a.mul(2))(t)),
      [2, 4],
    );
  });

  it("refuses to run again over a changed parameter", () => {
    const p = new Parameter(double([1, 2]));
    const y = checkpoint((t: Tensor) => t.mul(p.value))(leaf([3, 4])).sum();
    p.update((data) => data.fill(0));
    expect(() => y.backward()).toThrow("was changed in place after the forward pass");
  });

  it("refuses functions that return no tensor", () => {
    expect(() => checkpoint((() => 3) as never)()).toThrow(
      "checkpoint: the function must return a tensor, got 3",
    );
    expect(() => checkpoint(3 as never)).toThrow(GradError);
  });
});

describe("ops that users define", () => {
  const clip = defineOp<[x: Tensor], { min: number; max: number }>("clip", {
    shape: ([x]) => x,
    forward(out, [x], { min, max }) {
      for (let i = 0; i < out.length; i++) out[i] = Math.min(Math.max(x.data[i], min), max);
    },
    vjp: (g, { inputs: [x] }, { min, max }) => [g.mul(x.greaterEqual(min).logicalAnd(x.lessEqual(max)))],
  });
  const straightThrough = defineOp<[soft: Tensor, hard: Tensor]>("straightThrough", {
    shape: ([soft]) => soft,
    forward: (out, [, hard]) => out.set(hard.data),
    vjp: (g) => [g, null],
  });

  it("are differentiable, as often as their gradient is", () => {
    gradcheck((x) => clip(x, { min: -1, max: 1 }), [[-2, -0.5, 0.5, 2]]);
    gradgradcheck((x) => clip(x.square(), { min: 0.5, max: 2 }), [[-2, -1.1, 0.9, 2]]);
    const x = leaf([-2, 0.3]);
    const y = straightThrough(x, x.sign());
    expectClose(y, [-1, 1]);
    y.sum().backward();
    expectClose(x.grad as Tensor, [1, 1]);
  });

  it("may have several results, of which some get no gradient", () => {
    const sinCos = defineMultiOp<[x: Tensor]>("sinCos", {
      shape: ([x]) => [x, x],
      forward([sin, cos], [x]) {
        for (let i = 0; i < sin.length; i++) [sin[i], cos[i]] = [Math.sin(x.data[i]), Math.cos(x.data[i])];
      },
      vjp: ([gs, gc], { outputs: [sin, cos] }) => {
        const parts = [gs?.mul(cos), gc?.mul(sin).neg()].filter((t) => t !== undefined);
        return [parts.reduce((a, b) => a.add(b))];
      },
    });
    gradcheck((x) => sinCos(x), [[1, 2, -3]]);
    gradgradcheck((x) => sinCos(x), [[1, 2, -3]]);
    gradcheck((x) => sinCos(x)[1], [[1, 2, -3]]);
  });

  it("get their broadcast gradients summed back", () => {
    const plus = defineOp<[a: Tensor, b: Tensor]>("plus", {
      shape: () => [2, 3],
      forward: (out, [a, b]) =>
        out.forEach((_, i) => {
          out[i] = a.data[Math.floor(i / 3)] + b.data[i % 3];
        }),
      vjp: (g) => [g, g],
    });
    gradcheck(
      (a, b) => plus(a, b),
      [
        [[1], [2]],
        [3, 4, 5],
      ],
    );
  });

  it("are told of a wrong definition and of wrong gradients", () => {
    expect(() => defineOp("", {} as never)).toThrow("defineOp: needs a name");
    expect(() => defineOp("f", {} as never)).toThrow("defineOp: f needs the functions shape and forward");
    const bad = (vjpOf: (g: Tensor) => (Tensor | null)[]) =>
      defineOp<[x: Tensor]>("bad", { shape: ([x]) => x, forward: (out, [x]) => out.set(x.data), vjp: vjpOf });
    expect(() =>
      bad(() => [])(leaf([1, 2]))
        .sum()
        .backward(),
    ).toThrow("bad: vjp must return one gradient an input, got 0 for 1");
    expect(() =>
      bad((g) => [g.sum()])(leaf([1, 2]))
        .sum()
        .backward(),
    ).toThrow("bad: vjp returned a gradient of the wrong shape, got () for (2)");
    expect(() =>
      bad(() => [double([1, 2, 3])])(leaf([1, 2]))
        .sum()
        .backward(),
    ).toThrow("bad: vjp returned a gradient of the wrong shape, got (3) for (2)");
  });
});

describe("checkNumerics", () => {
  it("names the first op to make a NaN, and lets a NaN that was given pass", () => {
    checkNumerics(true);
    expect(() => tensor([1, -1]).log().exp()).toThrow(
      "log: made a NaN from inputs without any, got inputs of shapes (2)",
    );
    expect(() => tensor([1, -1]).log()).toThrow(BitgradError);
    expect(tensor([Number.NaN]).exp().item()).toBeNaN();
  });

  it("is quiet about a power of a negative number and its gradient", () => {
    checkNumerics(true);
    const x = leaf([-2, 0, 3]);
    x.pow(2).sum().backward();
    expectClose(x.grad as Tensor, [-4, 0, 6]);
  });
});
