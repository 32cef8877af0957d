/** Steps that a store refuses, and states of values that were replaced. */

import { OptionError, Rng, randn, tensor } from "bitgrad";
import { Parameter, signs } from "bitgrad/nn";
import { everything, matching, type Optimizer, optimizer, sgd, type UpdateRule } from "bitgrad/optim";
import { describe, expect, it } from "vitest";

/** Flips what its mean pushes against, and draws its first state. */
const flip: UpdateRule<{ mean: Float32Array; steps: number }> = {
  name: "flip",
  options: { lr: 1 },
  init: (size, _, context) => ({
    mean: new Float32Array(size).map(() => context!.rng.next() / 8),
    steps: 0,
  }),
  update(weight, grad, state) {
    state.steps++;
    for (let i = 0; i < weight.length; i++) {
      state.mean[i] += 0.5 * (grad[i] - state.mean[i]);
      if (state.mean[i] * weight[i] > 0.5) weight[i] = -weight[i];
    }
  },
};

const model = () => ({
  first: new Parameter(tensor([1, 2])),
  bits: new Parameter(tensor([1, -1, 1]), { store: signs }),
  last: new Parameter(tensor([3])),
  coarse: new Parameter(tensor([1, 2]), { store: { bits: 3, signed: true } }),
});
type Model = ReturnType<typeof model>;

const give = (m: Model, of = 1) => {
  for (const p of Object.values(m)) p.grad = tensor(new Float32Array(p.size).fill(of));
};
const seen = (m: Model, o: Optimizer) => [
  Object.values(m).map(({ value, version }) => [Array.from(value.data), version]),
  Object.entries(o.stateDict()).map(([name, held]) => [
    name,
    typeof held === "number" ? held : held.toArray(),
  ]),
];

describe("a step over parameters with stores", () => {
  it("changes no weight, no state and no generator where a store refuses one", () => {
    for (const begun of [false, true]) {
      const m = model();
      const rng = new Rng("flips");
      let lr = 1;
      // Integers that move by whole steps until lr is none.
      const whole = {
        ...sgd({ lr: 1 }),
        update(w: Float32Array) {
          for (let i = 0; i < w.length; i++) w[i] -= lr;
        },
      };
      const o = optimizer(
        m,
        [
          [matching("bits"), flip],
          [matching("coarse"), whole as never],
          [everything, sgd({ lr: 0.1, momentum: 0.9 })],
        ],
        { rng },
      );
      if (begun) {
        give(m);
        o.step();
        expect(Array.from(m.coarse.value.data)).toEqual([0, 1]);
      }
      const [before, state] = [seen(m, o), rng.state];
      lr = 0.5;
      give(m);
      expect(() => o.step()).toThrow(/^step: coarse: the store holds integers from -4 to 3, got/);
      expect(() => o.step()).toThrow(OptionError);
      expect(seen(m, o)).toEqual(before);
      expect(rng.state).toEqual(state);
      lr = 1;
      o.step();
      expect(m.first.value.data[0]).toBeLessThan(1);
      expect(m.bits.version).toBe(begun ? 2 : 1);
    }
  });

  it("steps stored signs as it does floats, weights and states", () => {
    const values = randn([40], { rng: new Rng(1) })
      .greater(0)
      .where(tensor(1), tensor(-1));
    const made = [signs, null].map((store) => {
      const p = new Parameter(values.mul(1), { store });
      return [p, optimizer([p], flip, { rng: new Rng(2) })] as const;
    });
    for (let i = 0; i < 6; i++)
      for (const [p, o] of made) {
        p.grad = randn([40], { rng: new Rng(i) });
        o.step();
      }
    const [[bits, one], [floats, other]] = made;
    expect(bits.value.data).toEqual(floats.value.data);
    expect(bits.value.data).not.toEqual(values.data);
    expect(one.stateDict()).toEqual(other.stateDict());
  });
});

describe("the state of a value that was replaced", () => {
  it("does not come back with its shape", () => {
    const weight = new Parameter(tensor([1]));
    const o = optimizer([weight], sgd({ lr: 0.1, momentum: 0.9 }));
    const step = () => {
      weight.grad = tensor([1]);
      o.step();
    };
    const remembered = () => Object.keys(o.stateDict()).filter((name) => name.startsWith("state."));
    step();
    const saved = o.stateDict();
    weight.replace(tensor([1, 1]));
    expect(remembered()).toEqual([]);
    weight.replace(tensor([1]));
    expect(remembered()).toEqual([]);
    step();
    expect(weight.value.data[0]).toBeCloseTo(0.9, 6);
    // One that is loaded is of the value that is there.
    weight.replace(tensor([1]));
    o.loadStateDict(saved);
    step();
    expect(weight.value.data[0]).toBeCloseTo(0.81, 6);
  });

  it("stays where a transform refuses the other shape", () => {
    const weight = new Parameter(tensor([1]));
    weight.transforms.push({ apply: (w) => w.reshape([1]) });
    const o = optimizer([weight], sgd({ lr: 0.1, momentum: 0.9 }));
    weight.grad = tensor([1]);
    o.step();
    const before = Object.keys(o.stateDict());
    expect(() => weight.replace(tensor([1, 1]))).toThrow();
    expect(Object.keys(o.stateDict())).toEqual(before);
  });
});
