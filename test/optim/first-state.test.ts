import { manualSeed, Rng, zeros } from "bitgrad";
import { Parameter } from "bitgrad/nn";
import { optimizer, type UpdateRule } from "bitgrad/optim";
import { describe, expect, it } from "vitest";

describe("the first state of a rule", () => {
  /** Noise that is drawn once, and the shape of what it is for. */
  const noisy = (seen: (readonly number[])[] = []): UpdateRule => ({
    name: "noisy",
    options: { lr: 1 },
    init(size, _, context) {
      seen.push(context!.shape);
      return { noise: Float32Array.from({ length: size }, () => context!.rng.next()) };
    },
    update(weight, _, { noise }) {
      weight.forEach((w, i) => {
        weight[i] = w + (noise as Float32Array)[i];
      });
    },
  });
  const stepped = (options: { rng?: Rng | null }): number[] => {
    const parameter = new Parameter(zeros([2, 3]));
    parameter.grad = zeros([2, 3]);
    optimizer([parameter], noisy(), options).step();
    return Array.from(parameter.value.data);
  };

  it("may be drawn from the optimizer's generator, and knows the shape", () => {
    const seen: (readonly number[])[] = [];
    const parameter = new Parameter(zeros([2, 3]));
    parameter.grad = zeros([2, 3]);
    optimizer([parameter], noisy(seen), { rng: new Rng("noise") }).step();
    expect(seen).toEqual([[2, 3]]);
    expect(Array.from(parameter.value.data)).toEqual(stepped({ rng: new Rng("noise") }));
    expect(stepped({ rng: new Rng("other") })).not.toEqual(stepped({ rng: new Rng("noise") }));
    manualSeed(3);
    const first = stepped({});
    expect(stepped({})).not.toEqual(first);
    manualSeed(3);
    expect(stepped({})).toEqual(first);
  });

  it("is read, not drawn, where a state is loaded", () => {
    const parameter = new Parameter(zeros([2, 3]));
    parameter.grad = zeros([2, 3]);
    const trained = optimizer([parameter], noisy(), { rng: new Rng("noise") });
    trained.step();
    const rng = new Rng("noise");
    const before = rng.state;
    const resumed = optimizer([parameter], noisy(), { rng });
    resumed.loadStateDict(trained.stateDict());
    expect(rng.state).toEqual(before);
    expect(resumed.stateDict()).toEqual(trained.stateDict());
  });

  it("leaves the generator where it was when another parameter's fails", () => {
    const rng = new Rng("noise");
    const before = rng.state;
    const parameters = [new Parameter(zeros([2])), new Parameter(zeros([3]))];
    for (const parameter of parameters) parameter.grad = zeros(parameter.shape);
    const rule = noisy();
    const failing: UpdateRule = {
      ...rule,
      init(size, weight, context) {
        if (size === 3) throw new RangeError("no room");
        return rule.init(size, weight, context);
      },
    };
    expect(() => optimizer(parameters, failing, { rng }).step()).toThrow("no room");
    expect(rng.state).toEqual(before);
  });
});
