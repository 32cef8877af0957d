import { Rng, rand, type Tensor } from "bitgrad";
import { MnistCnn, mlp, ResNet, ResNet8 } from "bitgrad/models";
import { evaluate, loadStateDict, parameterCount, stateDict } from "bitgrad/nn";
import { describe, expect, it } from "vitest";

describe("the image models", () => {
  it.each([
    ["ResNet-20", () => new ResNet(ResNet.configs.resnet20), 269_722],
    ["ResNet-32", () => new ResNet(ResNet.configs.resnet32), 464_154],
    ["ResNet-56", () => new ResNet(ResNet.configs.resnet56), 853_018],
    ["ResNet-110", () => new ResNet(ResNet.configs.resnet110), 1_727_962],
    ["ResNet-8", () => new ResNet8(), 78_186],
  ])("%s has its published number of parameters", (_, make, count) => {
    expect(parameterCount(make)).toBe(count);
  });

  it("a block that narrows reads every second pixel and pads the channels with zeros on both sides", () => {
    const net = evaluate(new ResNet({ blocks: 1, width: 4, rng: new Rng(0) }));
    const block = net.layer2[0];
    for (const { weight } of [block.conv1, block.conv2]) weight.update((w) => w.fill(0));
    const x = rand([1, 4, 4, 4], { rng: new Rng(1) });
    const y = block.forward(x);
    expect(y.shape).toEqual([1, 8, 2, 2]);
    const channel = (t: Tensor, c: number) => t.select(0).select(c);
    expect(channel(y, 1).abs().max().item()).toBe(0);
    expect(channel(y, 6).abs().max().item()).toBe(0);
    for (let c = 0; c < 4; c++) {
      const every = channel(x, c).slice([
        [0, null, 2],
        [0, null, 2],
      ]);
      expect(channel(y, 2 + c).toArray()).toEqual(every.toArray());
    }
  });

  it("gives a row of logits for each picture", () => {
    const x = rand([2, 3, 32, 32], { rng: new Rng(1) });
    expect(evaluate(new ResNet({ blocks: 1, classes: 7 })).forward(x).shape).toEqual([2, 7]);
    expect(evaluate(new ResNet8()).forward(x).shape).toEqual([2, 10]);
    expect(evaluate(new MnistCnn()).forward(rand([2, 1, 28, 28])).shape).toEqual([2, 10]);
    expect(mlp([5, 4, 3]).forward(rand([2, 5])).shape).toEqual([2, 3]);
  });

  it("takes checkpoints that do not count batches", () => {
    const [from, to] = [new Rng(1), new Rng(2)].map((rng) => new ResNet({ blocks: 1, rng }));
    const state = Object.entries(stateDict(from)).filter(([name]) => !name.endsWith("numBatchesTracked"));
    const old = Object.fromEntries(state);
    expect(loadStateDict(to, old).missing).toEqual([]);
    expect(to.layer3[0].conv2.weight.value.toArray()).toEqual(from.layer3[0].conv2.weight.value.toArray());
    delete old["bn1.runningMean"];
    expect(() => loadStateDict(to, old)).toThrow('1 missing ("bn1.runningMean")');
  });

  it("refuses sizes that make no network", () => {
    expect(() => new ResNet({ blocks: 0 })).toThrow("blocks must be a positive integer, got 0");
    expect(() => mlp([3])).toThrow("at least an input and an output size");
    expect(() => mlp([3, 2], { activation: "cube" as "relu" })).toThrow("unknown activation");
  });
});
