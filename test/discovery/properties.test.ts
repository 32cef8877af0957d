import { OptionError, Rng, randn, ShapeError, softmax, type Tensor, tensor } from "bitgrad";
import {
  ari,
  clusterAccuracy,
  hungarian,
  kMeans,
  mixTargets,
  mmd2,
  nmi,
  pairBce,
  sinkhorn,
  swappedPrediction,
  transferFlow,
} from "bitgrad/discovery";
import { gradcheck } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const sized = (n: number, m: number) =>
  fc.array(fc.array(fc.integer({ min: -20, max: 20 }), { minLength: m, maxLength: m }), {
    minLength: n,
    maxLength: n,
  });
const costs = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6 }))
  .chain(([n, m]) => sized(n, m));

/** The least sum by trying all: of a matrix with no more rows than columns. */
function least(cost: number[][], row = 0, taken = 0): number {
  if (row === cost.length) return 0;
  return Math.min(
    ...cost[row].map((c, j) => (taken & (1 << j) ? Infinity : c + least(cost, row + 1, taken | (1 << j)))),
  );
}

const turned = (cost: number[][]) => cost[0].map((_, j) => cost.map((row) => row[j]));

describe("hungarian", () => {
  it("finds what trying all assignments finds", () => {
    fc.assert(
      fc.property(costs, (cost) => {
        const { rows, columns, total } = hungarian(cost);
        expect(total).toBe(least(cost.length <= cost[0].length ? cost : turned(cost)));
        expect(new Set(rows).size).toBe(Math.min(cost.length, cost[0].length));
        expect(new Set(columns).size).toBe(rows.length);
        expect(rows.reduce((sum, row, i) => sum + cost[row][columns[i]], 0)).toBe(total);
      }),
    );
  });
});

const groupings = fc
  .integer({ min: 1, max: 12 })
  .chain((n) => fc.tuple(...[0, 1].map(() => fc.array(fc.nat(4), { minLength: n, maxLength: n }))));

