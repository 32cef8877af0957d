/** Two networks that learn from wrong labels and from each other, by what they select. */

import { setImmediate } from "node:timers/promises";
import { noGrad, Rng, relu, scope, type Tensor } from "bitgrad";
import { type ImageSet, mnist } from "bitgrad/data";
import { confidenceMask, injectLabelNoise, mutualLoss, thresholdSchedule } from "bitgrad/distill";
import { crossEntropy, Linear, Sequential } from "bitgrad/nn";
import { adam, optimizer } from "bitgrad/optim";
import { accuracy, trainStep } from "bitgrad/train";
import type { Cell, Claim, Experiment, Measures, Setting } from "../experiment.ts";

let read: Promise<[ImageSet, ImageSet]> | null = null;
/** Read once by a process. */
const digits = (): Promise<[ImageSet, ImageSet]> => {
  read ??= Promise.all([mnist({ split: "train" }), mnist({ split: "test" })]);
  return read;
};

/** Digits that are easily taken for another. */
const confused = [0, 1, 7, 8, 4, 6, 5, 1, 8, 9];

const kinds = ["symmetric", "asymmetric"] as const;
type Noise = (typeof kinds)[number] | "unequal";
const noises: readonly Noise[] = [...kinds, "unequal"];

const always = () => 10;
const chi = (b: number) => thresholdSchedule({ eta: 0.5, b, classes: 10 });
const selections: Readonly<Record<string, { weight: number; threshold: (progress: number) => number }>> = {
  none: { weight: 0, threshold: always },
  all: { weight: 3, threshold: always },
  static: { weight: 3, threshold: chi(0) },
  opening: { weight: 3, threshold: chi(10) },
  closing: { weight: 3, threshold: chi(-10) },
};

function noisy(y: Tensor, noise: Noise, peer: number, rng: Rng): Tensor {
  if (noise === "unequal") return injectLabelNoise(y, { rate: [0.2, 0.8][peer], classes: 10, rng }).labels;
  const map = noise === "asymmetric" ? confused : null;
  return injectLabelNoise(y, { rate: 0.4, kind: noise, map, classes: 10, rng }).labels;
}

async function measured(noise: Noise, name: string, { seed, quick, signal }: Setting): Promise<Measures> {
  const { weight, threshold } = selections[name];
  const rng = new Rng(`mutual ${seed}`);
  const [count, epochs, batch] = quick ? [100, 1, 50] : [2000, 10, 50];
  const [train, test] = await digits();
  const pixels = (x: Tensor) => x.reshape([x.shape[0], 784]).to("float32").div(255);
  const chosen = rng.permutation(train.y.size).subarray(0, count);
  const [x, y] = [pixels(train.x.indexSelect(chosen)), train.y.indexSelect(chosen)];
  // Wrong labels that are shared, or each peer's own.
  const shared = noisy(y, noise, 0, rng);
  const labels = [shared, noise === "unequal" ? noisy(y, noise, 1, rng) : shared];
  const peers = labels.map(
    () => new Sequential(new Linear(784, 256, { rng }), relu, new Linear(256, 10, { rng })),
  );
  const both = optimizer(peers, adam({ lr: 1e-3 }));
  const steps = (epochs * count) / batch;
  /** What the last peer says, in each half of training. */
  const halves = [0, 1].map(() => ({ seen: 0, taken: 0, right: 0 }));
  let order: Int32Array = new Int32Array();
  for (let step = 0; step < steps; step++) {
    const at = (step * batch) % count;
    if (at === 0) {
      await setImmediate();
      signal.throwIfAborted();
      order = rng.permutation(count);
    }
    const rows = order.slice(at, at + batch);
    const half = halves[step < steps / 2 ? 0 : 1];
    scope(() => {
      const [own, truth] = [x.indexSelect(rows), y.indexSelect(rows)];
      trainStep(peers, both, (nets) => {
        const zs = nets.map((net) => net.forward(own));
        const masks = zs.map((z) => confidenceMask(z, { threshold: threshold(step / steps) }));
        const right = zs[1].argmax({ axis: -1 }).equal(truth);
        half.seen += batch;
        half.taken += masks[1].sum().item();
        half.right += masks[1].logicalAnd(right).sum().item();
        const hard = zs.map((z, i) => crossEntropy(z, labels[i].indexSelect(rows)));
        return hard[0].add(hard[1]).add(mutualLoss(zs, { masks, weight }).total);
      });
    });
  }
  const images = pixels(quick ? test.x.slice([[0, 100]]) : test.x);
  const truths = quick ? test.y.slice([[0, 100]]) : test.y;
  const [first, second] = noGrad(() =>
    scope(() => peers.map((net) => accuracy(net.forward(images), truths))),
  );
  if (weight === 0) return { first, second };
  const [early, late] = halves;
  const taken = early.taken + late.taken;
  return {
    first,
    second,
    coverage: early.taken / early.seen,
    later: late.taken / late.seen,
    // Of nothing there is none.
    ...(taken > 0 ? { precision: (early.right + late.right) / taken } : {}),
  };
}

const share = (title: string) => ({ title, digits: 2, percent: true });
const cellName = (noise: Noise, name: string): string => `${noise} ${name}`;

const cellOf = (noise: Noise, selection: string): Cell => ({
  name: cellName(noise, selection),
  labels: { noise, selection },
  run: (setting) => measured(noise, selection, setting),
});

export default {
  about: "Lets two networks learn from wrong labels and from each other, by what they are sure of.",
  text: `Two multilayer perceptrons 784-256-10 learn 2,000 MNIST digits for ten epochs by Adam. Noise is symmetric or asymmetric,
of a rate of 40 %, the same labels for both; or unequal: 20 % of the first peer's labels and 80 % of the second's are wrong.
Besides labels each learns, with a weight of 3, what the other says: nothing; all of it, as deep mutual learning does; or that
of which the other's entropy lies below a threshold, that stays at half of log 10, opens to all or closes as training goes on.

The selection is that of CMD and SMKD; formula, weight and steepness of the threshold (10) are our reconstruction, whose authors'
numbers we have not read. Coverage is the share of the second peer's predictions that it teaches in the first and the second
half of training, precision how many of these are right.`,
  version: 1,
  seeds: 3,
  needsData: true,
  columns: {
    first: share("accuracy of the first"),
    second: share("of the second"),
    coverage: share("coverage at first"),
    later: share("later"),
    precision: share("precision"),
  },
  picture: { x: "selection", y: "second", series: "noise" },
  cells: ({ quick }) =>
    (quick ? noises.slice(2) : noises).flatMap((noise) =>
      Object.keys(selections).map((name) => cellOf(noise, name)),
    ),
  claims: [
    {
      says: "the unreliable peer learns more where the threshold opens than from all that the other says",
      difference: (at) => at("unequal opening").second - at("unequal all").second,
      above: 0.005,
      as: { ...share("gain") },
    },
    {
      says: "beside it the reliable peer loses less than a point against learning alone",
      difference: (at) => at("unequal none").first - at("unequal opening").first,
      below: 0.01,
      as: { ...share("loss") },
    },
    ...kinds.map(
      (noise): Claim => ({
        says: `by shared ${noise} noise, peers that teach all they say gain over networks alone`,
        difference: (at) => at(`${noise} all`).second - at(`${noise} none`).second,
        above: 0,
        as: { ...share("gain") },
      }),
    ),
    {
      says: "an opening threshold teaches more of what is right than a closing one, by unequal noise",
      difference: (at) => at("unequal opening").precision - at("unequal closing").precision,
      above: 0.3,
      as: { ...share("gain") },
    },
  ],
} satisfies Experiment;
