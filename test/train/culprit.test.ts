import { checkpoint, GradError, log, Rng, randn, type Tensor } from "bitgrad";
import { Dropout, Linear, Sequential } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

const x = randn([4, 3], { rng: new Rng(1) });

/** The logarithm of what may be negative, between two layers. */
class Bad {
  readonly inner = new Sequential(
    new Linear(3, 3, { rng: new Rng(2) }),
    new Dropout(0.5, { rng: new Rng(3) }),
    {
      forward: (y: Tensor) => log(y),
    },
  );
  readonly last = new Linear(3, 1, { rng: new Rng(4) });
  forward(y: Tensor): Tensor {
    return this.last.forward(this.inner.forward(y));
  }
}

const told = (
  model: object & { forward(x: Tensor): Tensor },
  loss = (m: typeof model) => m.forward(x).sum(),
) => {
  try {
    trainStep(model, optimizer(model, sgd()), loss);
  } catch (error) {
    expect(error).toBeInstanceOf(GradError);
    return (error as Error).message;
  }
  throw new Error("it is finite");
};

describe("a loss that is not finite", () => {
  it("is told with the innermost layer that it comes from", () => {
    const model = new Bad();
    const { state } = (model.inner[1] as Dropout).rng!;
    expect(told(model)).toBe(
      'trainStep: the loss is not finite, got NaN from the output of layer "inner.2" on; no parameter was changed',
    );
    expect((model.inner[1] as Dropout).rng!.state).toEqual(state);
  });

  it("is told with a parameter that is not finite", () => {
    const model = new Bad();
    model.last.weight.update((data) => data.fill(Number.POSITIVE_INFINITY));
    expect(told(model)).toContain('as is the parameter "last.weight"; no parameter');
  });

  it("is told alone where no layer makes it", () => {
    const model = new Linear(3, 1, { rng: new Rng(1) });
    expect(told(model, (m) => log(m.forward(x).sum().mul(0).sub(1)))).toBe(
      "trainStep: the loss is not finite, got NaN; no parameter was changed",
    );
  });

  it("is told with a layer that runs inside of checkpoint", () => {
    const found = told(new Bad(), (m) => checkpoint((y: Tensor) => m.forward(y))(x).sum());
    expect(found).toContain('from the output of layer "inner.2" on');
  });
});
