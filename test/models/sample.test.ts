import { Rng } from "bitgrad";
import { type SampleOptions, sampleToken } from "bitgrad/models";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const sample = (logits: number[], options: Partial<SampleOptions> = {}) =>
  sampleToken(logits, { temperature: 1, topK: null, topP: null, rng: new Rng(0), ...options });

/** The share of each id in many draws. */
function shares(logits: number[], options: Partial<SampleOptions>, draws = 4000): number[] {
  const rng = new Rng("shares");
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sample(logits, { ...options, rng })]++;
  return counts.map((n) => n / draws);
}

const probabilities = [0.5, 0.1, 0.3, 0.1];
const logits = probabilities.map(Math.log);
const expectShares = (got: number[], want: number[]) =>
  got.forEach((share, id) => {
    expect(share, `id ${id}`).toBeCloseTo(want[id], 1);
    if (want[id] === 0) expect(share).toBe(0);
  });

describe("sampleToken", () => {
  it("draws by softmax of the logits over the temperature", () => {
    expectShares(shares(logits, {}), probabilities);
    const squared = probabilities.map((p) => p ** 2 / 0.36);
    expectShares(shares(logits, { temperature: 0.5 }), squared);
  });

  it("with topK draws from the k likeliest, with topP from the fewest that reach p", () => {
    expectShares(shares(logits, { topK: 2 }), [0.625, 0, 0.375, 0]);
    expectShares(shares(logits, { topP: 0.51 }), [0.625, 0, 0.375, 0]);
    expectShares(shares(logits, { topP: 0.49 }), [1, 0, 0, 0]);
    expectShares(shares(logits, { topK: 2, topP: 0.6 }), [1, 0, 0, 0]);
    expectShares(shares(logits, { topK: 9, topP: 1 }), probabilities);
  });

  it("at temperature 0 takes the likeliest, the lowest id among equals", () => {
    expect(sample([1, 3, 3, 2], { temperature: 0 })).toBe(1);
  });

  it("never draws what is impossible, whatever the logits", () => {
    const logit = fc.oneof(fc.double({ min: -1e4, max: 1e4, noNaN: true }), fc.constant(-Infinity));
    fc.assert(
      fc.property(
        fc.array(logit, { minLength: 1, maxLength: 20 }),
        fc.integer(),
        fc.integer({ min: 1, max: 25 }),
        (values, seed, topK) => {
          fc.pre(values.some(Number.isFinite));
          const id = sample(values, { rng: new Rng(seed), topK });
          expect(values[id]).toBeGreaterThan(-Infinity);
          expect(values.filter((value) => value > values[id]).length).toBeLessThan(topK);
        },
      ),
    );
  });

  it("refuses logits from which nothing can be drawn", () => {
    const refuse = (values: number[], text: string) => expect(() => sample(values)).toThrow(text);
    refuse([1, Number.NaN], "logits must be finite or −Infinity, got NaN for id 1");
    refuse([Infinity, 1], "got Infinity for id 0");
    refuse([-Infinity, -Infinity], "no token is possible, got 2 logits");
    refuse([], "no token is possible, got 0 logits");
  });
});
