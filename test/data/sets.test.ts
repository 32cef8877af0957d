import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { BitgradError, FormatError, Rng } from "bitgrad";
import * as data from "bitgrad/data";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type DataFile, fetchFile } from "../../src/data/sets/fetch-file.ts";

const folder = process.env.BITGRAD_DATA;

describe("fetchFile", () => {
  const content = new TextEncoder().encode("the right bytes ".repeat(1000));
  const packed = gzipSync(content);
  let server: Server;
  let host: string;
  let dir: string;
  let served: string[];

  beforeAll(async () => {
    server = createServer((request, response) => {
      served.push(request.url ?? "");
      if (request.url === "/good.gz")
        response.writeHead(200, { "content-length": packed.length }).end(packed);
      else if (request.url === "/wrong.gz") response.writeHead(200).end(gzipSync("other bytes"));
      else if (request.url === "/endless.gz") {
        response.writeHead(200);
        const more = (): void => {
          if (!response.destroyed) response.write(new Uint8Array(2 ** 20), () => setImmediate(more));
        };
        more();
      } else response.writeHead(404).end();
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(async () => {
    served = [];
    dir = await mkdtemp(join(tmpdir(), "bitgrad-"));
    vi.stubEnv("BITGRAD_DATA", "");
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(dir, { recursive: true });
  });

  const file = (...urls: string[]): DataFile => ({
    path: "set/file.txt.gz",
    bytes: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
    urls: urls.map((url) => host + url),
  });

  it("downloads once, reports progress, checks the unpacked bytes and keeps the file", async () => {
    const progress: [number, number | undefined, string][] = [];
    const onProgress = (...report: [number, number | undefined, string]) => void progress.push(report);
    expect(await fetchFile("set", file("/good.gz"), { dir, onProgress })).toEqual(content);
    expect(progress.at(-1)).toEqual([packed.length, packed.length, "file.txt.gz"]);
    expect(await readdir(join(dir, "set"))).toEqual(["file.txt.gz"]);
    expect(await fetchFile("set", file("/good.gz"), { dir })).toEqual(content);
    expect(served).toEqual(["/good.gz"]);
  });

  it("draws progress on a terminal alone, and not where CI or NO_COLOR is set", async () => {
    const { stderr } = process;
    const drawn: string[] = [];
    const write = vi.spyOn(stderr, "write").mockImplementation((line) => drawn.push(String(line)) > 0);
    const before = Object.getOwnPropertyDescriptor(stderr, "isTTY");
    const run = async (isTTY: boolean, env: Record<string, string>, progress = true): Promise<number> => {
      Object.defineProperty(stderr, "isTTY", { value: isTTY, configurable: true });
      for (const name of ["CI", "NO_COLOR"]) vi.stubEnv(name, env[name] ?? "");
      drawn.length = 0;
      await fetchFile("set", file("/good.gz"), { dir, progress });
      await rm(join(dir, "set"), { recursive: true });
      return drawn.length;
    };
    try {
      expect(await run(true, {})).toBeGreaterThan(1);
      expect(await run(true, {}, false)).toBe(0);
      expect(await run(false, {})).toBe(0);
      expect(await run(true, { CI: "1" })).toBe(0);
      expect(await run(true, { NO_COLOR: "1" })).toBe(0);
    } finally {
      write.mockRestore();
      if (before) Object.defineProperty(stderr, "isTTY", before);
      else Reflect.deleteProperty(stderr, "isTTY");
    }
  });

  it("keeps downloads in the user's cache folder unless told otherwise", async () => {
    vi.stubEnv("XDG_CACHE_HOME", dir);
    await fetchFile("set", file("/good.gz"), {});
    expect(new Uint8Array(await readFile(join(dir, "bitgrad/set/file.txt.gz")))).toEqual(
      new Uint8Array(packed),
    );
  });

  it("goes on to the next address when one fails or serves other bytes", async () => {
    expect(await fetchFile("set", file("/none.gz", "/wrong.gz", "/good.gz"), { dir })).toEqual(content);
    expect(served).toEqual(["/none.gz", "/wrong.gz", "/good.gz"]);
  });

  it("reads the folder of BITGRAD_DATA first, packed or unpacked, and downloads nothing then", async () => {
    vi.stubEnv("BITGRAD_DATA", dir);
    await mkdir(join(dir, "set"));
    await writeFile(join(dir, "set/file.txt"), content);
    expect(await fetchFile("set", file("/good.gz"), {})).toEqual(content);
    expect(served).toEqual([]);
  });

  it("refuses a file of other content, names it and leaves it there", async () => {
    await mkdir(join(dir, "set"));
    await writeFile(join(dir, "set/file.txt.gz"), gzipSync("other bytes"));
    const failure = await fetchFile("set", file("/good.gz"), { dir }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FormatError);
    expect((failure as Error).message).toContain(`of ${dir}/set/file.txt.gz unpacked where`);
    expect(await readdir(join(dir, "set"))).toEqual(["file.txt.gz"]);
  });

  it("keeps nothing of a failed download and says why it failed", async () => {
    const failure = await fetchFile("set", file("/none.gz", "/wrong.gz"), { dir }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "DATA", name: "BitgradError" });
    expect((failure as Error).message).toMatch(/status 404 .* and .*sha256.*; set BITGRAD_DATA to a folder/);
    expect(await readdir(dir)).toEqual([]);
  });

  it("stops a download that is far longer than the file", async () => {
    await expect(fetchFile("set", file("/endless.gz"), { dir })).rejects.toThrow("there are too many bytes");
  });

  it("throws the signal's reason when aborted", async () => {
    const control = new AbortController();
    const pending = fetchFile("set", file("/endless.gz"), { dir, signal: control.signal });
    control.abort(new Error("enough"));
    await expect(pending).rejects.toThrow("enough");
  });
});

describe("named sets", () => {
  it("without an upstream file say that BITGRAD_DATA is needed", async () => {
    vi.stubEnv("BITGRAD_DATA", "");
    vi.stubEnv("XDG_CACHE_HOME", "/nonexistent");
    for (const set of [
      () => data.cifar10Subset(),
      () => data.wikitext2(),
      () => data.tinyStories(),
      () => data.agNews(),
    ]) {
      const failure = await set().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(BitgradError);
      expect((failure as Error).message).toMatch(
        /there is no upstream file to download, got no .*; set BITGRAD_DATA/,
      );
    }
    vi.unstubAllEnvs();
  });

  it("refuse splits and options that they do not have", async () => {
    await expect(data.mnist({ split: "valid" as never })).rejects.toThrow(
      'mnist: no such split, got "valid"; the splits are train, test',
    );
    await expect(data.names({ split: "train" } as never)).rejects.toThrow(
      'names: unknown option, got "split"',
    );
  });
});

describe.skipIf(!folder)("named sets in BITGRAD_DATA", () => {
  const histogram = (y: { data: Int32Array }, classes: number): number[] => {
    const counts = new Array<number>(classes).fill(0);
    for (const label of y.data) counts[label]++;
    return counts;
  };

  it.each([
    ["mnist", data.mnist, "train", [60000, 1, 28, 28], 5],
    ["mnist", data.mnist, "test", [10000, 1, 28, 28], 7],
    ["fashionMnist", data.fashionMnist, "test", [10000, 1, 28, 28], 9],
    ["digits8x8", data.digits8x8, "train", [3823, 1, 8, 8], 0],
    ["digits8x8", data.digits8x8, "test", [1797, 1, 8, 8], 0],
    ["cifar10Subset", data.cifar10Subset, "test", [2000, 3, 32, 32], 2],
  ] as const)("%s has its pictures and ten classes", async (_, set, split, shape, first) => {
    const { x, y } = await set({ split });
    expect(x.shape).toEqual(shape);
    expect(x.dtype).toBe("uint8");
    expect(y.shape).toEqual([shape[0]]);
    expect(y.data[0]).toBe(first);
    expect(Math.min(...histogram(y, 10))).toBeGreaterThan(shape[0] / 15);
  });

  it("the corpora have their sizes", async () => {
    const shakespeare = await data.tinyShakespeare();
    expect(shakespeare).toHaveLength(1_115_394);
    expect(data.charTokenizer(shakespeare).vocabSize).toBe(65);
    const names = await data.names();
    expect(names).toHaveLength(32_033);
    expect(names.every((name) => /^[a-z]+$/.test(name))).toBe(true);
    expect((await data.tinyStories()).split("<|endoftext|>")).toHaveLength(2317);
    expect((await data.wikitext2({ split: "test" })).split("\n")).toHaveLength(4359);
  });

  it("the labelled sentences have their counts and classes", async () => {
    expect((await data.sst2()).text).toHaveLength(6920);
    expect((await data.sst2({ split: "dev" })).text[0]).toBe("one long string of cliches");
    expect(histogram((await data.rtPolarity()).y, 2)).toEqual([5331, 5331]);
    expect(histogram((await data.subj()).y, 2)).toEqual([5000, 5000]);
    expect((await data.trec()).text[0]).toBe("How did serfdom develop in and then leave Russia ?");
    expect(Math.max(...(await data.trec({ split: "test" })).y.data)).toBe(data.trecClasses.length - 1);
    const news = await data.agNews({ split: "test" });
    expect(histogram(news.y, 4)).toEqual([1900, 1900, 1900, 1900]);
    expect(news.title[0]).toBe("Fears for T N pension after talks");
  });

  it("go through a loader as they are", async () => {
    for await (const { x, y } of data.loader(await data.digits8x8(), {
      batch: 100,
      shuffle: true,
      rng: new Rng(1),
    })) {
      expect([x.shape, y.shape]).toEqual([[100, 1, 8, 8], [100]]);
      break;
    }
  });
});

describe("glyphs", () => {
  it("draws the digits of the bitmaps, shifted by at most one pixel and scaled, where there is no noise", () => {
    const { x, y } = data.glyphs({ count: 400, noise: 0 });
    expect([x.shape, y.shape, x.dtype, y.dtype]).toEqual([[400, 144], [400], "float32", "int32"]);
    const one = [4, 12, 4, 4, 4, 4, 14];
    const corners = new Set<string>();
    const levels: number[] = [];
    for (let i = 0; i < 400; i++) {
      const picture = Array.from(x.data.subarray(i * 144, (i + 1) * 144));
      const lit = picture.filter((pixel) => pixel !== 0);
      expect(new Set(lit).size).toBe(1);
      levels.push(lit[0]);
      if (y.data[i] !== 1) continue;
      const at = picture.findIndex((pixel) => pixel !== 0);
      const [row, column] = [Math.floor(at / 12), (at % 12) - 2];
      corners.add(`${row},${column}`);
      const bits = one.map((_, r) =>
        Number.parseInt(
          picture
            .slice((row + r) * 12 + column, (row + r) * 12 + column + 5)
            .map((pixel) => (pixel ? 1 : 0))
            .join(""),
          2,
        ),
      );
      expect(bits).toEqual(one);
    }
    expect([...corners].sort()).toEqual(["1,2", "1,3", "1,4", "2,2", "2,3", "2,4", "3,2", "3,3", "3,4"]);
    expect(Math.min(...levels)).toBeGreaterThanOrEqual(Math.fround(0.6));
    expect(Math.max(...levels)).toBeLessThan(1);
    expect(new Set(y.data).size).toBe(10);
  });

  it("adds noise of the deviation asked for, in turn where several are given", () => {
    const { x } = data.glyphs({ count: 200, noise: [0.08, 0.3] });
    const deviation = (parity: number): number => {
      let sum = 0;
      // The last row and column are never lit.
      for (let i = parity; i < 200; i += 2)
        for (let j = 0; j < 12; j++) sum += x.data[i * 144 + 132 + j] ** 2;
      return Math.sqrt(sum / 1200);
    };
    expect(deviation(0)).toBeCloseTo(0.08, 2);
    expect(deviation(1)).toBeCloseTo(0.3, 1);
  });

  it("is fixed by its seed or generator", () => {
    expect(data.glyphs({ count: 5, seed: 1 })).toEqual(data.glyphs({ count: 5, rng: new Rng(1) }));
    expect(data.glyphs({ count: 5, seed: 2 }).x.data).not.toEqual(data.glyphs({ count: 5, seed: 1 }).x.data);
    expect(data.glyphs({ count: 0 }).x.shape).toEqual([0, 144]);
  });

  it("refuses a seed beside a generator, and counts and noises that are none", () => {
    expect(() => data.glyphs({ count: 1, seed: 1, rng: new Rng(1) })).toThrow(
      "give a seed or a generator, got both",
    );
    for (const rng of [5, null, [1].values()])
      expect(() => data.glyphs({ count: 1, rng: rng as never })).toThrow(/^glyphs: option rng m/);
    expect(() => data.glyphs({ count: -1 })).toThrow("got -1");
    expect(() => data.glyphs({ count: 1, noise: -1 })).toThrow(
      "noise must be finite and not negative, got -1",
    );
    expect(() => data.glyphs({ count: 1, noise: [] })).toThrow("noise must be");
  });
});
