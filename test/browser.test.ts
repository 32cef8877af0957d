/**
 * The library in a browser: one page trains, saves and samples under four policies. The browser is that of
 * BITGRAD_CHROMIUM, or the first found under the usual names; without one the tests skip.
 */

import { backendInfo } from "bitgrad";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type PackedReport, packedReport } from "./browser/packed.ts";
import { bundled, findChromium, isolation, openPages, type Pages } from "./browser/pages.ts";

const chromium = findChromium();

/** Which headers a page is served with. */
const policies: Record<string, Record<string, string>> = {
  "/plain": {},
  "/isolated": isolation,
  "/blobless": {
    ...isolation,
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
  let pages: Pages;

  beforeAll(async () => {
    const script = await bundled("page.ts");
    const page = `<!doctype html><script type="module" src="/page.js"></script>`;
    pages = await openPages(chromium!, (path) => {
      if (path in policies) return { type: "text/html", body: page, headers: policies[path] };
      return path === "/page.js" ? { type: "text/javascript", body: script } : null;
    });
  });
  afterAll(() => pages?.close());

  const visit = async (path: string): Promise<Report> => (await pages.visit(path)) as Report;

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
