import { beforeAll, describe, expect, it, vi } from "vitest";

const copy = async () => ({
  core: await import("bitgrad"),
  nn: await import("bitgrad/nn"),
  packed: await import("bitgrad/packed"),
  quant: await import("bitgrad/quant"),
});
type Copy = Awaited<ReturnType<typeof copy>>;

const here = await copy();
vi.resetModules();
const there = await copy();

/** A model of every layer that quantizes its input, and one that has ids for its input. */
function modelOf({ core, nn }: Copy) {
  const rng = new core.Rng(3);
  return new nn.Sequential(
    new nn.Embedding(5, 8, { rng }),
    new nn.Conv1d(3, 4, 3, { padding: 1, rng }),
    (x: InstanceType<Copy["core"]["Tensor"]>) => x.reshape([-1, 4, 2, 4]),
    new nn.Conv2d(4, 3, 2, { rng }),
    (x: InstanceType<Copy["core"]["Tensor"]>) => x.reshape([-1, 9]),
    new nn.Linear(9, 2, { rng }),
  );
}

/** Of layers that have packed forms alone. */
const packableOf = ({ core, nn }: Copy) =>
  new nn.Sequential(
    new nn.Conv2d(4, 8, 2, { rng: new core.Rng(3) }),
    new nn.BatchNorm2d(8),
    new nn.Conv2d(8, 8, 1, { rng: new core.Rng(5) }),
  );

const configs = ["int8Dynamic", "int8Mixed", "int8Static", "ternaryWeightOnly", "binarySigns"] as const;

describe.each([
  ["here", "there", here, there],
  ["there", "here", there, here],
])("a model made and prepared %s and finished %s", (_, __, first, second) => {
  beforeAll(() => expect(first.quant.QuantizedTransform).not.toBe(second.quant.QuantizedTransform));

  it.each(configs)("%s is calibrated, frozen and computed as by one copy", async (name) => {
    const ids = first.core.tensor([[0, 3, 4]], { dtype: "int32" });
    const results = [];
    for (const last of [first, second]) {
      const model = modelOf(first);
      first.quant.prepare(model, first.quant.plan({ default: first.quant[name]() }));
      await last.quant.calibrate(model, [ids]);
      last.quant.freeze(model);
      expect(() => last.quant.prepare(model, last.quant.plan({ default: last.quant[name]() }))).toThrow(
        "prepare: the parameter is already quantized",
      );
      last.nn.evaluate(model);
      results.push((model.forward(ids) as never as { toArray(): unknown }).toArray());
    }
    expect(results[1]).toEqual(results[0]);
  });

  it.each(configs)("%s is packed, run, written and read as by one copy", async (name) => {
    const x = first.core.randn([2, 4, 3, 3], { rng: new first.core.Rng(1) });
    const model = packableOf(first);
    first.quant.prepare(model, first.quant.plan({ default: first.quant[name]() }));
    await first.quant.calibrate(model, [x]);
    first.nn.evaluate(first.quant.freeze(model));
    const values = { data: x.data as Float32Array, shape: x.shape };
    const one = first.quant.pack(model);
    const two = second.quant.pack(model);
    const again = new second.packed.PackedModel(one.root);
    for (const packed of [two, again, second.packed.loadPacked(one.toBytes())]) {
      expect(packed.forward(values)).toEqual(one.forward(values));
      expect(packed.byteLength).toBe(one.byteLength);
      expect(packed.toBytes()).toEqual(one.toBytes());
      packed.dispose();
      expect(packed.forward(values)).toEqual(one.forward(values));
    }
  });

  it("packed layers and weights of one are parts of the other's", () => {
    const weight = first.packed.PackedWeight.ofFloats(Float32Array.of(1, 2, 3, 4), 2, 2);
    const inner = new first.packed.PackedSequential({
      steps: [
        new first.packed.PackedEmbedding({ weight }),
        new first.packed.PackedFunction({ name: "identity" }),
      ],
    });
    const outer = new second.packed.PackedSequential({
      steps: [inner, new second.packed.PackedLinear({ weight, bias: null, input: null })],
    });
    const model = new second.packed.PackedModel(outer);
    const { data, shape } = model.forward({ data: [1, 0], shape: [2] });
    expect([Array.from(data), shape]).toEqual([
      [11, 25, 5, 11],
      [2, 2],
    ]);
    expect(model.byteLength).toBe(16);
    expect(second.packed.loadPacked(model.toBytes()).forward({ data: [1, 0], shape: [2] }).data).toEqual(
      data,
    );
    expect(weight instanceof second.packed.PackedWeight).toBe(true);
  });
});
