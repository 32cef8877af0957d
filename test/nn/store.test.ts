import { backendInfo, keep, memory, noGrad, Rng, randn, scope, tensor } from "bitgrad";
import { summary } from "bitgrad/cost";
import { load, readSafetensors, save, writeSafetensors } from "bitgrad/io";
import {
  clone,
  evaluate,
  Linear,
  loadStateDict,
  Parameter,
  parametrize,
  Sequential,
  signs,
  stateDict,
} from "bitgrad/nn";
import { isBinary, optimizer, sgd } from "bitgrad/optim";
import { loadPacked, type PackedWeight } from "bitgrad/packed";
import { binaryDynamic, freeze, int8Dynamic, int8WeightOnly, pack, plan, prepare } from "bitgrad/quant";
import { gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { DTypeError, FormatError, GradError, OptionError, ShapeError } from "../../src/errors.ts";

const draw = (shape: readonly number[], seed = 1) =>
  randn(shape, { rng: new Rng(seed) })
    .greater(0)
    .where(tensor(1), tensor(-1));

const signLayer = (rows: number, columns: number, seed = 1): Linear => {
  const layer = new Linear(columns, rows, { bias: false });
  layer.weight.replace(draw([rows, columns], seed), { store: signs });
  return layer;
};

describe("a store of signs", () => {
  it("takes one bit a weight at rest, and gives floats when asked", () => {
    const value = draw([1000, 1000]);
    const before = memory().pinned;
    const weight = new Parameter(value, { store: signs });
    const held = memory().pinned - before;
    // Nothing is pinned on a memory whose growth detaches views.
    if (backendInfo().name === "simd" && process.env.BITGRAD_MEMORY !== "unshared") {
      expect(held).toBeGreaterThanOrEqual(125_000);
      expect(held).toBeLessThanOrEqual(130_000);
    }
    expect(weight.value.storage.bytes).toBe(125_000);
    const [now, given] = [weight.value.data, value.data];
    expect(now.length === given.length && now.every((x, i) => x === given[i])).toBe(true);
    expect(weight.value.data === now).toBe(false);
    expect(memory().pinned - before).toBe(held);
  });

  it.each([[0], [0.5], [-0], [2], [Number.NaN], [Infinity]])("refuses %d wherever it comes from", (odd) => {
    const values = () => tensor([1, -1, odd]);
    expect(() => new Parameter(values(), { store: signs })).toThrow(
      new OptionError(
        `Parameter: the store holds 1 and -1, got ${Object.is(odd, -0) ? "-0" : odd} at element 2`,
      ),
    );
    const weight = new Parameter(tensor([1, 1, -1]), { store: signs });
    const { version } = weight;
    expect(() => weight.assign(values())).toThrow(/^assign: the store holds 1 and -1, got/);
    expect(() => weight.update((data) => data.fill(odd))).toThrow(OptionError);
    expect(() => weight.replace(values())).toThrow(OptionError);
    expect(() => loadStateDict({ weight }, { weight: values() })).toThrow(FormatError);
    expect(() => loadStateDict({ weight }, { weight: values().to("float64") })).toThrow(FormatError);
    expect([...weight.value.data]).toEqual([1, 1, -1]);
    expect(weight.version).toBe(version);
  });

  it("refuses what is no store", () => {
    for (const store of ["signs", {}, { bits: 9, signed: true }, { bits: 1 }, 1])
      expect(() => new Parameter(tensor([1]), { store: store as never })).toThrow(
        /^Parameter: store must be signs/,
      );
    expect(() => new Parameter(tensor([1], { dtype: "int8" }), { store: signs })).toThrow(DTypeError);
  });

  it("holds integers of other widths too", () => {
    const weight = new Parameter(tensor([-2, 1, 0, -1, 1]), { store: { bits: 2, signed: true } });
    expect(weight.value.storage.bytes).toBe(2);
    expect([...weight.value.data]).toEqual([-2, 1, 0, -1, 1]);
    expect(() => weight.assign([2, 0, 0, 0, 0])).toThrow(/integers from -2 to 1, got 2 at element 0/);
    for (const bits of [1, 3, 8]) {
      const codes = Float32Array.from({ length: 2 ** 15 + 5 }, (_, i) => (i * 7 + (i >> 9)) % 2 ** bits);
      const many = new Parameter(tensor(codes), { store: { bits, signed: false } });
      expect(many.value.data).toEqual(codes);
    }
  });

  it("lets gradients flow as a float parameter does", () => {
    const [layer, twin] = [signLayer(5, 9), new Linear(9, 5, { bias: false })];
    twin.weight.assign(layer.weight.value);
    const x = randn([4, 9], { rng: new Rng(2) });
    for (const { weight, forward } of [layer, twin].map((l) => ({
      weight: l.weight,
      forward: () => l.forward(x),
    })))
      scope(() => {
        forward().square().sum().backward();
        expect(weight.grad!.shape).toEqual([5, 9]);
      });
    expect(layer.weight.grad!.data).toEqual(twin.weight.grad!.data);
    const wide = new Parameter(draw([6]).to("float64"), { store: signs });
    expect(wide.value.dtype).toBe("float64");
    expect(() =>
      gradcheck((t) => t.mul(wide.effective()).square(), [randn([6]).to("float64")]),
    ).not.toThrow();
  });

  it("counts writes, so that a graph of older signs does not run backward", () => {
    const layer = signLayer(2, 3);
    layer.weight.update((data) => data.fill(1));
    expect([...layer.weight.value.data]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(layer.weight.version).toBeGreaterThan(0);
    const other = signLayer(2, 3);
    const y = other
      .forward(randn([1, 3]))
      .mul(other.weight.effective().sum())
      .sum();
    other.weight.update((data) => data.fill(1));
    expect(() => y.backward()).toThrow(GradError);
  });

  it("keeps its bits in copies, states and files, without a float between", async () => {
    const model = new Sequential(signLayer(7, 11), new Linear(7, 2));
    const twin = clone(model);
    const [weight, copied] = [model, twin].map((m) => (m[0] as Linear).weight);
    expect(copied.store).toEqual(signs);
    expect(copied.value.storage.bytes).toBe(10);
    copied.update((data) => data.fill(1));
    expect(weight.value.data).toEqual(draw([7, 11]).data);
    loadStateDict(twin, stateDict(model));
    expect(copied.value.data).toEqual(weight.value.data);

    const bytes = await save(null, model, { dtype: "float16" });
    const { tensors, metadata } = readSafetensors(bytes, { widen: true });
    expect(metadata).toEqual({});
    expect(tensors["0.weight"].shape).toEqual([7, 11]);
    expect(tensors["0.weight"].storage.bytes).toBe(10);
    expect(tensors["0.weight"].data).toEqual(weight.value.data);
    copied.update((data) => data.fill(-1));
    await load(bytes, { into: twin, widen: true });
    expect(copied.value.data).toEqual(weight.value.data);
    expect(copied.store).toEqual(signs);
    // Floats of a state stay what they are.
    const floats = new Sequential(new Linear(11, 7, { bias: false }), new Linear(7, 2));
    loadStateDict(floats, stateDict(model));
    expect((floats[0] as Linear).weight.value.storage.bytes).toBe(4 * 77);
  });

  it("meets a file that says otherwise of its bits with FormatError", () => {
    const good = { bits: 1, signed: true, shape: [3, 3] };
    const file = (stores: unknown, bytes = 2) => {
      const text = JSON.stringify({
        __metadata__: {
          "bitgrad.stores": typeof stores === "string" ? stores : JSON.stringify({ w: stores }),
        },
        w: { dtype: "U8", shape: [bytes], data_offsets: [0, bytes] },
      });
      const head = new TextEncoder().encode(text);
      const out = new Uint8Array(8 + head.length + bytes);
      new DataView(out.buffer).setBigUint64(0, BigInt(head.length), true);
      out.set(head, 8);
      return out;
    };
    expect(readSafetensors(file(good)).tensors.w.shape).toEqual([3, 3]);
    expect(() => readSafetensors(file(good, 3))).toThrow(FormatError);
    for (const bad of [
      { ...good, shape: [3, 6] },
      { ...good, shape: "9" },
      { ...good, shape: [3, -3] },
      { ...good, shape: [2 ** 40, 2 ** 40] },
      { ...good, bits: 0 },
      { ...good, signed: 1 },
      null,
      [],
      "no json",
    ])
      expect(() => readSafetensors(file(bad))).toThrow(FormatError);
    expect(() => readSafetensors(file(JSON.stringify({ other: good })))).toThrow(FormatError);
    expect(() => writeSafetensors({}, { metadata: { "bitgrad.stores": "" } })).toThrow(OptionError);
  });

  it("is told by summary and taken by isBinary", () => {
    const model = { a: signLayer(4, 8), b: new Linear(8, 4) };
    const { rows } = summary(model);
    expect(rows.map(({ path, bits, bytes }) => [path, bits, bytes])).toEqual([
      ["a.weight", 1, 4],
      ["b.weight", 32, 128],
      ["b.bias", 32, 16],
    ]);
    expect(isBinary("a.weight", model.a.weight)).toBe(true);
    expect(isBinary("b.weight", model.b.weight)).toBe(false);
  });

  it("packs as 1-bit codes of scale 1 without a quantizer", () => {
    const layer = signLayer(64, 96);
    const model = new Sequential(layer);
    const packed = loadPacked(pack(model).toBytes());
    const { weight } = (
      packed.root as unknown as { steps: { weight: { bits: number; byteLength: number } }[] }
    ).steps[0];
    expect(weight.bits).toBe(1);
    expect(weight.byteLength).toBe(64 * 12 + 4);
    const x = randn([3, 96], { rng: new Rng(5) });
    const [a, b] = [packed.forward(x) as { data: ArrayLike<number> }, model.forward(x)];
    for (let i = 0; i < b.size; i++) expect(a.data[i]).toBeCloseTo(b.data[i], 4);
  });

  it("meets a quantizer in prepare as signs do, and none of more bits", () => {
    const make = () => new Sequential(signLayer(7, 11), new Linear(7, 2, { rng: new Rng(2) }));
    for (const config of [int8WeightOnly(), int8Dynamic()]) {
      expect(() => prepare(make(), plan({ default: config }))).toThrow(
        /^prepare: .* the bits that "0.weight" lies packed in, got 8 of "int8" for 1; take a quantizer of signs, /,
      );
    }
    const rules = [["0.weight", binaryDynamic()]] as const;
    const model = prepare(make(), plan({ default: int8Dynamic(), rules }));
    const bits = () =>
      (pack(model).root as unknown as { steps: { weight: PackedWeight }[] }).steps.map((s) => s.weight.bits);
    const x = randn([3, 11], { rng: new Rng(3) });
    const want = noGrad(() => scope(() => keep(evaluate(freeze(model)).forward(x))));
    expect(bits()).toEqual([1, 8]);
    const packed = pack(model).forward({ data: x.data.slice() as Float32Array, shape: x.shape });
    expect(packed.data).toEqual(want.data.slice());
  });

  it("steps by a rule that writes signs, and names the parameter of a rule that does not", () => {
    const model = { layer: signLayer(2, 3) };
    const flip = {
      name: "flip",
      options: {},
      init: () => ({}),
      update(weight: Float32Array, grad: Float32Array) {
        for (let i = 0; i < weight.length; i++) if (grad[i] * weight[i] > 0) weight[i] = -weight[i];
      },
    };
    const before = model.layer.weight.value.data;
    model.layer.weight.grad = tensor(before.slice(), { shape: [2, 3] });
    optimizer(model, flip as never).step();
    expect([...model.layer.weight.value.data]).toEqual([...before].map((x) => -x));
    expect(() => optimizer(model, sgd({ lr: 0.1 })).step()).toThrow(
      /^step: layer\.weight: the store holds 1 and -1, got/,
    );
    expect([...model.layer.weight.value.data]).toEqual([...before].map((x) => -x));
  });
});

describe("replace", () => {
  it("keeps the parameter, its ties and its row; drops gradient and memory of another shape", () => {
    const weight = new Parameter(randn([4, 3]));
    const model = { a: { weight }, b: { weight } };
    const opt = optimizer(model, sgd({ lr: 0.1, momentum: 0.9 }));
    weight.grad = randn([4, 3]);
    opt.step();
    const kept = weight.value.data.slice(0, 6);
    weight.replace(weight.value.slice([[0, 2]]));
    expect(weight.shape).toEqual([2, 3]);
    expect([...weight.value.data]).toEqual([...kept]);
    expect(weight.grad).toBeNull();
    expect(Object.keys(opt.stateDict()).filter((key) => key.startsWith("state."))).toEqual([]);
    weight.grad = tensor([
      [1, 1, 1],
      [1, 1, 1],
    ]);
    opt.step();
    expect(weight.value.data[0]).toBeCloseTo(kept[0] - 0.1, 6);
    const state = opt.stateDict()["state.a.weight.momentum"] as unknown as { shape: number[] };
    expect(state.shape).toEqual([2, 3]);
  });

  it("keeps what an optimizer remembers of a value of the same shape", () => {
    const weight = new Parameter(tensor([1, -1]));
    const opt = optimizer([weight], sgd({ lr: 0, momentum: 0.9 }));
    weight.grad = tensor([1, 2]);
    opt.step();
    const before = opt.stateDict();
    weight.replace(weight.value, { store: signs });
    expect(weight.value.storage.bytes).toBe(1);
    expect(String(opt.stateDict())).toEqual(String(before));
    weight.replace(weight.value, { store: null });
    expect(weight.store).toBeNull();
    expect(weight.value.storage.bytes).toBe(8);
    weight.assign([0.5, 2]);
    expect([...weight.value.data]).toEqual([0.5, 2]);
  });

  it("stays trainable or not, and refuses graphs of the old value", () => {
    const weight = new Parameter(randn([3]));
    const y = weight.effective().square().sum();
    weight.replace(randn([2]));
    expect(weight.trainable).toBe(true);
    expect(() => y.backward()).toThrow(GradError);
    weight.trainable = false;
    weight.replace(randn([4]));
    expect(weight.trainable).toBe(false);
  });

  it("leaves all as it was where a transform does not take the new value", () => {
    const model = { weight: new Parameter(randn([3, 2])) };
    const mask = tensor([
      [1, 0],
      [0, 1],
      [1, 1],
    ]);
    parametrize(model, "weight", { apply: (w) => w.mul(mask) });
    const { value } = model.weight;
    expect(() => model.weight.replace(randn([2, 2]))).toThrow(ShapeError);
    expect(() => model.weight.replace(randn([1, 2]))).toThrow(/^replace: the transforms must keep the shape/);
    expect(model.weight.value).toBe(value);
    expect(() => model.weight.replace([1] as never)).toThrow(DTypeError);
    expect(() => model.weight.replace(tensor([1], { dtype: "float64" }))).toThrow(DTypeError);
  });
});
