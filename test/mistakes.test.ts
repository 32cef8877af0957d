import { concat, noGrad, ones, randn, type Tensor, tensor, zeros } from "bitgrad";
import { Embedding, Linear, parametrize, Sequential } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { binaryWeightOnly, plan, prepare } from "bitgrad/quant";
import { trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

const linear = new Linear(3, 2);
const x = ones([4, 3]);
const raw = (value: unknown) => value as never;
const loose = (f: unknown) => f as (...args: unknown[]) => unknown;

describe("a beginner's mistake meets a message that says what to do", () => {
  const mistakes: [string, () => unknown, string][] = [
    [
      "the wrong number of features",
      () => linear.forward(ones([4, 5])),
      "linear: x must end in the 3 input features of the weight, got (4, 5) and (2, 3)",
    ],
    [
      "no requiresGrad",
      () => tensor([1, 2]).sum().backward(),
      "backward: nothing to differentiate, got a tensor that no requiresGrad leaf leads to; give a leaf { requiresGrad: true } and compute outside of noGrad",
    ],
    [
      "a loss computed in noGrad",
      () => noGrad(() => linear.forward(x).sum()).backward(),
      "compute outside of noGrad",
    ],
    [
      "float token ids",
      () => new Embedding(4, 2).forward(tensor([1, 2])),
      'embedding: the index must be integers, got float32; use .to("int32")',
    ],
    [
      "a pattern that fits nothing",
      () => parametrize(new Sequential(linear), "layers.*.weight", { apply: (w: Tensor) => w }),
      'parametrize: the pattern fits no parameter, got "layers.*.weight"; there are 0.weight, 0.bias',
    ],
    [
      "a rule that was not called",
      () => optimizer(linear, raw(sgd)),
      "optimizer: needs an update rule or rows of [predicate, rule], got sgd; call it: sgd({ lr: 0.01 })",
    ],
    ["no rule", () => optimizer(linear, raw(undefined)), "optimizer: needs an update rule or rows of"],
    [
      "a row without its predicate",
      () => optimizer(linear, raw([sgd()])),
      "optimizer: needs an update rule or",
    ],
    [
      "a plan's rule that is no pair",
      () => plan({ rules: raw([{ match: "0.weight", config: binaryWeightOnly() }]) }),
      "plan: a rule must be a pair [match, config], got Object",
    ],
    [
      "a preset that was not called",
      () => plan({ default: raw(binaryWeightOnly) }),
      "plan: default must be a preset such as int8WeightOnly() or null, got binaryWeightOnly; call it",
    ],
    [
      "a rule's config that is none",
      () => plan({ rules: [["**", raw("int8")]] }),
      'plan: rule 0 must give a preset such as int8WeightOnly() or null, got "int8"',
    ],
    [
      "a preset where a plan belongs",
      () => prepare(linear, raw(binaryWeightOnly())),
      "prepare: needs a plan, got Object; wrap it: plan({ default: … })",
    ],
    [
      "an asynchronous loss",
      () =>
        trainStep(
          linear,
          optimizer(linear, sgd()),
          raw(async () => linear.forward(x).sum()),
        ),
      "trainStep: the loss must be a single number, got Promise; make the loss function synchronous",
    ],
    [
      "the loss as a plain number",
      () =>
        trainStep(
          linear,
          optimizer(linear, sgd()),
          raw(() => 1.5),
        ),
      "trainStep: the loss must be a single number, got 1.5; return the tensor, without item()",
    ],
    [
      "a loss for every example",
      () => trainStep(linear, optimizer(linear, sgd()), (net) => net.forward(x)),
      "trainStep: the loss must be a single number, got (4, 2); reduce it, for example with mean()",
    ],
    [
      "sizes one by one",
      () => loose(zeros)(2, 3),
      "zeros: a shape must be an array of sizes, got 2; write [2, …]",
    ],
    [
      "sizes one by one",
      () => loose(randn)(2, 3),
      "randn: a shape must be an array of sizes, got 2; write [2, …]",
    ],
    [
      "an axis that is no option",
      () => loose(x.sum.bind(x))(1),
      "sum: options must be an object such as { axis: 1 }, got 1",
    ],
    [
      "tensors to join one by one",
      () => loose(concat)(x, x),
      "concat: needs a list of at least one tensor, got (4, 3)",
    ],
    [
      "arithmetic by operators",
      () => (x as unknown as number) * 2,
      "tensor: operators take no tensors, got (4, 3); use add, mul, less, …",
    ],
  ];

  it.each(mistakes)("%s", (_, run, message) => {
    expect(run).toThrow(message);
  });
});
