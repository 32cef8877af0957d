import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type BitgradError, FormatError, OptionError, tensor } from "bitgrad";
import { mnist, text } from "bitgrad/data";
import { load, save, saveSharded, writeSafetensors } from "bitgrad/io";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { platform as browser } from "../../src/data/platform.browser.ts";
import { platform } from "../../src/data/platform.node.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bitgrad-"));
});
afterEach(() => rm(dir, { recursive: true }));

const model = { a: tensor([1, 2]) };
const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error as BitgradError,
  );

/** Paths that no file system takes, and the code that it refuses them with. */
const paths: [string, string][] = [
  ["n".repeat(300), "ENAMETOOLONG"],
  ["a\0b", "ERR_INVALID_ARG_VALUE"],
  ["loop/x", "ELOOP"],
];

describe("a path that the system refuses", () => {
  beforeEach(() => symlink(join(dir, "loop"), join(dir, "loop")));

  it.each(paths)("is a typed error with its cause: %j", async (name, code) => {
    const path = join(dir, name);
    const readers = { load: () => load(path), text: () => text(path), mnist: () => mnist({ dir: path }) };
    for (const read of Object.values(readers)) {
      const failure = await failureOf(read());
      expect(failure).toBeInstanceOf(FormatError);
      expect(failure.message).toContain(`a file cannot be read, got ${code} for`);
      expect(failure.cause).toMatchObject({ code });
    }
    const index = `${path}.safetensors.index.json`;
    for (const write of [() => save(path, model), () => saveSharded(index, model)]) {
      const failure = await failureOf(write());
      expect(failure).toBeInstanceOf(FormatError);
      expect(failure.message).toContain(`a file cannot be written, got ${code} for`);
      expect(failure.cause).toMatchObject({ code });
    }
    expect(await readdir(dir)).toEqual(["loop"]);
  });

  it("is a typed error where a folder stands, and nothing is left beside it", async () => {
    await mkdir(join(dir, "folder"));
    const failure = await failureOf(save(join(dir, "folder"), model));
    expect(failure.message).toBe(
      `save: a file cannot be written, got EISDIR for ${JSON.stringify(join(dir, "folder"))}`,
    );
    expect(await failureOf(save("", model))).toBeInstanceOf(FormatError);
    expect(await failureOf(text(dir))).toBeInstanceOf(FormatError);
    await writeFile(join(dir, "file"), "");
    expect(await failureOf(save(join(dir, "file/below"), model))).toBeInstanceOf(FormatError);
    expect((await readdir(dir)).sort()).toEqual(["file", "folder", "loop"]);
  });

  it("is a typed error where an address has no file", async () => {
    expect(await failureOf(load(new URL("ftp://host/model")))).toBeInstanceOf(FormatError);
    expect(await failureOf(save(new URL("http://host/model"), model))).toBeInstanceOf(FormatError);
    expect((await failureOf(load("http://127.0.0.1:1/model"))).message).toContain(
      "load: a file cannot be read, got",
    );
    expect(await failureOf(browser.openFile("http://127.0.0.1:1/model"))).toBeInstanceOf(FormatError);
  });
});

it("save takes every name that a file can have", async () => {
  const path = join(dir, "n".repeat(255));
  await save(path, model);
  expect((await load(path)).tensors.a.toArray()).toEqual([1, 2]);
  expect(await readdir(dir)).toHaveLength(1);
});

describe("a source that fails while it is read", () => {
  const denied = Object.assign(new Error("denied"), { code: "EACCES" });
  const fail = () => Promise.reject(denied);

  it("is a typed error with its cause", async () => {
    const file = { stat: async () => ({ size: 100 }), read: async () => ({ bytesRead: 0 }) };
    for (const source of [{ ...file, stat: fail }, { ...file, read: fail }, { getFile: fail }]) {
      const failure = await failureOf(load(source as never));
      expect(failure).toBeInstanceOf(FormatError);
      expect(failure.message).toContain("load: a file cannot be read, got EACCES for");
      expect(failure.cause).toBe(denied);
    }
    const response = new Response(new ReadableStream({ start: (stream) => stream.error(denied) }));
    expect((await failureOf(load(response))).cause).toBe(denied);
    const used = new Response("x");
    await used.text();
    expect(await failureOf(load(used))).toBeInstanceOf(FormatError);
  });

  it("passes an abort on as it is", async () => {
    const abort = new DOMException("stop", "AbortError");
    const aborted = new Response(new ReadableStream({ start: (stream) => stream.error(abort) }));
    expect(await failureOf(load(aborted))).toBe(abort);
  });
});

it.each(["a\0.safetensors", "\ud800.safetensors"])("an index may not name a part %j", async (file) => {
  const index = new TextEncoder().encode(JSON.stringify({ weight_map: { a: file } }));
  const failure = await failureOf(load(index, { shard: () => writeSafetensors(model) }));
  expect(failure.message).toContain("an index must name safetensors files beside it");
});

it("an index is read behind a byte order mark", async () => {
  const index = new TextEncoder().encode(`\uFEFF${JSON.stringify({ weight_map: { a: "p.safetensors" } })}`);
  const { tensors } = await load(index, { shard: () => writeSafetensors(model) });
  expect(tensors.a.toArray()).toEqual([1, 2]);
});

it("a stream that is locked is refused", async () => {
  const sink = new WritableStream<Uint8Array>();
  sink.getWriter();
  expect(await failureOf(save(sink, model))).toBeInstanceOf(OptionError);
});

it("a download that cannot be kept says so", async () => {
  await writeFile(join(dir, "file"), "");
  const failure = await failureOf(platform.writeFile(pathToFileURL(join(dir, "file/below")), []));
  expect(failure.message).toMatch(/^save: a file cannot be written, got E\w+ for "file:/);
});
