import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { FormatError, Rng, randn, tensor } from "bitgrad";
import { load, readSafetensors, type Source, save, saveSharded, writeSafetensors } from "bitgrad/io";
import { Linear, Parameter, signs } from "bitgrad/nn";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { platform as browser } from "../../src/data/platform.browser.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bitgrad-"));
});
afterEach(() => rm(dir, { recursive: true }));

const tensors = () => ({
  "a.weight": tensor([
    [1, 2],
    [3, 4],
  ]),
  b: tensor(Int32Array.of(5, 6)),
});
const values = {
  "a.weight": [
    [1, 2],
    [3, 4],
  ],
  b: [5, 6],
};
const asArrays = (file: { tensors: Record<string, { toArray(): unknown }> }) =>
  Object.fromEntries(Object.entries(file.tensors).map(([name, value]) => [name, value.toArray()]));

describe("save", () => {
  it("writes a path, new folders too, and leaves nothing else beside it", async () => {
    const path = join(dir, "new/folder/model.safetensors");
    await save(path, tensors(), { metadata: { by: "test" } });
    expect(new Uint8Array(await readFile(path))).toEqual(
      writeSafetensors(tensors(), { metadata: { by: "test" } }),
    );
    expect(await readdir(join(dir, "new/folder"))).toEqual(["model.safetensors"]);
  });

  it("keeps the old file whole when writing fails", async () => {
    const path = join(dir, "model.safetensors");
    await save(path, tensors());
    await expect(save(path, { x: tensor([1]), y: tensor([1e6]) }, { dtype: "float16" })).rejects.toThrow(
      "beyond the range of F16",
    );
    expect(asArrays(await load(path))).toEqual(values);
    expect(await readdir(dir)).toEqual(["model.safetensors"]);
  });

  it("refuses values that change while they are written, and keeps the old file", async () => {
    const written = new Map<string, Uint8Array>();
    const sinks: Record<string, (model: Linear) => Promise<void>> = {
      path: (model) => save(join(dir, "m.safetensors"), model),
      parts: (model) => saveSharded(join(dir, "m.safetensors.index.json"), model, { shardBytes: 40 }),
      stream: (model) => save(new WritableStream({ write: async (c) => void written.set("s", c) }), model),
    };
    const changes: Record<string, (model: Linear) => void> = {
      assign: ({ weight }) => weight.assign(weight.value.mul(2)),
      update: ({ weight }) => weight.update((data) => void data.fill(3)),
    };
    for (const run of Object.values(sinks)) {
      for (const change of Object.values(changes)) {
        const model = new Linear(3, 4);
        await run(model);
        const before = (await readdir(dir)).length;
        const saving = run(model);
        change(model);
        await expect(saving).rejects.toThrow(
          /^save(Sharded)?: values must not change until they are written, got "weight" changed; await it first$/,
        );
        expect((await readdir(dir)).length).toBe(before);
      }
    }
    const model = new Linear(3, 4);
    const want = await save(null, model);
    await save(join(dir, "m.safetensors"), model);
    changes.update(model);
    expect(new Uint8Array(await readFile(join(dir, "m.safetensors")))).toEqual(want);
  });

  it("gives the bytes where there is no sink", async () => {
    expect(await save(null, tensors())).toEqual(writeSafetensors(tensors()));
  });

  it("writes a stream piece by piece and closes it", async () => {
    const chunks: Uint8Array[] = [];
    let closed = false;
    const sink = new WritableStream<Uint8Array>({
      write: (chunk) => void chunks.push(chunk),
      close: () => {
        closed = true;
      },
    });
    await save(sink, tensors());
    expect(closed).toBe(true);
    expect(chunks).toHaveLength(3);
    expect(new Uint8Array(Buffer.concat(chunks))).toEqual(writeSafetensors(tensors()));
  });

  it("hands a stream chunks of their own memory, which sinks of browsers take and may keep", async () => {
    const layer = new Linear(64, 64);
    const chunks: Uint8Array[] = [];
    await save(new WritableStream({ write: (chunk) => void chunks.push(chunk) }), layer);
    expect(chunks.length).toBeGreaterThan(1);
    for (const { buffer, byteLength } of chunks) {
      expect(buffer).toBeInstanceOf(ArrayBuffer);
      expect(buffer.byteLength).toBe(byteLength);
    }
    const before = new Uint8Array(Buffer.concat(chunks));
    layer.weight.update((w) => w.fill(7));
    expect(new Uint8Array(Buffer.concat(chunks))).toEqual(before);
  });

  it("aborts a stream when writing fails", async () => {
    let aborted = false;
    const sink = new WritableStream<Uint8Array>({
      abort: () => {
        aborted = true;
      },
    });
    await expect(save(sink, { x: tensor([1e6]) }, { dtype: "float16" })).rejects.toThrow("beyond the range");
    expect(aborted).toBe(true);
  });

  it("refuses other sinks and options", async () => {
    await expect(save(7 as never, tensors())).rejects.toThrow(
      "save: a sink must be a path, a URL or a WritableStream, got 7",
    );
    await expect(save(null, tensors(), { type: "float16" } as never)).rejects.toThrow(
      'save: unknown option, got "type"',
    );
  });
});

