import { Rng, randn } from "bitgrad";
import { Bert, Llama, ResNet, Transformer } from "bitgrad/models";
import {
  AvgPool2d,
  Conv2d,
  ConvTranspose2d,
  evaluate,
  Flatten,
  GroupNorm,
  Hadamard,
  type Layer,
  Linear,
  MaxPool2d,
  PReLU,
  Sequential,
} from "bitgrad/nn";
import type { PackedLanguage, PackedStep } from "bitgrad/packed";
import { binarySigns, freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
import { expect, it } from "vitest";
import { cpu } from "../../src/packed/cpu/executor.ts";
import type { Executor, KeyValueCache } from "../../src/packed/executor.ts";
import { runOn } from "../../src/packed/running.ts";
import type { Ids, Values } from "../../src/packed/values.ts";

/** Numbers that nobody can read but the executor below. */
class Far {
  readonly #data: Float32Array;
  readonly length: number;
  constructor(data: Float32Array) {
    this.#data = data.slice();
    this.length = data.length;
  }
  static read = (far: Far): Float32Array => far.#data;
}

const far = (data: Float32Array): Far => new Far(data);
const near = (x: unknown): unknown => {
  if (x instanceof Far) return Far.read(x);
  const { data, shape } = (x ?? {}) as Values<Far>;
  return data instanceof Far ? { data: Far.read(data), shape } : x;
};

class FarCache implements KeyValueCache<Far> {
  private readonly held = cpu.newCache();
  context: KeyValueCache<Far> | null = null;
  get length() {
    return this.held.length;
  }
  append(keys: Far, values: Far, heads: number, t: number, d: number) {
    const [k, v, rows] = this.held.append(
      near(keys) as Float32Array,
      near(values) as Float32Array,
      heads,
      t,
      d,
    );
    return [far(k), far(v), rows] as const;
  }
  clear() {
    this.held.clear();
    this.context?.clear();
  }
}

/** The CPU's verbs behind numbers that layers cannot read, and which of them were used. */
function farExecutor(): { executor: Executor<Far>; used: Set<string> } {
  const used = new Set<string>();
  const verbs = Object.entries(cpu).map(([name, verb]) => [
    name,
    typeof verb !== "function"
      ? verb
      : (...args: unknown[]) => {
          used.add(name);
          return far((verb as (...args: unknown[]) => Float32Array)(...args.map(near)));
        },
  ]);
  const own = { foldsSigns: false, holds: (x: unknown) => x instanceof Far, newCache: () => new FarCache() };
  return { executor: { ...Object.fromEntries(verbs), ...own } as Executor<Far>, used };
}

const rng = new Rng(5);
const image = (shape: number[]): Values => ({ data: randn(shape, { rng }).data as Float32Array, shape });
const ids = (...data: number[]): Ids => ({ data, shape: [1, data.length] });
const sizes = { vocabulary: 20, dim: 16, layers: 2, heads: 4, rng };
const packed = (layer: Layer, config: Parameters<typeof plan>[0]["default"] = null): PackedStep => {
  const model = evaluate(layer);
  return pack(config ? freeze(prepare(model, plan({ default: config }))) : model).root as PackedStep;
};

const cases: readonly [string, PackedStep, Values | Ids, object?][] = [
  [
    "a Llama",
    packed(new Llama({ ...sizes, context: 8, kvHeads: 2, feedForward: 24 }), int8Dynamic()),
    ids(3, 1, 4),
  ],
  [
    "a BERT",
    packed(new Bert({ ...sizes, context: 8, segments: 2, head: "classifier", classes: 3 })),
    ids(3, 1, 4),
    { mask: ids(1, 1, 0), segments: ids(0, 1, 1) },
  ],
  [
    "a Transformer",
    packed(new Transformer(sizes)),
    ids(3, 1, 4),
    { target: ids(2, 5), sourceMask: ids(1, 1, 0) },
  ],
  ["a ResNet of signs", packed(new ResNet({ blocks: 1, width: 4, rng }), binarySigns()), image([2, 3, 8, 8])],
  [
    "layers of images",
    packed(
      new Sequential(
        new Conv2d(2, 4, 3, { rng }),
        new PReLU(4),
        new GroupNorm(2, 4),
        new ConvTranspose2d(4, 3, 2, { rng }),
        new MaxPool2d(2),
        new AvgPool2d(2),
        new Flatten(),
        new Hadamard(12),
        new Linear(12, 5, { rng }),
      ),
      int8Dynamic(),
    ),
    image([2, 2, 11, 11]),
  ],
];

const held = (x: Values): Values => ({ data: far(x.data), shape: x.shape }) as unknown as Values;

it.each(cases)("%s runs where layers cannot read the numbers, with the same bits", (_, root, x, call) => {
  const want = root.forward(x as Values, call);
  const given = (root.idWidth ?? null) === null ? held(x as Values) : x;
  const got = runOn(farExecutor().executor, () => root.forward(given as Values, call));
  expect(got.shape).toEqual(want.shape);
  expect(Array.from(near(got.data) as Float32Array)).toEqual(Array.from(want.data));
});

it("caches are those of the executor that computes, which goes back to the CPU after an error", () => {
  const root = cases[0][1] as PackedLanguage;
  const read = (cache: KeyValueCache<Float32Array>[]) =>
    [ids(3, 1), ids(4)].map((text) => Array.from(near(root.forward(text, { cache }).data) as Float32Array));
  const want = read(root.newCache());
  const { executor } = farExecutor();
  expect(runOn(executor, () => read(root.newCache()))).toEqual(want);
  expect(() => runOn(executor, () => root.forward(ids(99)))).toThrow("ids lie in 0 … 19, got 99");
  expect(read(root.newCache())).toEqual(want);
});

it("every verb is one that these models need", () => {
  const { executor, used } = farExecutor();
  runOn(executor, () => {
    for (const [, root, x, call] of cases)
      root.forward((root.idWidth ?? null) === null ? held(x as Values) : (x as Values), call);
  });
  const verbs = Object.keys(cpu).filter(
    (name) => !["foldsSigns", "holds", "newCache", "gather"].includes(name),
  );
  expect([...used].sort()).toEqual(verbs.sort());
});