describe.each(Object.entries({ clusterAccuracy, nmi, ari }))("%s", (_, measure) => {
  it("does not see what clusters and classes are called, and is 1 for equal ones", () => {
    fc.assert(
      fc.property(groupings, ([a, b]) => {
        const names = [7, -3, 0, 99, 4];
        expect(
          measure(
            a.map((i) => names[i]),
            b.map((i) => names[4 - i]),
          ),
        ).toBeCloseTo(measure(a, b), 12);
        expect(
          measure(
            a,
            a.map((i) => names[i]),
          ),
        ).toBeCloseTo(1, 12);
        expect(measure(a, b)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

const rotation = (angle: number) =>
  tensor(
    [
      [Math.cos(angle), -Math.sin(angle)],
      [Math.sin(angle), Math.cos(angle)],
    ],
    { dtype: "float64" },
  );

describe("mmd2 and transferFlow", () => {
  it("are not negative, and 0 for equal sets", () => {
    fc.assert(
      fc.property(sized(4, 2), sized(3, 2), (x, y) => {
        expect(mmd2(x, y)).toBeGreaterThanOrEqual(0);
        expect(mmd2(x, x)).toBeCloseTo(0, 12);
        expect(mmd2(x, y)).toBeCloseTo(mmd2(y, x), 12);
      }),
    );
  });

  it("do not see a scale or a rotation", () => {
    const x = randn([30, 2], { rng: new Rng(2), dtype: "float64" });
    const labels = Array.from({ length: 30 }, (_, i) => i % 3);
    const plain = transferFlow(x, labels);
    expect(transferFlow(x.mul(300), labels)).toBeCloseTo(plain, 10);
    expect(transferFlow(x.matmul(rotation(0.7)), labels)).toBeCloseTo(plain, 10);
  });

  it("falls like 1/n where classes do not differ", () => {
    const flows = [100, 400].map((n) => {
      const x = randn([n, 3], { rng: new Rng(3) });
      return transferFlow(
        x,
        Array.from({ length: n }, (_, i) => i % 2),
      );
    });
    expect(flows[0] / flows[1]).toBeGreaterThan(2);
    expect(flows[0] / flows[1]).toBeLessThan(8);
  });
});

describe("sinkhorn", () => {
  it("gives rows that sum to 1, and classes alike after many iterations", () => {
    const soft = sinkhorn(randn([64, 8], { rng: new Rng(1) }), { iterations: 500 });
    for (const sum of soft.sum({ axis: 1 }).data) expect(sum).toBeCloseTo(1, 5);
    for (const share of soft.mean({ axis: 0 }).data) expect(share).toBeCloseTo(1 / 8, 3);
  });

  it("stays finite where exp would not", () => {
    const soft = sinkhorn([
      [1e6, 0],
      [0, 1e6],
      [-1e6, 5],
    ]);
    expect([...soft.data].every(Number.isFinite)).toBe(true);
  });
});

describe("targets and losses", () => {
  it("mixes to the labels, and to the soft ones, bit for bit", () => {
    const [hard, soft] = [softmax(randn([3, 4])), softmax(randn([3, 4]))];
    expect(mixTargets(hard, soft, { alpha: 1 }).toArray()).toEqual(hard.toArray());
    expect(mixTargets(hard, soft, { alpha: 0 }).toArray()).toEqual(soft.toArray());
  });

  it("have the right gradients", () => {
    const rng = new Rng(4);
    const [p, q] = [0, 1].map(() => softmax(randn([3, 4], { rng, dtype: "float64" })).detach());
    const targets = tensor([1, -1, 0, -1, 1, 1, 0, 0, -1], { dtype: "int32", shape: [3, 3] });
    gradcheck((a: Tensor, b: Tensor) => pairBce(a, b, targets), [p, q]);
    const logits = randn([3, 2, 3, 4], { rng, dtype: "float64" });
    const taught = softmax(randn([2, 2, 3, 4], { rng, dtype: "float64" }));
    gradcheck((z: Tensor) => swappedPrediction(z, taught).loss, [logits]);
  });

  it("leave pairs of target 0 out, and are 0 without any other", () => {
    const p = tensor(
      [
        [1, 0],
        [0, 1],
      ],
      { requiresGrad: true },
    );
    const loss = pairBce(p, p.detach(), [
      [0, 0],
      [0, 0],
    ]);
    loss.backward();
    expect([loss.item(), p.grad!.toArray()]).toEqual([
      0,
      [
        [0, 0],
        [0, 0],
      ],
    ]);
  });

  it("teach without a gradient to the targets", () => {
    const taught = tensor(softmax(randn([1, 1, 2, 3])), { requiresGrad: true });
    const logits = tensor(randn([2, 1, 2, 3]), { requiresGrad: true });
    swappedPrediction(logits, taught).loss.backward();
    expect(taught.grad).toBe(null);
    expect(logits.grad).not.toBe(null);
  });
});

describe("kMeans", () => {
  it("leaves no cluster empty", () => {
    const x = [[0], [0], [0], [10], [20]];
    const { labels, inertia } = kMeans(x, { k: 3, init: [[0], [100], [200]] });
    expect(new Set(labels.data).size).toBe(3);
    expect(inertia).toBe(0);
  });

  it("gives the same clusters for the same seed, and no worse ones for more restarts", () => {
    const x = randn([200, 3], { rng: new Rng(5) });
    const found = (restarts: number) => kMeans(x, { k: 7, restarts, rng: new Rng(6) });
    expect(found(1).labels.toArray()).toEqual(found(1).labels.toArray());
    expect(found(8).inertia).toBeLessThanOrEqual(found(1).inertia);
  });

  it("puts each row to the nearest mean", () => {
    const x = randn([50, 2], { rng: new Rng(7), dtype: "float64" });
    const { labels, centres, inertia } = kMeans(x, { k: 4, rng: new Rng(8) });
    const gaps = x.unsqueeze(1).sub(centres.unsqueeze(0)).square().sum({ axis: 2 });
    expect(gaps.argmin({ axis: 1 }).toArray()).toEqual(labels.toArray());
    expect(gaps.min({ axis: 1 }).sum().item()).toBeCloseTo(inertia, 10);
  });
});

describe("bad input", () => {
  it.each<[string, () => unknown, typeof OptionError | typeof ShapeError]>([
    ["NaN", () => kMeans([[Number.NaN], [1]], { k: 1 }), OptionError],
    ["infinity", () => hungarian([[Infinity]]), OptionError],
    ["no rows", () => mmd2([], [[1]]), ShapeError],
    ["one class", () => transferFlow([[1], [2]], [0, 0]), OptionError],
    ["ragged rows", () => sinkhorn([[1], [1, 2]]), ShapeError],
    ["rows that do not differ", () => kMeans([[1], [1], [1]], { k: 2 }), OptionError],
    ["more clusters than rows", () => kMeans([[1], [2]], { k: 3 }), OptionError],
    ["labels of another length", () => nmi([0, 1], [0, 1, 1]), ShapeError],
  ])("meets a typed error: %s", (_, run, kind) => {
    expect(run).toThrow(kind);
  });
});
