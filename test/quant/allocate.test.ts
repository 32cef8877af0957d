import { noGrad, Rng, randn, relu, type Tensor, tensor } from "bitgrad";
import { clone, Embedding, evaluate, Linear, Sequential, stateDict } from "bitgrad/nn";
import {
  type AllocateOptions,
  allocateBits,
  binaryWeightOnly,
  calibrate,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  quantReport,
  sensitivity,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { named } from "./setup.ts";

const net = () =>
  named({
    first: new Linear(16, 24, { rng: new Rng(1) }),
    act: relu,
    middle: new Linear(24, 24, { rng: new Rng(2) }),
    act2: relu,
    last: new Linear(24, 5, { rng: new Rng(3) }),
  });
const batches = [3, 4].map((seed) => randn([seed, 16], { rng: new Rng(seed) }));
const choices = { int8: int8WeightOnly(), int4: int4WeightOnly({ group: 8 }), binary: binaryWeightOnly() };
type Options = Partial<AllocateOptions<Tensor>>;
const allocate = (options: Options, model: object = net()) =>
  allocateBits(model, batches, { choices, ...options });

describe("allocateBits", () => {
  it("takes the cheapest of all that fit, by trying every one", async () => {
    const { layers } = await sensitivity(net(), batches, { choices });
    const all = layers.reduce<{ bytes: number; cost: number }[]>(
      (sums, { options }) =>
        sums.flatMap((sum) =>
          options.map(({ bytes, cost }) => ({ bytes: sum.bytes + bytes, cost: sum.cost + cost })),
        ),
      [{ bytes: 0, cost: 0 }],
    );
    for (const bytes of [250, 400, 600, 900, 2000]) {
      const found = await allocate({ bytes });
      expect(found.bytes).toBeLessThanOrEqual(bytes);
      expect(found.cost).toBe(Math.min(...all.filter((sum) => sum.bytes <= bytes).map(({ cost }) => cost)));
      expect(found.layers.reduce((sum, layer) => sum + layer.bytes, 0)).toBe(found.bytes);
    }
  });

  it("gives a plan that prepares, packs into the bytes it says, and comes back from JSON", async () => {
    const found = await allocate({ bytes: 700 });
    const model = net();
    const again = plan(JSON.parse(JSON.stringify(found.plan)));
    for (const each of [found.plan, again]) {
      const packed = pack(freeze(prepare(clone(model), each))) as never as { root: { steps: object[] } };
      const weights = packed.root.steps as { weight?: { byteLength: number } }[];
      expect(weights.reduce((sum, { weight }) => sum + (weight?.byteLength ?? 0), 0)).toBe(found.bytes);
    }
    expect(found.plan.explain(model).filter(({ config }) => config)).toHaveLength(3);
  });

  it("measures all choices together, as a report of the prepared model does", async () => {
    const mixed = { ...choices, dynamic: int8Dynamic(), fixed: int8Static(), float: null };
    const { plan, joint, cost } = await allocate({ bits: 5, choices: mixed });
    const model = prepare(net(), plan);
    await calibrate(model, batches);
    const { output } = await quantReport(model, batches);
    expect(joint).toBeCloseTo(output.kl!.mean, 9);
    expect(cost).toBeGreaterThan(0);
    const squares = await allocate({ bits: 5, measure: "mse" });
    const twin = evaluate(prepare(net(), squares.plan));
    const want = batches.flatMap((x) => {
      const [y, other] = noGrad(() => [net().forward(x).data, twin.forward(x).data]);
      return Array.from(y, (v, i) => (v - other[i]) ** 2);
    });
    expect(squares.joint).toBeCloseTo(want.reduce((a, b) => a + b) / want.length, 9);
    expect((await allocate({ bits: 5, measure: "proxy" })).joint).toBe(null);
  });

  it("reads a budget in bits per weight, scales included", async () => {
    const weights = 16 * 24 + 24 * 24 + 24 * 5;
    const [inBits, inBytes] = [await allocate({ bits: 5.5 }), await allocate({ bytes: (5.5 * weights) / 8 })];
    expect(inBits.layers).toEqual(inBytes.layers);
    expect(inBits.bytes).toBeLessThanOrEqual((5.5 * weights) / 8);
  });

  it("gives layers that share one choice", async () => {
    const alone = await allocate({ bytes: 560 });
    expect(new Set(alone.layers.slice(1).map(({ choice }) => choice)).size).toBe(2);
    const shared = await allocate({ bytes: 560, share: (layer) => (layer === "first" ? "a" : "b") });
    expect(new Set(shared.layers.slice(1).map(({ choice }) => choice)).size).toBe(1);
    expect(shared.cost).toBeGreaterThan(alone.cost);
    expect(shared.bytes).toBeLessThanOrEqual(560);
    const all = await allocate({ bytes: 560, share: () => "all" });
    expect(new Set(all.layers.map(({ choice }) => choice)).size).toBe(1);
  });

  it("leaves layers that share what serves all of it, and counts tables of embeddings", async () => {
    const table = new Sequential({ table: new Embedding(9, 16, { rng: new Rng(1) }), net: net() });
    class Own {
      weight = new Linear(24, 24, { rng: new Rng(4) }).weight;
      forward(x: Tensor) {
        return x.linear(this.weight.effective());
      }
    }
    const model = new Sequential({ a: new Linear(16, 24, { rng: new Rng(1) }), own: new Own() });
    const given = { choices: { dynamic: int8Dynamic(), int8: int8WeightOnly() }, share: () => "all" };
    const { layers } = await allocate({ ...given, bytes: 2000 }, model);
    expect(layers.map(({ choice }) => choice)).toEqual(["int8", "int8"]);
    const ids = [tensor([[1, 2]], { dtype: "int32" })];
    const found = await allocateBits(table, ids, { choices, bits: 4 });
    expect(found.layers[0].layer).toBe("table");
  });

  it("keeps layers float32 where that is a choice and there is room", async () => {
    const { layers, plan } = await allocate({ bytes: 5000, choices: { ...choices, float: null } });
    expect(layers.map(({ choice }) => choice)).toEqual(["float", "float", "float"]);
    expect(plan.toJSON()).toEqual({ default: null, rules: [] });
  });

  it("matches paths that a pattern cannot write", async () => {
    const model = new Map([["a*{b}", new Linear(16, 3, { rng: new Rng(1) })]]);
    const forward = (x: Tensor) => model.get("a*{b}")!.forward(x);
    const { plan } = await allocate({ bytes: 60, forward }, model);
    expect(plan.explain(model).map(({ config }) => config !== null)).toEqual([true, false]);
  });

  it("prints as a table with sums", async () => {
    const lines = String(await allocate({ bytes: 700 })).split("\n");
    expect(lines[0]).toMatch(/^layer +choice +kl +bytes$/);
    expect(lines.at(-2)).toMatch(/^sum +\S+ +\d+$/);
    expect(lines.at(-1)).toMatch(/^measured together: kl \S+$/);
  });

  it.each<[string, Options, string]>([
    [
      "a budget that is too small",
      { bytes: 10 },
      "the budget must be at least 241 bytes, got 10; allow more",
    ],
    ["no budget", {}, "needs a budget as { bytes } or { bits } per weight, got bytes null and bits null"],
    ["two budgets", { bytes: 1, bits: 1 }, "got bytes 1 and bits 1"],
    ["a negative one", { bits: -1 }, "got bytes null and bits -1"],
    [
      "a share that is no function",
      { bytes: 999, share: "all" as never },
      'share must be a function, got "all"',
    ],
    ["an async share", { bytes: 999, share: (async () => "a") as never }, "share must be synchronous"],
    ["a key that is no text", { bytes: 999, share: () => 1 as never }, 'got 1 for "first"'],
  ])("refuses %s before it measures, and leaves the model as it was", async (_, options, text) => {
    const model = net();
    const heard: unknown[] = [];
    const before = Object.values(stateDict(model)).map((t) => Array.from(t.data));
    await expect(allocate({ ...options, onLayer: (at) => heard.push(at) }, model)).rejects.toThrow(text);
    expect(heard).toEqual([]);
    expect(Object.values(stateDict(model)).map((t) => Array.from(t.data))).toEqual(before);
    expect(model.first.weight.transforms).toEqual([]);
  });

  it("refuses batches that run once", async () => {
    async function* stream() {
      yield* batches;
    }
    await expect(allocateBits(net(), stream(), { choices, bits: 4 })).rejects.toThrow(
      "allocateBits: batches are run through once",
    );
  });

  it("takes quantizers of one's own, whose plan JSON refuses", async () => {
    const own = { three: { weight: ste({ bits: 3 }) }, two: { weight: () => ste({ bits: 2 }) } };
    const { plan } = await allocate({ bits: 3.5, choices: own });
    expect(() => JSON.stringify(plan)).toThrow("plan: JSON holds presets");
    expect(prepare(net(), plan).first.weight.transforms).toHaveLength(1);
  });
});
