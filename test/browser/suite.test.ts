/**
 * The suite's own files in a browser: in a page, in one that is cross-origin isolated, in a worker, and where a policy
 * forbids WebAssembly. A folder's new files run here too, but for those that are left out, by name and reason.
 * BITGRAD_BROWSER=all takes the long ones as well. Without Chromium it skips.
 */

import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findChromium, isolation, openPages, type Pages } from "./pages.ts";
import { builtSuite } from "./suite/build.ts";
import type { SuiteReport } from "./suite/page.ts";

const chromium = findChromium();
const root = join(import.meta.dirname, "../..");

/** What cannot run in a page, or takes long in it. */
const leftOut: Readonly<Record<string, string>> = {
  "packed/budget": "Buffer",
  "packed/file": "files of its own",
  "packed/versions": "Buffer",
  "packed/order": "process.memoryUsage",
  "packed/any-config": "long",
  "packed/equal": "long",
  "packed/networks": "long",
  "ops/join": "long",
};

const fileOf = (name: string): string => `test/${name}.test.ts`;
const inFolder = (folder: string): string[] =>
  readdirSync(join(root, "test", folder))
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => `${folder}/${file.replace(".test.ts", "")}`)
    .filter(
      (name) => !(name in leftOut) || (process.env.BITGRAD_BROWSER === "all" && leftOut[name] === "long"),
    );

/** Of the files that stand in no folder: what all others rest on. */
const roots = ["autograd", "golden", "ownership", "shape", "shapes-only", "tape", "tensor"];
const ops = [...roots, ...inFolder("ops")];
const packed = inFolder("packed");
const wide = [...ops, "overflow", ...inFolder("nn"), ...inFolder("optim"), ...inFolder("testing")];
/** Parameters lie on a heap that is shared; one that is not may grow, and moves them. */
const onSharedHeap = ["storage"];

const policies: Record<string, Record<string, string>> = {
  "/plain": {},
  "/isolated": isolation,
  "/strict": { "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'" },
};

const unshared = { memory: "unshared", backend: "simd" } as const;
const shared = { memory: "shared", backend: "simd" } as const;
const none = { memory: "none", backend: "reference" } as const;

/** Starts a worker of the scripts that a page of these headers would run. */
const hired = `new Worker("/stdin.js" + location.search, { type: "module" });`;

describe.skipIf(chromium === null)("the suite in a browser", () => {
  let pages: Pages;

  beforeAll(async () => {
    const scripts = await builtSuite([...wide, ...packed, ...onSharedHeap].map(fileOf));
    scripts.set("/hired.js", hired);
    pages = await openPages(chromium!, async (path) => {
      const [at, worker] = path.split("+");
      const headers = policies[at];
      if (headers) {
        const script = worker ? "hired" : "stdin";
        return {
          type: "text/html",
          headers,
          body: `<!doctype html><script type="module" src="/${script}.js"></script>`,
        };
      }
      if (scripts.has(path)) return { type: "text/javascript", body: scripts.get(path)!, headers: isolation };
      if (!/^\/(test|src)\/[\w/-]+\.\w+$/.test(path)) return null;
      return { type: "text/plain", body: await readFile(join(root, path)) };
    });
  });
  afterAll(() => pages?.close());

  it.each<[string, string, string[], Omit<SuiteReport, "files">]>([
    ["a page", "/plain", wide, { isolated: false, worker: false, ...unshared }],
    [
      "an isolated page",
      "/isolated",
      [...ops, ...onSharedHeap],
      { isolated: true, worker: false, ...shared },
    ],
    ["a worker", "/plain+worker", [...roots, ...packed], { isolated: false, worker: true, ...unshared }],
    [
      "an isolated worker",
      "/isolated+worker",
      [...roots, ...onSharedHeap],
      { isolated: true, worker: true, ...shared },
    ],
    [
      "a page that may not compile WebAssembly",
      "/strict",
      roots,
      { isolated: false, worker: false, ...none },
    ],
  ])(
    "passes in %s",
    async (_, path, names, about) => {
      const asked = names.map(fileOf);
      const query = new URLSearchParams({ files: asked.join(",") });
      const { files, ...found } = (await pages.visit(`${path}?${query}`, "/report")) as SuiteReport;
      expect(found).toEqual(about);
      expect(files.map(({ file }) => file)).toEqual(asked);
      expect(Object.assign({}, ...files.map(({ failed }) => failed))).toEqual({});
      expect(files.flatMap(({ skipped }) => skipped)).toEqual([]);
      for (const { file, passed } of files) expect(passed, file).toBeGreaterThan(0);
    },
    130_000,
  );
});
