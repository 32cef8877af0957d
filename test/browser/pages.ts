/** Pages of a server of our own, opened in Chromium, that post what they found. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build, type Plugin } from "esbuild";

/** The browser of BITGRAD_CHROMIUM, or the first found under the usual names, or null. */
export function findChromium(): string | null {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  for (const name of [process.env.BITGRAD_CHROMIUM, ...names].filter((name) => name !== undefined)) {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore", timeout: 20_000 });
      return name;
    } catch {}
  }
  return null;
}

/** As the browser condition of package.json does in the tarball. */
export const browserHalves: Plugin = {
  name: "browser-halves",
  setup({ onLoad }) {
    onLoad({ filter: /\.node\.ts$/ }, async ({ path }) => ({
      contents: await readFile(path.replace(/\.node\.ts$/, ".browser.ts"), "utf8"),
      loader: "ts",
      resolveDir: join(path, ".."),
    }));
  },
};

/** A program of this folder, or by its whole path, as a page loads it. */
export async function bundled(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [resolve(import.meta.dirname, file)],
    tsconfig: join(import.meta.dirname, "../../tsconfig.json"),
    plugins: [browserHalves],
    bundle: true,
    platform: "browser",
    format: "esm",
    write: false,
    logLevel: "silent",
  });
  return outputFiles[0].text;
}

/** How it is started: without a window, and asking nothing of any network. */
export const flags: readonly string[] = [
  ...["--headless", "--no-sandbox", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

/**
 * With software that stands for a GPU, or what BITGRAD_CHROMIUM_GPU says: the flags by which a browser finds a real
 * one, or a driver of software of one's own.
 */
export const softwareGpu: readonly string[] = process.env.BITGRAD_CHROMIUM_GPU?.split(" ") ?? [
  ...["--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  ...["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"],
];

/** Headers that isolate a page, so that it may share memory with its workers. */
export const isolation: Readonly<Record<string, string>> = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export interface Answer {
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Pages {
  /**
   * Opens a page and returns the JSON that it posts, to its own path unless told otherwise. Throws, with what the page
   * printed, when the browser ends before, or two minutes have passed, or so many seconds.
   */
  visit(path: string, reportsTo?: string, seconds?: number): Promise<unknown>;
  close(): Promise<void>;
}

/** `answer` gives what lies at a path, or null. */
export async function openPages(
  chromium: string,
  answer: (path: string) => Answer | null | Promise<Answer | null>,
  gpu: readonly string[] = ["--disable-gpu"],
): Promise<Pages> {
  const home = await mkdtemp(join(tmpdir(), "bitgrad-browser-"));
  const running = new Set<ChildProcess>();
  const waiting = new Map<string, (report: unknown) => void>();
  let visits = 0;
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    if (request.method === "POST") {
      let body = "";
      for await (const part of request) body += part;
      response.end();
      waiting.get(path)?.(JSON.parse(body));
      return;
    }
    const found = await answer(path);
    response.writeHead(found ? 200 : 404, { "Content-Type": found?.type ?? "text/plain", ...found?.headers });
    response.end(found?.body ?? "");
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    async visit(path, reportsTo = path, seconds = 120) {
      const report = new Promise<unknown>((done) => waiting.set(reportsTo, done));
      const profile = `--user-data-dir=${join(home, `profile-${visits++}`)}`;
      const args = [...flags, ...gpu, "--enable-logging=stderr", profile, `${origin}${path}`];
      const browser = spawn(chromium, args, { stdio: ["ignore", "ignore", "pipe"] });
      let printed = "";
      browser.stderr.on("data", (part) => {
        printed += part;
      });
      running.add(browser);
      const gone = new Promise<void>((done) => browser.once("exit", () => done()));
      const timer = setTimeout(() => browser.kill("SIGKILL"), 1e3 * seconds);
      try {
        return await Promise.race([
          report,
          gone.then((): never => {
            const said = printed.split("\n").filter((line) => line.includes("CONSOLE"));
            throw new Error(`${chromium} ended before ${path} reported\n${said.join("\n")}`);
          }),
        ]);
      } finally {
        clearTimeout(timer);
        browser.kill("SIGTERM");
        await gone;
        running.delete(browser);
      }
    },
    async close() {
      for (const browser of running) browser.kill("SIGKILL");
      server.closeAllConnections();
      server.close();
      await rm(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}
