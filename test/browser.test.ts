/**
 * The library in a browser: one page trains, saves and samples under four policies. The browser is that of
 * BITGRAD_CHROMIUM, or the first found under the usual names; without one the tests skip.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { backendInfo } from "bitgrad";
import { build, type Plugin } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type PackedReport, packedReport } from "./browser/packed.ts";

const root = resolve(import.meta.dirname, "..");

function findChromium(): string | null {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  for (const name of [process.env.BITGRAD_CHROMIUM, ...names].filter((name) => name !== undefined)) {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore", timeout: 20_000 });
      return name;
    } catch {}
  }
  return null;
}

const chromium = findChromium();

/** As the browser condition of package.json does in the tarball. */
const browserHalves: Plugin = {
  name: "browser-halves",
  setup({ onLoad }) {
    onLoad({ filter: /\.node\.ts$/ }, async ({ path }) => ({
      contents: await readFile(path.replace(/\.node\.ts$/, ".browser.ts"), "utf8"),
      loader: "ts",
      resolveDir: join(path, ".."),
    }));
  },
};

/** Which headers a page is served with. */
const policies: Record<string, Record<string, string>> = {
  "/plain": {},
  "/isolated": {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  },
  "/blobless": {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'",
  },
  "/strict": { "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'" },
};

interface Report {
  error?: string;
  isolated: boolean;
  sharedMemory: boolean;
  backend: { name: string; reason: string | null };
  /** Of work that asked for two threads. */
  shared: { threads: number; reason: string | null; jobs: number; sameBits: boolean };
  packed: PackedReport;
  losses: number[];
  accuracy: number;
  restored: boolean;
  tokens: number[];
}

describe.skipIf(chromium === null)("in a browser", () => {
  let server: Server;
  let origin = "";
  let home = "";
  let script = "";
  const running = new Set<ChildProcess>();
  const waiting = new Map<string, (report: Report) => void>();

  beforeAll(async () => {
    const bundled = await build({
      entryPoints: [join(root, "test/browser/page.ts")],
      tsconfig: join(root, "tsconfig.json"),
      plugins: [browserHalves],
      bundle: true,
      platform: "browser",
      format: "esm",
      write: false,
      logLevel: "silent",
    });
    script = bundled.outputFiles[0].text;
    home = await mkdtemp(join(tmpdir(), "bitgrad-browser-"));
    server = createServer((request, response) => {
      const path = request.url ?? "";
      if (request.method === "POST") {
        let body = "";
        request.on("data", (part) => {
          body += part;
        });
        request.on("end", () => {
          response.end();
          waiting.get(path)?.(JSON.parse(body));
        });
      } else if (path in policies) {
        response.writeHead(200, { "Content-Type": "text/html", ...policies[path] });
        response.end(`<!doctype html><script type="module" src="/page.js"></script>`);
      } else {
        response.writeHead(path === "/page.js" ? 200 : 404, { "Content-Type": "text/javascript" });
        response.end(path === "/page.js" ? script : "");
      }
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(async () => {
    for (const browser of running) browser.kill("SIGKILL");
    server?.closeAllConnections();
    server?.close();
    await rm(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });

  /** Opens a page and returns what it posts back. */
  async function visit(path: string): Promise<Report> {
    const report = new Promise<Report>((done) => waiting.set(path, done));
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
    const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
    const profile = `--user-data-dir=${join(home, path.slice(1))}`;
    const browser = spawn(chromium!, [...flags, ...quiet, profile, `${origin}${path}`], { stdio: "ignore" });
    running.add(browser);
    const gone = new Promise<void>((done) => browser.once("exit", () => done()));
    try {
      return await Promise.race([
        report,
        gone.then((): never => {
          throw new Error(`${chromium} ended before the page reported`);
        }),
      ]);
    } finally {
      browser.kill("SIGTERM");
      await gone;
      running.delete(browser);
    }
  }

  /** What must hold under every policy. */
  function expectWork(report: Report): void {
    expect(report.error).toBeUndefined();
    expect(report.losses.at(-1)).toBeLessThan(report.losses[0] / 2);
    expect(report.accuracy).toBeGreaterThan(0.8);
    expect(report.restored).toBe(true);
    expect(report.tokens).toHaveLength(4);
    expect(report.shared.sameBits).toBe(true);
  }

  /** Packed models compute what they do in Node, to the last bit, and are faster than float32. */
  function expectPacked({ packed }: Report): void {
    expect(packed.digests).toEqual(packedReport().digests);
    expect(packed.equalsFrozen).toEqual(
      Object.fromEntries(Object.keys(packed.digests).map((of) => [of, true])),
    );
    expect(packed.timesFaster).toBeGreaterThan(1);
  }

  it("trains, saves and samples on the SIMD kernels in a page that shares no memory", async () => {
    const report = await visit("/plain");
    expectWork(report);
    expect(report).toMatchObject({ isolated: false, sharedMemory: false, backend: { name: "simd" } });
    expect(report.shared).toMatchObject({
      threads: 1,
      reason: expect.stringMatching(/a page that is not cross-origin isolated/),
    });
    if (backendInfo().name === "simd") expectPacked(report);
  });

  it("shares the heap and work with a thread in a page that is cross-origin isolated", async () => {
    const report = await visit("/isolated");
    expectWork(report);
    expect(report).toMatchObject({ isolated: true, sharedMemory: true, backend: { name: "simd" } });
    expect(report.shared.threads).toBe(2);
    expect(report.shared.jobs).toBeGreaterThan(2);
    if (backendInfo().name === "simd") expectPacked(report);
  });

  it("runs on one thread, and says why, where a content-security policy forbids workers of a blob", async () => {
    const report = await visit("/blobless");
    expectWork(report);
    expect(report).toMatchObject({ isolated: true, sharedMemory: true, backend: { name: "simd" } });
    expect(report.shared).toMatchObject({
      threads: 1,
      reason: expect.stringMatching(/threads do not start here: .*content.security policy/i),
    });
  });

  it("runs on the reference, and says why, where a content-security policy forbids WebAssembly", async () => {
    const report = await visit("/strict");
    expectWork(report);
    expect(report.backend.name).toBe("reference");
    expect(report.backend.reason).toMatch(/^WebAssembly is not allowed here: .*Content Security Policy/s);
  });
});
