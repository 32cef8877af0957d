import * as core from "bitgrad";
import { BitgradError, tensor, zeros } from "bitgrad";
import * as data from "bitgrad/data";
import * as io from "bitgrad/io";
import * as models from "bitgrad/models";
import * as nn from "bitgrad/nn";
import * as optim from "bitgrad/optim";
import * as testing from "bitgrad/testing";
import * as train from "bitgrad/train";
import { describe, expect, it } from "vitest";

const matrix = () =>
  tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);

const junk: readonly (() => unknown)[] = [
  matrix,
  () => undefined,
  () => null,
  () => "x",
  () => Number.NaN,
  () => -3,
  () => 0.5,
  () => 2 ** 40,
  () => Infinity,
  () => ({ nonsense: 1 }),
  () => ({ axis: Number.NaN }),
  () => [],
  () => [null],
  () => ["a", "b"],
  () => [[1], [2, 3]],
  () => [2 ** 30, 2 ** 30],
  () => zeros([0, 3]),
  () => tensor([1, -7], { dtype: "int32" }),
  () => 10n,
  () => Symbol("junk"),
  () => ({ shape: [2], data: [1, 2] }),
  () => new BigInt64Array(2),
];

/** Not called: what changes the whole process, waits for the outside world, or is a callback that the library itself calls. */
const spared = new Set([
  ...["useBackend", "setThreads", "setHeapBudget", "checkNumerics", "manualSeed"],
  ...[
    "mnist",
    "fashionMnist",
    "cifar10Subset",
    "digits8x8",
    "agNews",
    "names",
    "rtPolarity",
    "sst2",
    "subj",
    "trec",
  ],
  ...["tinyShakespeare", "tinyStories", "wikitext2", "text", "save", "saveSharded"],
  ...[
    "isBinary",
    "isBias",
    "isNorm",
    "everything",
    "gptNames",
    "gpt2Names",
    "hasData",
    "MaskedLmHead",
    "ResNetBlock",
  ],
]);

const entries = { core, nn, optim, train, models, data, io, testing };
const functions = Object.entries(entries).flatMap(([entry, names]) =>
  Object.entries(names)
    .filter(
      ([name, value]) => typeof value === "function" && !spared.has(name) && !/Error$|^Tensor$/.test(name),
    )
    .map(([name, value]) => [`${entry}.${name}`, value as Callable] as const),
);

type Callable = ((...args: unknown[]) => unknown) & (new (...args: unknown[]) => unknown);

async function expectTyped(f: Callable, args: unknown[]): Promise<void> {
  const isClass = /^class\b/.test(Function.prototype.toString.call(f));
  try {
    await (isClass ? new f(...args) : f(...args));
  } catch (error) {
    if (error instanceof BitgradError) return;
    expect.fail(
      `${(error as Error).stack} from ${args.map((arg) => (core.isTensor(arg) ? "tensor" : typeof arg)).join(", ")}`,
    );
  }
}

describe("junk in any place is taken or met by an error of the library", () => {
  it.each(functions)("%s", async (_, f) => {
    await expectTyped(f, []);
    for (const make of junk) {
      for (const before of [[], [matrix()], [matrix(), matrix()], [4], [4, 8]]) {
        await expectTyped(f, [...before, make()]);
      }
    }
  });
});

const layers: Record<string, nn.Layer> = {
  Linear: new nn.Linear(2, 2),
  Conv1d: new nn.Conv1d(1, 1, 2),
  Conv2d: new nn.Conv2d(1, 1, 3),
  Embedding: new nn.Embedding(3, 2),
  LayerNorm: new nn.LayerNorm(2),
  RMSNorm: new nn.RMSNorm(2),
  GroupNorm: new nn.GroupNorm(1, 2),
  BatchNorm1d: new nn.BatchNorm1d(2),
  BatchNorm2d: new nn.BatchNorm2d(2),
  Dropout: new nn.Dropout(0.5),
  PReLU: new nn.PReLU(),
  SqueezeExcite: new nn.SqueezeExcite(4, 2),
  MultiHeadAttention: new nn.MultiHeadAttention(4, 2),
  FeedForward: new nn.FeedForward(4, 8),
  TransformerEncoderLayer: new nn.TransformerEncoderLayer(4, 2, 8),
  TransformerDecoderLayer: new nn.TransformerDecoderLayer(4, 2, 8),
};

describe("sizes beyond any memory", () => {
  it("are met by an error of the library", () => {
    const config = { vocabulary: 5, context: 4, dim: 4, heads: 2 };
    expect(() => new models.Gpt({ ...config, layers: 2 ** 40 })).toThrow(BitgradError);
    expect(() => new nn.Linear(2, 2 ** 40)).toThrow(BitgradError);
  });
});

describe("a layer meets junk by an error of the library", () => {
  it.each(Object.entries(layers))("%s", async (_, layer) => {
    const forward = ((...args: never[]) =>
      layer.forward(...(args as unknown as [never]))) as unknown as Callable;
    for (const make of junk) {
      await expectTyped(forward, [make()]);
      await expectTyped(forward, [zeros([1, 2, 4]), make()]);
    }
  });

  it("and takes arrays where a tensor is meant", () => {
    expect(new nn.Linear(2, 3).forward([[1, 2]]).shape).toEqual([1, 3]);
    expect(new nn.LayerNorm(2).forward([[1, 2]]).shape).toEqual([1, 2]);
  });
});
