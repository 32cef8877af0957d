import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import { crossEntropy, Linear, mseLoss, Parameter, stateDict } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { expectClose } from "bitgrad/testing";
import * as training from "bitgrad/train";
import { describe, expect, it } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";

const x = randn([12, 3], { rng: new Rng(12) });
const y = x.matmul(tensor([[1], [-2], [0.5]]));
const model = () => new Linear(3, 1, { rng: new Rng(11) });
const batches = (size: number) => loader({ x, y }, { batch: size });
const loss = (m: Linear, batch: { x: Tensor; y: Tensor }) => mseLoss(m.forward(batch.x), batch.y);
const weights = (m: object) => Object.values(stateDict(m)).map((t) => t.toArray());

describe("accumulated batches", () => {
  it("takes k accumulated batches for one k times as large", async () => {
    const [whole, parts] = [model(), model()];
    const whole1 = await training.fit(whole, {
      data: batches(12),
      loss,
      optimizer: optimizer(whole, sgd({ lr: 0.1 })),
      steps: 5,
    });
    const parts1 = await training.fit(parts, {
      data: batches(3),
      loss,
      optimizer: optimizer(parts, sgd({ lr: 0.1 })),
      steps: 5,
      accumulate: 4,
    });
    expectClose(parts.weight.value, whole.weight.value);
    expectClose(parts1.losses as number[], whole1.losses as number[]);
  });

  /** Descends w·x from 0 by the mean of x over a batch's rows that are not negative. */
  const counting = async (batches: number[][], counted: boolean, accumulate = 2) => {
    const w = new Parameter(tensor([0]));
    const history = await training.fit(
      { w },
      {
        data: batches,
        loss: (_, rows) => {
          const kept = rows.filter((row) => row >= 0);
          const mean = w.value
            .mul(kept.length > 0 ? tensor(kept).mean() : 0)
            .add(kept.length)
            .sum();
          return counted ? { loss: mean, count: kept.length } : mean;
        },
        optimizer: optimizer([w], sgd({ lr: 1 })),
        epochs: 1,
        accumulate,
      },
    );
    return [-w.value.item(), ...history.losses];
  };

  it("weighs the batches of a step by what they count, where the loss says it", async () => {
    const [three, one] = [[2, 2, 2], [10]];
    expect(await counting([three, one], false)).toEqual([6, 2]);
    expect(await counting([three, one], true)).toEqual([4, 2.5]);
    // Padding counts for nothing, and a step of padding alone moves nothing.
    expect(await counting([[2, 2, 2, -1], [10, -1], [-1], [-1, -1]], true)).toEqual([4, 2.5, 0]);
    expect(await counting([three, one], true, 1)).toEqual([12, 3, -19]);
  });

  it("takes the step of all tokens at once from batches of 4 and 1 that count", async () => {
    const w = new Parameter(tensor([[0, 0]]));
    const batches = [
      [0, 0, 0, 0, -100, -100],
      [1, -100, -100],
    ];
    const tokens = (_: object, ids: number[]) => ({
      loss: crossEntropy(w.value.broadcastTo([ids.length, 2]), ids),
      count: ids.filter((id) => id >= 0).length,
    });
    const update = optimizer([w], sgd({ lr: 1 }));
    await training.fit({ w }, { data: batches, loss: tokens, optimizer: update, epochs: 1, accumulate: 2 });
    expectClose(w.value, [[0.3, -0.3]]);
  });

  it("averages what is left at an epoch's end over what is left", async () => {
    const [short, single] = [model(), model()];
    const data = [{ x, y }];
    await training.fit(short, { data, loss, optimizer: optimizer(short, sgd()), epochs: 1, accumulate: 3 });
    await training.fit(single, { data, loss, optimizer: optimizer(single, sgd()), epochs: 1 });
    expect(weights(short)).toEqual(weights(single));
  });

  it("gives back the memory of each sum of gradients that a further batch replaces", async () => {
    const w = new Parameter(randn([64, 64], { rng: new Rng(3) }));
    const blocks: number[] = [];
    const once = () => {
      blocks.push(heapUse().bytes);
      return w.value.square().mean();
    };
    await training.fit(
      { w },
      { data: Array(12).fill(0), loss: once, optimizer: optimizer({ w }, sgd()), epochs: 1, accumulate: 4 },
    );
    expect(blocks.slice(2, 4)).toEqual([blocks[1], blocks[1]]);
    expect(blocks.slice(9)).toEqual([blocks[1], blocks[1], blocks[1]]);
  });
});
