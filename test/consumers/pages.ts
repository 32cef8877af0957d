/** Bundles, run in Node and in pages of Chromium. */

import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { findChromium, isolation, openPages } from "../browser/pages.ts";
import { run } from "../package/tarball.ts";
import { type Bundler, bundlers } from "./bundlers.ts";
import { type Consumer, Missing, type Report, reportOf } from "./consumer.ts";

function inNode(bundler: Bundler): Consumer {
  return {
    name: `${bundler.name}, run in Node`,
    threads: 2,
    async use(place) {
      const { folder, script, version } = await bundler.bundle(place, "node");
      const report = reportOf(await run(process.execPath, [script], folder));
      return { versions: { [bundler.name]: version }, report };
    },
  };
}

interface Situation {
  readonly says: string;
  readonly worker: boolean;
  readonly threads: 1 | 2;
  readonly headers: Readonly<Record<string, string>>;
}

const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src blob:",
  "connect-src 'self'",
].join("; ");

const situations: readonly Situation[] = [
  { says: "an isolated page", worker: false, threads: 2, headers: isolation },
  { says: "a plain page", worker: false, threads: 1, headers: {} },
  { says: "a worker of an isolated page", worker: true, threads: 2, headers: isolation },
  {
    says: "an isolated page with a strict policy",
    worker: false,
    threads: 2,
    headers: { ...isolation, "Content-Security-Policy": policy },
  },
];

const types: Readonly<Record<string, string>> = { ".js": "text/javascript", ".html": "text/html" };

function inPage(bundler: Bundler, { says, worker, threads, headers }: Situation): Consumer {
  return {
    name: `${bundler.name}, ${says}`,
    threads,
    async use(place) {
      const chromium = findChromium();
      if (chromium === null) throw new Missing("there is no Chromium; BITGRAD_CHROMIUM may name one");
      const { folder, script, version } = await bundler.bundle(place, worker ? "worker" : "page");
      const page = `<!doctype html><script type="module" src="/${script}"></script>`;
      const pages = await openPages(chromium, async (path) => {
        const type = types[extname(path)] ?? "text/html";
        if (path === "/") return { type, body: page, headers };
        const body = await readFile(join(folder, path)).catch(() => null);
        return body && { type, body, headers };
      });
      try {
        const report = (await pages.visit("/", "/report")) as Report;
        const said = execFileSync(chromium, ["--version"], { encoding: "utf8", stdio: "pipe" });
        const [number = said.trim()] = /[\d.]+/.exec(said) ?? [];
        return { versions: { [bundler.name]: version, Chromium: number }, report };
      } finally {
        await pages.close();
      }
    },
  };
}

export const bundles: readonly Consumer[] = bundlers.flatMap((bundler) => [
  inNode(bundler),
  ...situations.map((situation) => inPage(bundler, situation)),
]);
