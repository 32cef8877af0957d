import type { PackedLanguage, PackedStep } from "bitgrad/packed";
import { int8Dynamic } from "bitgrad/quant";
import { expect, it } from "vitest";
import { cpu } from "../../src/packed/cpu/executor.ts";
import type { Executor, KeyValueCache } from "../../src/packed/executor.ts";
import { runOn } from "../../src/packed/running.ts";
import type { Values } from "../../src/packed/values.ts";
import { bert, ids, images, llama, signs, transformer } from "./models.ts";

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

const cases = [llama, bert, transformer, signs, images("layers of images, int8", int8Dynamic())].map(
  ([name, { root }, x, call]) => [name, root as PackedStep, x, call ?? undefined] as const,
);

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
