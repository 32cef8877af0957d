import { backendInfo, noGrad, Rng, randn, scope } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { Embedding, evaluate, Linear } from "bitgrad/nn";
import { loadPacked, type PackedLinear } from "bitgrad/packed";
import {
  binaryDynamic,
  binaryWeightOnly,
  calibrate,
  freeze,
  int4Dynamic,
  int4WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  staticInput,
  ternaryDynamic,
  ternaryWeightOnly,
} from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { crossovers } from "../../src/packed/products/crossover.ts";
import type { Crossover } from "../../src/packed/products/measured.ts";

const saved = { ...crossovers };
const use = (crossover: Partial<Crossover>): void => {
  const all = { ...saved.plain, ...crossover };
  Object.assign(crossovers, { plain: all, relaxed: all });
};
afterEach(() => void Object.assign(crossovers, saved));

const always = (rows: number) => ({ lookupRows: { 1: [[1, rows]], 2: [[1, rows]] } }) as const;
const frozen = async <M extends object>(model: M, config: QuantConfig): Promise<M> => {
  prepare(model, plan({ default: config }));
  if (config.input?.().observer) await calibrate(model, [randn([4, 40], { rng: new Rng(5) })]);
  return evaluate(freeze(model));
};

describe("what multiplies codes", () => {
  it.each<[string, QuantConfig]>([
    ["ternary × int8", ternaryDynamic()],
    ["1 bit × int8", binaryDynamic()],
    ["ternary × uint8, static", { ...ternaryWeightOnly(), input: staticInput() }],
    ["1 bit × uint8, static", { ...binaryWeightOnly(), input: staticInput() }],
  ])("gives the same bits by lookup and as int8, %s", async (_, config) => {
    const model = await frozen(new Linear(40, 24, { rng: new Rng(1) }), config);
    const x = randn([9, 40], { rng: new Rng(2) });
    const results = [0, Infinity, 4].map((rows) => {
      use(always(rows));
      return [9, 3].map((m) => {
        const data = (x.data as Float32Array).slice(0, m * 40);
        return Array.from(pack(model).forward({ data, shape: [m, 40] }).data);
      });
    });
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    expect(results[0][1]).toEqual(results[0][0].slice(0, 3 * 24));
  });

  it.skipIf(backendInfo().name !== "simd")(
    "is the faster by the measured size that is nearest, and told by backendInfo",
    async () => {
      use({
        machine: "a machine",
        lookupRows: {
          1: [
            [100, 0],
            [10_000, Infinity],
          ],
          2: [[1, 7]],
        },
      });
      for (const [size, config] of [
        [24, binaryDynamic()],
        [48, binaryDynamic()],
        [25, ternaryDynamic()],
      ] as const) {
        const model = await frozen(new Linear(size, size, { rng: new Rng(1) }), config);
        pack(model).forward({ data: new Float32Array(size), shape: [1, size] });
      }
      const { choices } = backendInfo();
      expect(choices).toContain("1-bit weights (24, 24) times integers: as int8, as measured on a machine");
      expect(choices).toContain("1-bit weights (48, 48) times integers: by lookup, as measured on a machine");
      expect(choices).toContain(
        "ternary weights (25, 25) times integers: by lookup up to 7 rows, as int8 from there, as measured on a machine",
      );
    },
  );

  it("is not told where nothing was chosen: groups of signs with scales of their own are never looked up", async () => {
    use(always(Infinity));
    const config = binaryDynamic({ granularity: { group: 16 } });
    const model = await frozen(new Linear(48, 31, { rng: new Rng(1) }), config);
    pack(model).forward({ data: new Float32Array(48), shape: [1, 48] });
    expect(backendInfo().choices.filter((line) => line.includes("(31, 48)"))).toEqual([]);
  });

  it("keeps the list of choices short", async () => {
    for (let size = 2; size < 200; size++) {
      const model = new Linear(size, 1, { rng: new Rng(1) });
      pack(await frozen(model, int4WeightOnly()), { weights: "auto" });
    }
    const { choices } = backendInfo();
    expect(choices.length).toBeLessThanOrEqual(100);
    expect(choices.at(-1)).toMatch(/^4-bit weights \(1, 199\) times float32: /);
  });
});

describe('pack with weights: "auto"', () => {
  const bitsOf = (layer: unknown): number => (layer as PackedLinear).weight.bits;

  it("keeps what float32 input multiplies faster as float32, and packs the rest", async () => {
    use({ floatWeights: [0, 0, 0, 1000, 0, 0, 0, 0] });
    const small = await frozen(new Linear(40, 25, { rng: new Rng(1) }), int4WeightOnly());
    const large = await frozen(new Linear(40, 26, { rng: new Rng(1) }), int4WeightOnly());
    const codes = await frozen(new Linear(40, 25, { rng: new Rng(1) }), int4Dynamic());
    const table = await frozen(new Embedding(25, 40, { rng: new Rng(1) }), int4WeightOnly());
    expect([small, large, codes, table].map((m) => bitsOf(pack(m, { weights: "auto" }).root))).toEqual([
      32, 4, 4, 4,
    ]);
    expect(bitsOf(pack(small).root)).toBe(4);
  });

  it("gives the frozen model's own numbers, also from a file", async () => {
    use({ floatWeights: Array(8).fill(Infinity) });
    const model = await frozen(new Linear(40, 24, { rng: new Rng(1) }), int4WeightOnly());
    const x = randn([5, 40], { rng: new Rng(2) });
    const want = noGrad(() => scope(() => Array.from(model.forward(x).data)));
    const packed = loadPacked(pack(model, { weights: "auto" }).toBytes());
    expect(Array.from(packed.forward({ data: x.data as Float32Array, shape: x.shape }).data)).toEqual(want);
  });

  it("leaves a head that shares the codes of the embedding packed", async () => {
    use({ floatWeights: Array(8).fill(Infinity) });
    const gpt = new Gpt({ vocabulary: 32, context: 8, dim: 32, layers: 1, heads: 2, rng: new Rng(1) });
    const { root } = pack(await frozen(gpt, int4WeightOnly()), { weights: "auto" });
    const { token, head } = root as unknown as Record<"token" | "head", PackedLinear>;
    expect(token.weight.bits).toBe(4);
    if (head) expect(head.weight).toBe(token.weight);
  });

  it("refuses other words", async () => {
    const model = await frozen(new Linear(4, 4), int4WeightOnly());
    expect(() => pack(model, { weights: "float" as "auto" })).toThrow(
      'pack: weights must be "packed" or "auto", got "float"',
    );
  });
});

it("the measured table has a choice for every size", () => {
  for (const crossover of [saved.plain, saved.relaxed]) {
    if (!crossover) continue;
    expect(crossover.floatWeights).toHaveLength(8);
    for (const steps of Object.values(crossover.lookupRows)) {
      const sizes = steps.map(([weights]) => weights);
      expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
      expect(steps.length).toBeGreaterThan(3);
    }
  }
});
