import { randn, Rng, tensor, zeros } from "bitgrad";
import { cosineSimilarity, glu, normalize } from "bitgrad/nn";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const x = randn([3, 4], { rng: new Rng(1) });
const y = randn([3, 4], { rng: new Rng(2) });

describe("functions of vectors", () => {
  it.each([
    ["glu", (a) => glu(a)],
    ["normalize", (a) => normalize(a)],
    ["normalize along the first axis", (a) => normalize(a, { axis: 0, p: 3 })],
    ["cosineSimilarity", (a, b) => cosineSimilarity(a, b)],
  ] as [string, Parameters<typeof gradcheck>[0]][])("%s has the right gradient, twice", (_, run) => {
    gradcheck(run, [x, y]);
    gradgradcheck(run, [x, y]);
  });

  it("gates the first half by the second, along any axis", () => {
    expectClose(glu([[1, 2, 0, -1]]), tensor([[0.5, 0.537882843]]));
    expect(glu(zeros([4, 3]), { axis: 0 }).shape).toEqual([2, 3]);
    expect(() => glu(zeros([2, 3]))).toThrow("glu: axis 1 must be of even size, got (2, 3)");
  });

  it("makes every vector one of length 1, but for those of length 0", () => {
    expectClose(normalize(x).square().sum({ axis: 1 }), tensor([1, 1, 1]));
    expect(normalize(zeros([2, 3])).toArray()).toEqual(zeros([2, 3]).toArray());
    expect(normalize(zeros([2, 0])).shape).toEqual([2, 0]);
  });

  it("is the product of vectors of length 1, broadcast", () => {
    expectClose(cosineSimilarity(x, y), normalize(x).mul(normalize(y)).sum({ axis: 1 }));
    expect(cosineSimilarity(zeros([2, 3, 4]), zeros([4]), { axis: -1 }).toArray()).toEqual(
      zeros([2, 3]).toArray(),
    );
    expectClose(
      cosineSimilarity(
        [
          [3, 4],
          [0, 0],
        ],
        [
          [1, 2],
          [1, 1],
        ],
      ),
      tensor([0.98386991, 0]),
    );
  });
});