describe("load", () => {
  const bytes = writeSafetensors(tensors());
  const handle = {
    stat: async () => ({ size: bytes.length }),
    // At most five bytes a call, as a slow device would.
    read: async (buffer: Uint8Array, offset: number, length: number, position: number) => {
      const piece = bytes.subarray(position, position + Math.min(length, 5));
      buffer.set(piece, offset);
      return { bytesRead: piece.length };
    },
  };

  it.each<[string, () => Source]>([
    ["bytes", () => bytes],
    ["a Buffer", () => Buffer.from(bytes)],
    ["an ArrayBuffer", () => bytes.slice().buffer],
    ["a Blob", () => new Blob([bytes as Uint8Array<ArrayBuffer>])],
    ["a Response", () => new Response(bytes as Uint8Array<ArrayBuffer>)],
    ["an open file", () => handle],
    [
      "a chosen file of a browser",
      () => ({ getFile: async () => new Blob([bytes as Uint8Array<ArrayBuffer>]) }),
    ],
  ])("reads %s", async (_, source) => {
    expect(asArrays(await load(source()))).toEqual(values);
  });

  it("reads a path, a file URL and Node's own FileHandle, which stays open", async () => {
    const path = join(dir, "model.safetensors");
    await writeFile(path, bytes);
    expect(asArrays(await load(path))).toEqual(values);
    expect(asArrays(await load(pathToFileURL(path)))).toEqual(values);
    const file = await open(path);
    expect(asArrays(await load(file))).toEqual(values);
    expect((await file.stat()).size).toBe(bytes.length);
    await file.close();
  });

  it("says what is not there or is no source", async () => {
    await expect(load(join(dir, "none"))).rejects.toThrow("open: there is no such file");
    await expect(load(dir)).rejects.toThrow(FormatError);
    await expect(load(dir)).rejects.toThrow(`open: a file is needed, got the folder "${dir}"`);
    await expect(load(new Response("", { status: 404 }))).rejects.toThrow(
      "load: the server refused, got status 404",
    );
    await expect(load(7 as never)).rejects.toThrow("load: a source must be a path");
    await expect(load(bytes, { rename: 7 as never })).rejects.toThrow(
      "rename: expected a function or a table, got 7",
    );
    const short = { ...handle, stat: async () => ({ size: bytes.length + 10 }) };
    await expect(load(short)).rejects.toThrow(FormatError);
  });

  it("renames and converts", async () => {
    const halves = writeSafetensors(tensors(), { dtype: "bfloat16" });
    const { tensors: read } = await load(halves, { widen: true, rename: { a: "layer" } });
    expect(read["layer.weight"].toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    await expect(load(halves)).rejects.toThrow("pass { widen: true }");
  });
});

describe("sharded files", () => {
  const first = writeSafetensors({ a: tensor([1]), b: tensor([2]) }, { metadata: { format: "pt" } });
  const second = writeSafetensors({ c: tensor([3]) });
  const map = { a: "part-1.safetensors", b: "part-1.safetensors", c: "part-2.safetensors" };
  const indexOf = (weight_map: unknown) =>
    new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 12 }, weight_map }));
  const shard = (file: string) => (file === "part-1.safetensors" ? first : second);

  it("are read by their index, beside it or where they are said to be", async () => {
    await writeFile(join(dir, "part-1.safetensors"), first);
    await writeFile(join(dir, "part-2.safetensors"), second);
    const path = join(dir, "model.safetensors.index.json");
    await writeFile(path, indexOf(map));
    for (const read of [
      await load(path),
      await load(pathToFileURL(path)),
      await load(indexOf(map), { shard }),
    ]) {
      expect(asArrays(read)).toEqual({ a: [1], b: [2], c: [3] });
      expect({ ...read.metadata }).toEqual({ format: "pt" });
    }
  });

  it.each<[string, unknown, string]>([
    ["has no map", undefined, "an index needs a weight_map"],
    ["reaches into other folders", { a: "../part-1.safetensors" }, 'got "../part-1.safetensors" for "a"'],
    ["reaches for an address", { a: "http://host/part-1.safetensors" }, "beside it"],
    ["names something else", { a: 7 }, 'got 7 for "a"'],
    [
      "names a tensor that its part lacks",
      { z: "part-1.safetensors" },
      'a part lacks a tensor of the index, got "z" of "part-1.safetensors"',
    ],
  ])("are refused where the index %s", async (_, weightMap, message) => {
    await expect(load(indexOf(weightMap), { shard })).rejects.toThrow(FormatError);
    await expect(load(indexOf(weightMap), { shard })).rejects.toThrow(message);
  });

  it("cannot be an index again", async () => {
    const index = indexOf({ a: "self.safetensors" });
    await expect(load(index, { shard: () => index })).rejects.toThrow(FormatError);
  });

  it("need to be said where they are when the index is bytes", async () => {
    await expect(load(indexOf(map))).rejects.toThrow(
      "the parts of a sharded file are unknown, got Uint8Array; pass shard",
    );
  });
});

