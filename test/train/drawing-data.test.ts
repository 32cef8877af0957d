import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { manualSeed, Rng, randn, type Tensor } from "bitgrad";
import { Linear, stateDict } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import * as training from "bitgrad/train";
import { afterAll, describe, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "bitgrad-drawing-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = () => join(folder, `${files++}.safetensors`);

/** Trains on batches that are drawn while they are read, some of them long after they were asked for. */
async function go(path: string, { resume = false, at = 0, stop = new AbortController() } = {}) {
  manualSeed(resume ? 8 : 7);
  const model = new Linear(3, 2, { rng: new Rng(1) });
  const rng = new Rng(2);
  let reads = 0;
  const data = {
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const early = randn([2, 3]);
        if (reads % 2 === 1) await setImmediate();
        if (++reads === at) stop.abort();
        yield early.add(randn([2, 3], { rng })).add(randn([2, 3]));
      }
    },
  };
  const { losses, aborted } = await training.fit<Linear, Tensor>(model, {
    data,
    loss: (net, x) =>
      net
        .forward(x.add(randn(x.shape)))
        .square()
        .mean(),
    optimizer: optimizer(model, sgd({ lr: 0.1 })),
    accumulate: 3,
    steps: 4,
    signal: stop.signal,
    checkpoint: { path, resume, rng },
  });
  const numbers = Object.values(stateDict(model)).flatMap(({ data }) => [...data]);
  return { aborted, losses, numbers: [...numbers, ...randn([2]).data, ...randn([2], { rng }).data] };
}

describe("data that draws while it is read", () => {
  it.each([1, 2, 3, 4, 5, 7, 8, 12])("is resumed bit for bit, aborted in batch %i of 12", async (at) => {
    const whole = await go(newPath());
    const path = newPath();
    const first = await go(path, { at });
    expect(first).toMatchObject({ aborted: true, losses: whole.losses.slice(0, Math.floor((at - 1) / 3)) });
    expect(await go(path, { resume: true })).toEqual(whole);
  });

  it("does not change the training that it validates", async () => {
    const run = async (validates: boolean) => {
      manualSeed(5);
      const model = new Linear(3, 2);
      const rng = new Rng(2);
      const { losses } = await training.fit<Linear, Tensor>(model, {
        data: [randn([2, 3])],
        loss: (net, x) =>
          net
            .forward(x.add(randn(x.shape, { rng })))
            .square()
            .mean(),
        optimizer: optimizer(model, sgd({ lr: 0.1 })),
        epochs: 4,
        checkpoint: { path: newPath(), rng },
        validation: validates
          ? {
              data: {
                *[Symbol.iterator]() {
                  yield randn([2, 3]).add(randn([2, 3], { rng }));
                },
              },
            }
          : undefined,
      });
      return [...losses, ...randn([2]).data];
    };
    expect(await run(true)).toEqual(await run(false));
  });
});
