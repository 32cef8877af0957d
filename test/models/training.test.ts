import { noGrad, Rng, type Tensor, tensor } from "bitgrad";
import { Bert, Gpt, Transformer } from "bitgrad/models";
import { crossEntropy } from "bitgrad/nn";
import { adam, optimizer } from "bitgrad/optim";
import { trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

/** Rows of ids and of targets, where −100 is not asked for. */
type Pairs = readonly [ids: Tensor, targets: Tensor];

const rows = (list: readonly number[][]): Tensor<"int32"> => tensor([...list], { dtype: "int32" });

const digits = (rng: Rng, count: number, low: number, high: number): number[] => {
  const out = new Int32Array(count);
  rng.fillInt(out, low, high);
  return [...out];
};

/** Steps of Adam on fresh batches, with a short warm-up. */
function learn<M extends object>(model: M, steps: number, lr: number, loss: (model: M) => Tensor): void {
  const adamSteps = optimizer(model, adam({ lr }));
  for (let i = 0; i < steps; i++) {
    adamSteps.lr = lr * Math.min(1, (i + 1) / 30);
    trainStep(model, adamSteps, loss);
  }
}

/** The share of asked targets that the logits put first. */
const shareRight = (logits: Tensor, targets: Tensor): number => {
  const asked = targets.notEqual(-100);
  const right = logits.argmax({ axis: -1 }).equal(targets).logicalAnd(asked);
  return right.sum().item() / asked.sum().item();
};

describe("language models learn what they are made for", () => {
  it("Gpt sorts six digits of {0, 1, 2} in at least 90 % of sequences after 120 steps", () => {
    const rng = new Rng("sort");
    const gpt = new Gpt({ vocabulary: 3, context: 11, dim: 32, layers: 2, heads: 2, initStd: 0.15, rng });
    const batch = (n: number): Pairs => {
      const texts = Array.from({ length: n }, () => {
        const given = digits(rng, 6, 0, 3);
        return [...given, ...given.toSorted((a, b) => a - b)];
      });
      return [
        rows(texts.map((text) => text.slice(0, 11))),
        rows(texts.map((text) => text.slice(1).map((id, t) => (t < 5 ? -100 : id)))),
      ];
    };
    learn(gpt, 120, 5e-3, (model) => {
      const [ids, targets] = batch(32);
      return crossEntropy(model.forward(ids), targets);
    });
    let exact = 0;
    for (let i = 0; i < 50; i++) {
      const given = digits(rng, 6, 0, 3);
      const made = gpt.generate(given, { maxTokens: 6, temperature: 0 });
      if (made.join("") === given.toSorted((a, b) => a - b).join("")) exact++;
    }
    expect(exact / 50).toBeGreaterThanOrEqual(0.9);
  });

  it("Transformer reverses eight symbols, and cannot without the positions of the source", () => {
    const accuracy = (sourcePositions: boolean, steps: number): number => {
      const rng = new Rng("reverse");
      const model = new Transformer({
        vocabulary: 12,
        dim: 32,
        layers: 1,
        heads: 2,
        feedForward: 64,
        sourcePositions,
        rng,
      });
      const batch = (n: number) => {
        const source = Array.from({ length: n }, () => digits(rng, 8, 1, 12));
        const wanted = source.map((text) => text.toReversed());
        return [rows(source), rows(wanted.map((text) => [0, ...text.slice(0, 7)])), rows(wanted)] as const;
      };
      learn(model, steps, 5e-3, () => {
        const [source, target, wanted] = batch(32);
        return crossEntropy(model.forward(source, target), wanted);
      });
      const [source, target, wanted] = batch(200);
      return noGrad(() => shareRight(model.forward(source, target), wanted));
    };
    expect(accuracy(true, 200)).toBeGreaterThanOrEqual(0.95);
    expect(accuracy(false, 100)).toBeLessThanOrEqual(0.5);
  });

  it("Bert fills one gap of a palindrome, which a causal model cannot in the first half", () => {
    const rng = new Rng("palindromes");
    const [symbols, mask] = [12, 12];
    const palindrome = () => {
      const half = digits(rng, 5, 0, symbols);
      return [...half, ...half.toReversed()];
    };
    const small = { vocabulary: 13, dim: 32, layers: 2, heads: 2, feedForward: 64, initStd: 0.15, rng };
    const bert = new Bert({ ...small, context: 10, head: "maskedLm" });
    learn(bert, 300, 5e-3, (model) => {
      const texts = Array.from({ length: 32 }, palindrome);
      const gaps = texts.map((text) => text.map(() => rng.next() < 0.15));
      return crossEntropy(
        model.forward(rows(texts.map((text, b) => text.map((id, t) => (gaps[b][t] ? mask : id))))),
        rows(texts.map((text, b) => text.map((id, t) => (gaps[b][t] ? id : -100)))),
      );
    });
    const tests = Array.from({ length: 200 }, palindrome);
    const gapped = rows(tests.map((text, b) => text.map((id, t) => (t === b % 5 ? mask : id))));
    const missing = rows(tests.map((text, b) => text.map((id, t) => (t === b % 5 ? id : -100))));
    const both = noGrad(() => shareRight(bert.forward(gapped), missing));

    const gpt = new Gpt({ ...small, context: 10 });
    const shifted = (texts: number[][]) => rows(texts.map((text) => [mask, ...text.slice(0, 9)]));
    learn(gpt, 120, 5e-3, (model) => {
      const texts = Array.from({ length: 32 }, palindrome);
      return crossEntropy(model.forward(shifted(texts)), rows(texts));
    });
    const half = rows(tests.map((text) => text.map((id, t) => (t < 5 ? id : -100))));
    const causal = noGrad(() => shareRight(gpt.forward(shifted(tests)), half));

    expect(both).toBeGreaterThanOrEqual(0.95);
    expect(both - causal).toBeGreaterThanOrEqual(0.8);
  });
});
