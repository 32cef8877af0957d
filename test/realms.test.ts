import { runInNewContext } from "node:vm";
import { type DType, Rng, randn, scope, tensor } from "bitgrad";
import { csv, idx, loader, text } from "bitgrad/data";
import { load, readSafetensors, writeSafetensors } from "bitgrad/io";
import { readLlama2c } from "bitgrad/models";
import { clone, Linear, loadStateDict, matchPath, Sequential, setTrainable, stateDict } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import { calibrate, formats, freeze, int8Static, int8WeightOnly, pack, plan, prepare } from "bitgrad/quant";
import { fit as trainModel, trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";

/** What source text gives in a realm of its own, as in another frame or in a test runner's context. */
const foreign = <T = never>(source: string, given: object = {}): T =>
  runInNewContext(`(${source})`, given) as T;

/** A typed array with the same numbers, made by the other realm. */
const foreignArray = <A extends ArrayLike<number>>(array: A): A =>
  foreign(`new ${(array as object).constructor.name}(numbers)`, { numbers: Array.from(array) });

const foreignBytes = (bytes: Uint8Array): Uint8Array => foreignArray(new Uint8Array(bytes));

it("the other realm's objects have other prototypes", () => {
  expect(foreignBytes(new Uint8Array(1)) instanceof Uint8Array).toBe(false);
  expect(foreign<object>("({})") instanceof Object).toBe(false);
});

describe("tensors of another realm's data", () => {
  it.each([
    ["float32", "Float32Array"],
    ["float64", "Float64Array"],
    ["int32", "Int32Array"],
    ["uint32", "Uint32Array"],
    ["int8", "Int8Array"],
    ["uint8", "Uint8Array"],
  ])("%s from its typed array", (dtype, name) => {
    const made = tensor(foreign(`new ${name}([1, 2, 3])`));
    expect(made.dtype).toBe(dtype);
    expect(made.toArray()).toEqual([1, 2, 3]);
    expect(tensor(foreign(`[new ${name}([1, 2])]`)).dtype).toBe(dtype);
    expect(made.add(foreign(`new ${name}([1, 1, 1])`)).toArray()).toEqual([2, 3, 4]);
  });

  it("from its arrays, with its options", () => {
    const made = tensor(foreign("[[1, 2], [3, 4]]"), foreign('({ dtype: "int32" })'));
    expect(made.dtype).toBe("int32" satisfies DType);
    expect(made.sum(foreign("({ axis: 0 })")).toArray()).toEqual([4, 6]);
  });

  it("an array without a dtype is still refused by name", () => {
    expect(() => tensor(foreign("new Int16Array(2)"))).toThrow(
      "no dtype for this typed array, got Int16Array",
    );
  });

  it("an instance of its classes is still no bag of options", () => {
    expect(() => tensor([1], foreign("new (class Options { dtype = 'int32' })()"))).toThrow(
      "options must be a plain object, got Options",
    );
  });

  it("draws into its arrays are those of the array's own type", () => {
    for (const name of ["Float32Array", "Float64Array"] as const) {
      const own = new globalThis[name](5);
      const other = foreign<Float32Array>(`new ${name}(5)`);
      for (const fill of ["fillUniform", "fillNormal"] as const) {
        new Rng(3)[fill](own);
        new Rng(3)[fill](other);
        expect(Array.from(other)).toEqual(Array.from(own));
      }
    }
  });
});

describe("files of another realm's bytes", () => {
  const state = { "0.weight": randn([3, 2], { rng: new Rng(1) }), "0.bias": tensor([1, 2, 3]) };
  const file = writeSafetensors(state);

  it("safetensors from its Uint8Array, its ArrayBuffer and a source of them", async () => {
    const bytes = foreignBytes(file);
    for (const given of [bytes, bytes.buffer as ArrayBuffer]) {
      for (const { tensors } of [
        readSafetensors(given),
        readSafetensors(given, foreign("({ widen: true })")),
      ])
        expect(tensors["0.bias"].toArray()).toEqual([1, 2, 3]);
      const model = new Sequential(new Linear(2, 3));
      await load(given, { into: model });
      expect(stateDict(model)["0.weight"].toArray()).toEqual(state["0.weight"].toArray());
    }
  });

  it("states, its own objects of tensors", () => {
    const model = new Sequential(new Linear(2, 3));
    loadStateDict(model, foreign("({ ...state })", { state }));
    expect(stateDict(model)["0.bias"].toArray()).toEqual([1, 2, 3]);
    expect(writeSafetensors(foreign("({ ...state })", { state }))).toEqual(file);
    const saved = optimizer(model, adamw({ lr: 0.25 })).stateDict();
    const opt = optimizer(model, adamw());
    opt.loadStateDict(foreign("({ ...saved })", { saved }));
    expect(opt.lr).toBe(0.25);
  });

  it("Blobs and Responses, told by their tag", async () => {
    class OtherBlob {
      readonly [Symbol.toStringTag] = "Blob";
      readonly size = file.length;
      slice = (from: number, to: number) => ({ arrayBuffer: async () => file.slice(from, to).buffer });
    }
    class OtherResponse {
      readonly [Symbol.toStringTag] = "Response";
      readonly ok = true;
      arrayBuffer = async () => file.slice().buffer;
    }
    for (const source of [new OtherBlob(), new OtherResponse()]) {
      const { tensors } = await load(source as never);
      expect(tensors["0.bias"].toArray()).toEqual([1, 2, 3]);
    }
  });

  it("packed models and their inputs", () => {
    const model = prepare(
      new Sequential(new Linear(4, 3, { rng: new Rng(2) })),
      plan({ default: int8WeightOnly() }),
    );
    const packed = pack(freeze(model));
    const bytes = packed.toBytes();
    const x = { data: Float32Array.of(1, -2, 3, 0.5), shape: [1, 4] };
    const other = { data: foreignArray(x.data), shape: foreign<number[]>("[1, 4]") };
    for (const given of [foreignBytes(bytes), foreignBytes(bytes).buffer as ArrayBuffer]) {
      const loaded = loadPacked(given);
      expect(loaded.forward(other)).toEqual(packed.forward(x));
      expect(loaded.forward(foreign("({ ...other })", { other }))).toEqual(packed.forward(x));
      expect(loaded.byteLength).toBe(packed.byteLength);
      expect(loaded.toBytes()).toEqual(bytes);
    }
  });

  it("csv, text, idx, blocks of codes and checkpoints", async () => {
    const utf8 = (content: string) => foreignBytes(new TextEncoder().encode(content));
    expect(csv(utf8("a,b\n1,2\n")).b).toEqual(["2"]);
    expect(await text(utf8("one"))).toBe("one");
    expect((await idx(foreignArray(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 5, 6)))).toArray()).toEqual([5, 6]);
    const numbers = Float32Array.from({ length: 32 }, (_, i) => i - 16);
    const coded = formats.Q8_0.encode(numbers);
    expect(formats.Q8_0.decode(foreignBytes(coded))).toEqual(formats.Q8_0.decode(coded));
    expect(() => readLlama2c(foreignBytes(new Uint8Array(4)))).toThrow("the file ends within its header");
  });
});