describe("saveSharded", () => {
  const shared = tensor([1, 2, 3]);
  const record = () => ({
    a: shared,
    b: tensor([4]),
    c: tensor([5, 6]),
    d: tensor(new Float32Array(10)),
    head: shared.detach(),
  });

  it("writes parts of at most the size asked for, and an index that load reads, ties included", async () => {
    const path = join(dir, "model.safetensors.index.json");
    await saveSharded(path, record(), { shardBytes: 16, metadata: { format: "pt" } });
    const part = (n: number) => `model-0000${n}-of-00003.safetensors`;
    expect((await readdir(dir)).sort()).toEqual([part(1), part(2), part(3), "model.safetensors.index.json"]);
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual({
      metadata: { total_size: 64 },
      weight_map: { a: part(1), b: part(1), c: part(2), d: part(3) },
    });
    const { tensors: read, metadata } = await load(path);
    expect(asArrays({ tensors: read })).toEqual(asArrays({ tensors: record() }));
    expect(read.head).toBe(read.a);
    expect({ ...metadata }).toEqual({ format: "pt" });
  });

  it("keeps the bits of parameters that lie packed, ties of them included", async () => {
    const draw = (shape: number[], seed: number, size = 1) =>
      randn(shape, { rng: new Rng(seed) })
        .less(0)
        .where(-size, size)
        .to("float32");
    const make = (seed: number) => {
      const signed = new Parameter(draw([11, 7], seed), { store: signs });
      const layers = [new Linear(7, 11), new Linear(11, 7), new Linear(7, 11)];
      layers[0].weight = layers[2].weight = signed;
      layers[1].weight = new Parameter(draw([7, 11], seed + 1, 2), { store: { bits: 3, signed: true } });
      return { layers, few: new Parameter(draw([3], seed + 2), { store: signs }) };
    };
    const [model, other] = [make(1), make(4)];
    const path = join(dir, "m.safetensors.index.json");
    await saveSharded(path, model, { shardBytes: 30, dtype: "float16" });
    const { metadata, weight_map: map } = JSON.parse(await readFile(path, "utf8"));
    // 10 and 29 bytes of packed weights, 1 of three signs, and three biases of float16.
    expect(metadata).toEqual({ total_size: 10 + 29 + 1 + 2 * (11 + 7 + 11) });
    expect(new Set(Object.values(map)).size).toBe(4);
    const { tensors: read, metadata: notes } = await load(path, { widen: true });
    expect({ ...notes }).toEqual({});
    expect(read["layers.0.weight"].storage.bytes).toBe(10);
    expect(read["layers.2.weight"]).toBe(read["layers.0.weight"]);
    expect(await load(path, { into: other, widen: true })).toBe(other);
    const codes = ({ layers: [a, b, c], few }: ReturnType<typeof make>) =>
      [a.weight, b.weight, c.weight, few].map(({ store, value }) => [store, [...value.data]]);
    expect(codes(other)).toEqual(codes(model));
  });

  it("refuses paths of another ending and sizes that are none", async () => {
    await expect(saveSharded(join(dir, "model.safetensors"), record())).rejects.toThrow(
      "must end in .safetensors.index.json",
    );
    const path = join(dir, "m.safetensors.index.json");
    await expect(saveSharded(path, record(), { shardBytes: 0 })).rejects.toThrow(
      "shardBytes must be positive, got 0",
    );
    expect(await readdir(dir)).toEqual([]);
  });
});

describe("the browser's platform", () => {
  it("reads addresses and has no files to write", async () => {
    const url = `data:application/octet-stream;base64,${Buffer.from(writeSafetensors(tensors())).toString("base64")}`;
    const source = await browser.openFile(url);
    expect(asArrays(readSafetensors(await source.read(0, source.size)))).toEqual(values);
    await expect(browser.writeFile("x", [])).rejects.toThrow("a browser has no files to write");
    expect([browser.dataFolder(), browser.cacheFolder(), browser.terminal()]).toEqual([null, null, null]);
  });
});

const folder = process.env.BITGRAD_DATA;

describe.skipIf(!folder)("published weights in BITGRAD_DATA", () => {
  it.each([
    ["mnist-cnn-burn/mnist.safetensors", "conv1.weight", [8, 1, 3, 3]],
    ["mnist-mlp-tinygrad/model.safetensors", "l1.weight", [128, 784]],
    ["resnet-cifar10/resnet20.safetensors", "conv1.weight", [16, 3, 3, 3]],
    ["resnet8-mlperf-tiny/float.safetensors", "fc.weight", [10, 64]],
  ])("%s is read", async (path, name, shape) => {
    const { tensors: read } = await load(`${folder}/weights/${path}`);
    expect(read[name].shape).toEqual(shape);
    expect(read[name].data.every(Number.isFinite)).toBe(true);
  });

  it("int8 weights are read with the types of the file", async () => {
    const { tensors: read } = await load(`${folder}/weights/resnet8-mlperf-tiny/int8.safetensors`);
    expect(new Set(Object.values(read).map(({ dtype }) => dtype))).toEqual(new Set(["int8", "int32"]));
  });
});
