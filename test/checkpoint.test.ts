/** checkpoint: what its function draws, changes and shows is that of one run. */

import { checkpoint, manualSeed, noGrad, ones, Rng, randn, scope, type Tensor, tensor } from "bitgrad";
import {
  BatchNorm1d,
  Dropout,
  KVCache,
  Linear,
  MultiHeadAttention,
  Sequential,
  stateDict,
  taps,
} from "bitgrad/nn";
import { minMax, movingAverage, spec } from "bitgrad/quant";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const leaf = (shape: number[], seed = 1): Tensor => randn(shape, { rng: new Rng(seed), requiresGrad: true });
/** The output and the gradient of f's square sum at x, kept or run twice. */
function both(f: (x: Tensor) => Tensor, twice: boolean, x = leaf([4, 8])): [Tensor, Tensor] {
  const y = (twice ? checkpoint(f) : f)(x);
  y.square().sum().backward();
  return [y, x.grad!];
}

describe("checkpoint draws the same numbers twice", () => {
  it("from the generator of a layer, of a call, of two at once, and of a fork", () => {
    const forms: ((rng: Rng, other: Rng) => (x: Tensor) => Tensor)[] = [
      (rng) => {
        const layer = new Dropout(0.5, { rng });
        return (x) => layer.forward(x).square();
      },
      (rng) => (x) => x.dropout({ rng }).exp(),
      (rng, other) => (x) => x.dropout({ rng }).mul(x.dropout({ rng: other })),
      (rng) => (x) => x.dropout({ rng: rng.fork() }).square(),
      (rng) => (x) => {
        rng.state = new Rng("set inside").state;
        return x.dropout({ rng }).square();
      },
      () => (x) => {
        manualSeed("set inside");
        return x.dropout().square();
      },
      (rng, other) => (x) =>
        checkpoint((y: Tensor) => y.dropout({ rng }).square())(x.dropout({ rng: other })),
    ];
    for (const form of forms) {
      const run = (twice: boolean) => {
        manualSeed(9);
        const [rng, other] = [new Rng(5), new Rng(6)];
        const outcome = both(form(rng, other), twice);
        return { outcome, after: [rng, other].map(({ state }) => state), next: manualSeedNext() };
      };
      const [once, twice] = [run(false), run(true)];
      once.outcome.forEach((t, i) => {
        expect(twice.outcome[i].toArray()).toEqual(t.toArray());
      });
      expect(twice.after).toEqual(once.after);
      expect(twice.next).toEqual(once.next);
    }
  });

  it("whatever was drawn between the two runs, which stays drawn", () => {
    const rng = new Rng(5);
    manualSeed(3);
    const x = leaf([4, 8]);
    const y = checkpoint((z: Tensor) => z.dropout({ rng }).mul(z.dropout()))(x);
    const mask = y.div(x.detach().square()).detach();
    const between = [rng.next(), manualSeed(4).next()];
    const [state, next] = [rng.state, new Rng(4)];
    next.next();
    y.sum().backward();
    expectClose(x.grad!, mask.mul(x.detach()).mul(2), { rtol: 1e-5 });
    expect(rng.state).toEqual(state);
    expect(manualSeedNext()).toBe(randn([1], { rng: next }).item());
    expect(between.every(Number.isFinite)).toBe(true);
  });
});

/** What the default generator draws next. */
const manualSeedNext = (): number => randn([1]).item();

describe("checkpoint changes what its function changes once", () => {
  it("running statistics, whatever happens between the two runs", () => {
    for (const momentum of [0.1, null]) {
      const run = (twice: boolean) => {
        const norm = new BatchNorm1d(8, { momentum });
        const [y, grad] = both((x) => norm.forward(norm.forward(x)), twice);
        return [y, grad, ...Object.values(stateDict(norm))].map((t) => t.toArray());
      };
      expect(run(true)).toEqual(run(false));
    }
    const norm = new BatchNorm1d(8);
    const x = leaf([4, 8]);
    const y = checkpoint((z: Tensor) => norm.forward(z))(x);
    norm.forward(randn([4, 8], { rng: new Rng(7) }));
    const held = norm.runningMean.toArray();
    y.square().sum().backward();
    expect(norm.runningMean.toArray()).toEqual(held);
    expect(norm.numBatchesTracked.item()).toBe(2);
  });

  it("observed ranges", () => {
    for (const make of [minMax, movingAverage]) {
      const observer = make(spec({ bits: 8, scheme: "affine" }));
      observer.observe(tensor([-1, 1]));
      const x = leaf([4, 8]);
      const y = checkpoint((z: Tensor) => {
        observer.observe(z.detach());
        return z.mul(observer.params().scale);
      })(x);
      const { scale } = observer.params();
      observer.observe(tensor([-9, 9]));
      const later = observer.params().scale.item();
      y.sum().backward();
      expectClose(x.grad!, ones([4, 8]).mul(scale));
      expect(observer.params().scale.item()).toBe(later);
    }
  });
});

describe("what a function inside checkpoint would leave behind is refused", () => {
  const model = new Sequential(new Linear(8, 8, { rng: new Rng(1) }), new Linear(8, 2, { rng: new Rng(2) }));
  const attention = new MultiHeadAttention(8, 2, { rng: new Rng(3) });
  const run = (f: (x: Tensor) => Tensor) => checkpoint((x: Tensor) => f(x).sum());

  it("outputs of tapped layers, which it releases", () => {
    using tapped = taps(model, "0");
    expect(() => tapped.collect(() => run((x) => model.forward(x))(leaf([4, 8])))).toThrow(
      /^collect: a tapped layer ran inside checkpoint, which releases its output, got "0"; collect without checkpoint$/,
    );
    // Nothing runs twice where nothing is recorded.
    const { output } = tapped.collect(() => noGrad(() => run((x) => model.forward(x))(leaf([4, 8]))));
    expect(output("0").shape).toEqual([4, 8]);
    // A second run is no call of its own.
    const x = leaf([4, 8]);
    const loss = run((y) => model.forward(y))(x);
    const { calls } = tapped.collect(() => loss.backward());
    expect(calls.get("0")).toEqual([]);
    expect(x.grad!.shape).toEqual([4, 8]);
  });

  it("the insides of attention, and a cache that would be filled twice", () => {
    const x = leaf([1, 3, 8]);
    const scores: Tensor[] = [];
    expect(() => run((y) => attention.forward(y, { capture: { scores } }))(x)).toThrow(
      "capture: checkpoint releases what is computed inside, got a list to fill; run the model without checkpoint",
    );
    expect(scores).toEqual([]);
    const cache = new KVCache();
    expect(() => run((y) => attention.forward(y, { cache }))(x)).toThrow(
      "KVCache: checkpoint runs its function twice, got keys to append; run the model without checkpoint",
    );
    expect(cache.length).toBe(0);
    noGrad(() => run((y) => attention.forward(y, { cache, capture: { scores } }))(x));
    expect([cache.length, scores.length]).toEqual([3, 1]);
  });

  it("also within a scope of its own", () => {
    const y = scope(() => run((x) => scope(() => model.forward(x)))(leaf([4, 8])));
    expect(Number.isFinite(y.item())).toBe(true);
  });
});