describe("models and training with another realm's objects", () => {
  it("layers in its Map and its arrays are found, cloned and held beyond a scope", () => {
    const [first, second] = [new Linear(2, 2), new Linear(2, 2)];
    const model = {
      named: foreign<Map<string, Linear>>("new Map([['a', first]])", { first }),
      list: [second],
    };
    expect(Object.keys(stateDict(model))).toEqual([
      "named.a.weight",
      "named.a.bias",
      "list.0.weight",
      "list.0.bias",
    ]);
    const twin = clone(model);
    expect(twin.named.get("a")).not.toBe(first);
    expect(twin.named.get("a")!.weight.value.toArray()).toEqual(first.weight.value.toArray());
    const seen = { set: foreign<Set<object>>("new Set([first])", { first }) };
    expect([...clone(seen).set][0]).not.toBe(first);
    for (const kind of ["new Map([['a', made]])", "new Set([made])", "[made]", "({ a: made })"]) {
      let inside = tensor([0]);
      scope(() => {
        inside = tensor([3, 4]);
        return foreign<object>(kind, { made: inside });
      });
      expect(inside.toArray(), kind).toEqual([3, 4]);
    }
  });

  it("its patterns fit paths", () => {
    expect(matchPath(foreign("/weight$/"), "0.weight")).toBe(true);
    expect(setTrainable(new Linear(2, 2), foreign("/^bias$/"), false)).toEqual(["bias"]);
    expect(() => setTrainable(new Linear(2, 2), foreign("/none/"), false)).toThrow("got /none/");
  });

  it("its promises are told from losses, its async iterables feed fit and calibrate, its signals stop", async () => {
    const model = new Linear(2, 1, { rng: new Rng(4) });
    const opt = optimizer(model, adamw());
    expect(() => trainStep(model, opt, () => foreign("Promise.resolve(1)"))).toThrow(
      "make the loss function synchronous",
    );
    const batches = foreign<AsyncIterable<never>>("(async function* () { yield x; })()", {
      x: randn([3, 2]),
    });
    const fixed = prepare(new Sequential(new Linear(2, 3)), plan({ default: int8Static() }));
    await calibrate(fixed, batches);
    const data = loader(foreign<{ x: number[][] }>("({ x: [[1, 2], [3, 4]] })"), { batch: 1 });
    const signal = foreign<AbortSignal>("({ aborted: true, reason: 'stop', throwIfAborted() {} })");
    const loss = (net: Linear, batch: { x: never }) => net.forward(batch.x).square().mean();
    const run = await trainModel(model, {
      data,
      optimizer: opt,
      loss: loss as never,
      signal,
      ...foreign<object>("({ epochs: 1 })"),
    });
    expect(run.aborted).toBe(true);
  });
});
