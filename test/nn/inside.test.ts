import { describe, expect, it } from "vitest";
import { randn, relu, ShapeError, type Tensor, zeros } from "../../src/index.ts";
import { Gpt } from "../../src/models/index.ts";
import { BatchNorm2d, Conv2d, Linear, Parameter, Residual, Sequential } from "../../src/nn/index.ts";
import { optimizer, sgd } from "../../src/optim/index.ts";
import { trainStep } from "../../src/train/index.ts";

const thrown = (run: () => unknown): Error => {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
};

describe("an error inside a layer names its path", () => {
  it("in a model of the library", () => {
    const model = new Gpt({ vocabulary: 8, context: 4, dim: 8, layers: 4, heads: 2 });
    model.blocks[3].attention.query.weight = new Parameter(zeros([8, 6]));
    const error = thrown(() => model.forward([[1, 2]]));
    expect(error).toBeInstanceOf(ShapeError);
    expect(error.message).toMatch(/^blocks\.3\.attention\.query: linear: /);
    expect(error.stack).toContain(`ShapeError: ${error.message}\n`);
  });

  it("in nested sequences and branches", () => {
    const body = new Sequential({ conv: new Conv2d(4, 4, 3), norm: new BatchNorm2d(5) });
    const model = new Sequential(new Conv2d(3, 4, 1), new Residual(body));
    expect(thrown(() => model.forward(zeros([1, 3, 8, 8]))).message).toMatch(/^1\.body\.norm: /);
  });

  it("in a class of one's own, by a training step over it", () => {
    class Own {
      private readonly parts = { first: new Linear(4, 6), last: new Linear(5, 2) };
      forward(x: Tensor): Tensor {
        return this.parts.last.forward(relu(this.parts.first.forward(x)));
      }
    }
    const model = new Own();
    const update = optimizer(model, sgd({ lr: 0.1 }));
    const step = () => trainStep(model, update, (m) => m.forward(zeros([2, 4])).sum());
    expect(thrown(step).message).toMatch(/^parts\.last: linear: /);
    // Alone the layer knows of no path.
    expect(thrown(() => model.forward(zeros([2, 4]))).message).toMatch(/^linear: /);
  });

  it("by the names on the way of a layer that stands in two places", () => {
    const twice = new Linear(4, 4);
    const model = new Sequential({ a: new Sequential(twice), b: new Sequential(new Linear(4, 3), twice) });
    expect(thrown(() => model.forward(zeros([2, 4]))).message).toMatch(/^b\.1: linear: /);
  });

  it("and leaves errors of the loss, and of others, as they are", () => {
    const model = new Linear(4, 4);
    const update = optimizer(model, sgd({ lr: 0.1 }));
    const ours = () => trainStep(model, update, (m) => m.forward(zeros([2, 4])).reshape([3]));
    expect(thrown(ours).message).toMatch(/^reshape: /);
    const own = new TypeError("mine");
    expect(
      thrown(() =>
        trainStep(model, update, () => {
          throw own;
        }),
      ),
    ).toBe(own);
    expect(own.message).toBe("mine");
  });

  it("and puts back what the call had changed", () => {
    const norm = new BatchNorm2d(3);
    const model = new Sequential(norm, new Conv2d(4, 4, 1));
    const before = [...norm.runningMean!.data];
    thrown(() => model.forward(randn([2, 3, 4, 4])));
    expect([...norm.runningMean!.data]).toEqual(before);
  });

  it.each([
    ["frozen", (error: Error) => Object.freeze(error)],
    [
      "whose text is computed",
      (error: Error) => Object.defineProperty(error, "message", { get: () => "given: odd" }),
    ],
  ])("and lets an error through as it is that is %s", (_, made) => {
    const error = made(new ShapeError("given: odd"));
    const layer = {
      forward(): Tensor {
        throw error;
      },
    };
    const model = new Sequential(new Sequential(layer));
    expect(thrown(() => model.forward(zeros([1])))).toBe(error);
    expect(error.message).toBe("given: odd");
  });

  it("and is not hidden by a property that cannot be read", () => {
    const owner = {
      get late(): never {
        throw new Error("not yet");
      },
      body: new Sequential(new Linear(4, 2)),
      forward: (x: Tensor): Tensor => owner.body.forward(x),
    };
    const model = new Sequential(owner);
    expect(thrown(() => model.forward(zeros([1, 3]))).message).toMatch(/linear: x must end in the 4/);
  });

  it("soon, in a model that holds a graph of objects", () => {
    const nodes: { peers: object[] }[] = Array.from({ length: 40 }, () => ({ peers: [] }));
    let reads = 0;
    for (const node of nodes) {
      const peers = nodes.filter((other) => other !== node);
      Object.defineProperty(node, "peers", {
        enumerable: true,
        get() {
          if (++reads > 1000) throw new Error("walked too often");
          return peers;
        },
      });
    }
    const body = new Sequential(new Linear(4, 2));
    const layer = { nodes, body, forward: (x: Tensor): Tensor => body.forward(x) };
    const model = new Sequential(layer);
    expect(thrown(() => model.forward(zeros([1, 3]))).message).toMatch(/^0\.body\.0: linear: /);
  });
});
