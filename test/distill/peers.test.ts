/** What mutual learning and its selection do in training, on procedural digits. */

import { noGrad, Rng, relu, type Tensor } from "bitgrad";
import { glyphs } from "bitgrad/data";
import { confidenceMask, entropy, injectLabelNoise, mutualLoss, thresholdSchedule } from "bitgrad/distill";
import { crossEntropy, klDiv, Linear, Sequential } from "bitgrad/nn";
import { adam, optimizer } from "bitgrad/optim";
import { accuracy, trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

const mlp = (hidden: number, rng: Rng) =>
  new Sequential(new Linear(144, hidden, { rng }), relu, new Linear(hidden, 10, { rng }));

interface Run {
  seed: number;
  count: number;
  hidden: number;
  lr: number;
  epochs: number;
  /** Label noise of each peer. */
  rates: readonly number[];
  weight: number;
  threshold: (progress: number) => number;
}

function trained({ seed, count, hidden, lr, epochs, rates, weight, threshold }: Run) {
  const rng = new Rng(`peers ${seed}`);
  const { x, y } = glyphs({ count, rng });
  const test = glyphs({ count: 2000, rng });
  const labels = rates.map((rate) => injectLabelNoise(y, { rate, classes: 10, rng }).labels);
  const peers = rates.map(() => mlp(hidden, rng));
  const both = optimizer(peers, adam({ lr }));
  /** Right and all of what the last peer teaches, and of what it does not. */
  const taught = { right: 0, all: 0, rightRest: 0, rest: 0 };
  const batch = 50;
  const steps = (epochs * count) / batch;
  let order: Int32Array = new Int32Array();
  for (let step = 0; step < steps; step++) {
    const at = (step * batch) % count;
    if (at === 0) order = rng.permutation(count);
    const rows = order.slice(at, at + batch);
    const own = x.indexSelect(rows);
    trainStep(peers, both, (nets) => {
      const zs = nets.map((net) => net.forward(own));
      const masks = zs.map((z) => confidenceMask(z, { threshold: threshold(step / steps) }));
      const right = zs.at(-1)!.argmax({ axis: -1 }).equal(y.indexSelect(rows));
      for (const [i, taken] of [...masks.at(-1)!.data].entries()) {
        taught[taken ? "all" : "rest"]++;
        taught[taken ? "right" : "rightRest"] += right.data[i];
      }
      const hard = zs.map((z, i) => crossEntropy(z, labels[i].indexSelect(rows)));
      return hard.reduce((a, b) => a.add(b)).add(mutualLoss(zs, { masks, weight }).total);
    });
  }
  const zs: Tensor[] = noGrad(() => peers.map((net) => net.forward(test.x)));
  return {
    accuracies: zs.map((z) => accuracy(z, test.y)),
    divergence: klDiv(zs[0], zs[1].softmax(), { from: "logits", reduction: "batchmean" }).item(),
    entropy: entropy(zs[0]).mean().item(),
    gap: taught.right / taught.all - taught.rightRest / taught.rest,
  };
}

const mean = (xs: readonly number[]) => xs.reduce((a, b) => a + b) / xs.length;

it("brings two peers nearer to each other, less sure, and no further from the truth", () => {
  const run = (weight: number) =>
    [1, 2, 3, 4, 5].map((seed) => {
      const how = { seed, count: 600, hidden: 64, lr: 2e-3, epochs: 30, rates: [0, 0], weight };
      return trained({ ...how, threshold: () => 10 });
    });
  const [alone, together] = [run(0), run(1)];
  const gain = (of: (r: (typeof alone)[0]) => number) => mean(together.map(of)) - mean(alone.map(of));
  expect(mean(together.map((r) => r.divergence))).toBeLessThan(0.8 * mean(alone.map((r) => r.divergence)));
  expect(gain((r) => r.entropy)).toBeGreaterThan(0);
  expect(gain((r) => mean(r.accuracies))).toBeGreaterThan(0);
}, 60_000);

describe.each([1, 2])("a peer of 80 % wrong labels beside one of 20 %, seed %i", (seed) => {
  const run = (weight: number, threshold: (progress: number) => number) =>
    trained({ seed, count: 2000, hidden: 128, lr: 1e-3, epochs: 20, rates: [0.2, 0.8], weight, threshold });

  it("learns more where the threshold opens than from all that the other says", () => {
    const opening = run(3, thresholdSchedule({ eta: 0.5, b: 10, classes: 10 }));
    const all = run(3, () => 10);
    const alone = run(0, () => 10);
    expect(opening.accuracies[1]).toBeGreaterThan(all.accuracies[1] + 0.01);
    expect(opening.accuracies[0]).toBeGreaterThan(alone.accuracies[0] - 0.01);
    expect(opening.gap).toBeGreaterThan(0.3);
  }, 60_000);
});
