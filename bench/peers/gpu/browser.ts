/** The page in a browser, a browser for each row: what one leaves on the GPU is gone for the next. */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { bundled, isolation, openPages, type Pages, softwareGpu } from "../../../test/browser/pages.ts";
import type { PageReport, PageTask } from "./rows.ts";

/** By these a browser finds the GPU of the machine, if it has one. */
const hardware: readonly string[] = [
  ...["--enable-gpu", "--ignore-gpu-blocklist", "--enable-unsafe-webgpu"],
  ...(process.platform === "linux" ? ["--enable-features=Vulkan", "--use-angle=vulkan"] : []),
];

const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));

const html = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>';

export interface Browser {
  /** Rejects where the browser ends, or no report comes for so long; `turn` is whose turn it was then. */
  visit(task: PageTask, seconds: number): Promise<PageReport>;
  readonly turn: string | null;
  close(): Promise<void>;
}

async function opened(chromium: string, script: string, flags: readonly string[]): Promise<Browser> {
  let current: PageTask | null = null;
  let turn: string | null = null;
  const pages: Pages = await openPages(
    chromium,
    async (path) => {
      if (path === "/row") return { type: "text/html", body: html, headers: isolation };
      if (path === "/page.js") return { type: "text/javascript", body: script, headers: isolation };
      if (path === "/task") return { type: "application/json", body: JSON.stringify(current) };
      if (path.startsWith("/turn/")) {
        turn = decodeURIComponent(path.slice(6));
        return { type: "text/plain", body: "" };
      }
      const file = /^\/ort\/([\w.-]+)$/.exec(path)?.[1];
      if (file === undefined) return null;
      const type = file.endsWith(".wasm") ? "application/wasm" : "text/javascript";
      return { type, body: await readFile(join(ort, file)), headers: isolation };
    },
    flags,
  );
  return {
    async visit(task, seconds) {
      current = task;
      turn = null;
      return (await pages.visit("/row", "/row", seconds)) as PageReport;
    },
    get turn() {
      return turn;
    },
    close: () => pages.close(),
  };
}

const nothing: PageTask = {
  ...{ task: null, sides: [] },
  plan: { rounds: 0, seconds: 0, milliseconds: 0, most: 0 },
};

/** With the machine's GPU, or where it has none or `software` is asked for, with software that stands for one. */
export async function open(chromium: string, software: boolean) {
  const script = await bundled(join(import.meta.dirname, "page.ts"));
  if (!software && process.env.BITGRAD_CHROMIUM_GPU === undefined) {
    const browser = await opened(chromium, script, hardware);
    const found = await browser.visit(nothing, 60).catch(() => null);
    if (found && !found.adapter.software) return { browser, adapter: found.adapter };
    await browser.close();
  }
  const browser = await opened(chromium, script, softwareGpu);
  return { browser, adapter: (await browser.visit(nothing, 60)).adapter };
}
