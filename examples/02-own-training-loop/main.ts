/**
 * A training loop of one's own, without `fit`: a small convolutional network learns MNIST's digits, with a schedule, with
 * clipped gradients, and with a checkpoint from which another run goes on bit for bit.
 *
 * You learn: what a step consists of, in which order schedule and optimizer move, and what a checkpoint must hold.
 * Time: 12 seconds. Data: MNIST, read from the folder BITGRAD_DATA or downloaded (10 MB).
 *
 *   npx tsx examples/02-own-training-loop/main.ts
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualSeed, maxPool2d, noGrad, Rng, scope, type Tensor } from "bitgrad";
import { loader, mnist } from "bitgrad/data";
import { Conv2d, crossEntropy, evaluate, Linear, parameters, train } from "bitgrad/nn";
import { adamw, clipGradNorm, cosine, optimizer, schedule } from "bitgrad/optim";
import { accuracy, loadCheckpoint, saveCheckpoint } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const [examples, epochs, batch] = quick ? [1500, 2, 25] : [6000, 3, 50];
const stepsPerEpoch = examples / batch;

// Pictures are (N, 1, 28, 28) bytes. A batch becomes floats when it is used, so that the set stays small.
const all = await mnist({ progress: true });
const digits = { x: all.x.slice([[0, examples]]), y: all.y.slice([[0, examples]]) };
const test = await mnist({ split: "test" });
const floats = (bytes: Tensor): Tensor => bytes.div(255).sub(0.13).div(0.31);

/** A model is any class: its parameters are found by walking its properties. */
class Cnn {
  conv1 = new Conv2d(1, 8, 3);
  conv2 = new Conv2d(8, 16, 3);
  out = new Linear(16 * 5 * 5, 10);

  forward(pictures: Tensor): Tensor {
    const first = maxPool2d(this.conv1.forward(floats(pictures)).relu(), 2); // (N, 8, 13, 13)
    const second = maxPool2d(this.conv2.forward(first).relu(), 2); // (N, 16, 5, 5)
    return this.out.forward(second.flatten({ start: 1 }));
  }
}

/** Everything a run consists of, always made in the same way: a checkpoint is loaded into such parts. */
function makeRun() {
  manualSeed(1); // the first weights are drawn from here
  const model = new Cnn();
  const update = optimizer(model, adamw({ lr: 3e-3, weightDecay: 0.01 }));
  // The rate rises for 20 steps and falls to 0 along a cosine.
  const scheduler = schedule(update, cosine({ warmup: 20, total: epochs * stepsPerEpoch }));
  const batches = loader(digits, { batch, shuffle: true, rng: new Rng("order") });
  return { model, optimizer: update, scheduler, loader: batches };
}

/** Trains from step `from` on. At step `halt` it writes a checkpoint and leaves; the losses of its steps are returned. */
async function run(parts: ReturnType<typeof makeRun>, from: number, halt?: { at: number; path: string }) {
  const { model, optimizer: update, scheduler, loader: batches } = parts;
  const losses: number[] = [];
  let step = from;
  train(model);
  while (step < epochs * stepsPerEpoch) {
    // One turn of the loader is one epoch, or what a checkpoint left of it.
    for await (const { x, y } of batches) {
      const { value, norm } = scope(() => {
        update.zeroGrad();
        const loss = crossEntropy(model.forward(x), y);
        loss.backward();
        // Gradients of a larger norm than 1 are scaled down to it; the norm before is returned.
        const norm = clipGradNorm(parameters(model), 1);
        update.step();
        scheduler.step();
        return { value: loss.item(), norm };
      });
      losses.push(value);
      step++;
      if (step % 40 === 0)
        console.log(`step ${step}: loss ${value.toFixed(3)}, gradient ${norm.toFixed(2)}, rate ${update.lr}`);
      if (step === halt?.at) {
        await saveCheckpoint(halt.path, { ...parts, step });
        return losses;
      }
    }
  }
  return losses;
}

const folder = mkdtempSync(join(tmpdir(), "own-loop-"));
const half = Math.floor(1.5 * stepsPerEpoch); // in the middle of an epoch
// 1. A run that is interrupted: its file holds weights, Adam's means, the schedule, and the place in the shuffled data.
const before = await run(makeRun(), 0, { at: half, path: join(folder, "run.safetensors") });

// 2. Another process would do this: build the same parts, load, go on.
const resumed = makeRun();
const { step } = await loadCheckpoint(join(folder, "run.safetensors"), resumed);
console.log(`goes on from step ${step}`);
const after = await run(resumed, step);

// 3. The same run, never interrupted.
const whole = await run(makeRun(), 0);
rmSync(folder, { recursive: true });

/** The share of the test pictures that are recognised, 500 at a time. */
function score(model: Cnn): number {
  evaluate(model);
  const count = quick ? 1000 : 10_000;
  let right = 0;
  for (let i = 0; i < count; i += 500) {
    const [x, y] = [test.x, test.y].map((column) => column.slice([[i, i + 500]]));
    right += scope(() => noGrad(() => 500 * accuracy(model.forward(x), y)));
  }
  return right / count;
}
const reached = score(resumed.model);
assert.deepEqual(
  [...before, ...after],
  whole,
  "the resumed run must take the steps of the whole one, bit for bit",
);
assert(reached > (quick ? 0.8 : 0.95), `the test accuracy is ${reached}`);
console.log(`shown: ${whole.length} steps, the same in two parts; test accuracy ${reached.toFixed(4)}`);
