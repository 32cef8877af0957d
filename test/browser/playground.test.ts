/**
 * The playground in a browser, as static files under its strict policy: trains, rounds, trains through the rounding, and
 * gives a file that does the same when it is dropped in again. Without Chromium it skips.
 */

import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import config, { policy } from "../../examples/playground/vite.config.ts";
import { Browser, type Page } from "./devtools.ts";
import { findChromium, softwareGpu } from "./pages.ts";

const chromium = findChromium();
const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

describe.skipIf(chromium === null)("the playground", () => {
  let home = "";
  let server: Server;
  let origin = "";
  let browser: Browser;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "bitgrad-playground-"));
    await build({
      ...config,
      configFile: false,
      logLevel: "error",
      build: { ...config.build, outDir: join(home, "site") },
    });
    server = createServer(async (request, response) => {
      const path = request.url === "/" ? "/index.html" : request.url!;
      const body = await readFile(join(home, "site", path)).catch(() => null);
      const type = types[extname(path)] ?? "application/octet-stream";
      response.writeHead(body ? 200 : 404, { "Content-Type": type, "Content-Security-Policy": policy });
      response.end(body);
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await Browser.start(chromium!, home, softwareGpu);
  });

  afterAll(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
    await rm(home, { recursive: true, force: true });
  });

  /** A part of the open tab, as an expression of the page. */
  const part = (name: string) =>
    `document.querySelector('[role=tabpanel]:not([hidden]) [data-part="${name}"]')`;
  const state = "document.querySelector('[role=tabpanel]:not([hidden])').dataset.state";
  const text = (page: Page, name: string) => page.evaluate<string>(`${part(name)}.textContent`);
  const press = (page: Page, name: string) => page.evaluate(`${part(name)}.click()`);
  const slide = (page: Page, to: number) =>
    page.evaluate(`${part("slider")}.value = ${to}, ${part("slider")}.dispatchEvent(new Event("input"))`);

  async function open(url = origin, by = browser): Promise<Page> {
    const page = await by.open(url);
    await page.until(`document.readyState === "complete" && ${state} === "fresh"`);
    return page;
  }

  /** Drops a file, of bytes as base64, as a reader does with a mouse. */
  const drop = `(base64, name) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    ${part("open")}.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
  }`;

  /** Trains for one of the lengths, the shortest unless told otherwise. */
  async function train(page: Page, length = 0): Promise<void> {
    await page.evaluate(`${part("steps")}.selectedIndex = ${length}`);
    await press(page, "train");
    await page.until(`${state} === "resting"`);
  }

  async function expectToFit(page: Page): Promise<void> {
    for (const width of [360, 1200]) {
      await page.resize(width, 900);
      const [needed, given] = await page.evaluate<[number, number]>(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
      );
      expect(needed, `at ${width} pixels`).toBeLessThanOrEqual(given);
    }
  }

  /** Downloads the model of the slider's width, and the name of its file. */
  async function download(page: Page): Promise<string> {
    await press(page, "save-rounded");
    await page.until(`${part("status")}.textContent.startsWith("Saved")`);
    const [, name, bytes] = /^Saved (\S+), ([\d,]+) bytes/.exec(await text(page, "status"))!;
    const path = join(home, name);
    const end = Date.now() + 10_000;
    while ((await stat(path).catch(() => null))?.size !== Number(bytes.replaceAll(",", ""))) {
      if (Date.now() > end) throw new Error(`${path} never came`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return path;
  }

  it("trains a text, rounds it, trains through the rounding, and runs the file it gave", async () => {
    const page = await open();
    await page.evaluate(`${part("text")}.value = ${part("text")}.value.slice(0, 20000)`);
    await train(page);
    const rows = await page.evaluate<string[][]>(
      `Array.from(${part("rows")}.rows, (row) => Array.from(row.cells, (cell) => cell.textContent))`,
    );
    expect(rows.map(([name]) => name)).toEqual(["32 bits", "8 bits", "4 bits", "1.58 bits", "1 bit"]);
    const bytes = rows.map((row) => Number(row[1].replaceAll(",", "")));
    expect([...bytes].sort((a, b) => b - a)).toEqual(bytes);
    expect(bytes[0] / bytes[4]).toBeGreaterThan(8);
    const losses = rows.map((row) => Number(row[2]));
    expect(losses[0]).toBeLessThan(3);
    expect(losses[1] - losses[0]).toBeLessThan(0.02);
    expect(losses[4] - losses[0]).toBeGreaterThan(0.05);

    const samples = new Set<string>();
    for (const width of [0, 1, 2, 3]) {
      await slide(page, width);
      const bits = ["8 bits", "4 bits", "1.58 bits", "1 bit"][width];
      await page.until(`${part("rounded")}.textContent.includes("Rounded to ${bits}")`);
      await page.until(`${part("rounded")}.textContent.includes("${rows[width + 1][1]} bytes")`);
      samples.add(await page.evaluate<string>(`${part("rounded")}.querySelector("pre").textContent`));
    }
    expect(samples.size).toBeGreaterThan(2);
    expect([...samples].every((sample) => sample.startsWith("ROMEO:\n"))).toBe(true);

    await press(page, "tune");
    await page.until(`${state} === "resting"`);
    const tuned = Number(await page.evaluate<string>(`${part("rows")}.rows[5].cells[2].textContent`));
    expect(tuned).toBeLessThan(losses[4]);
    expect(await text(page, "rounded")).toContain("1 bit, trained through the rounding");

    const path = await download(page);
    await page.choose(part("file"), [path]);
    await page.until(`!${part("opened")}.hidden`);
    const sampleOf = (name: string) =>
      page.evaluate<string>(`${part(name)}.querySelector("pre").textContent`);
    expect(await sampleOf("opened")).toBe(await sampleOf("rounded"));
    expect(await text(page, "opened")).toContain("text-1-bit-trained.safetensors");
    await expectToFit(page);
    expect(page.problems).toEqual([]);
  });

  it("trains on digits and a drawing made by keys, and runs a file that is dropped", async () => {
    const page = await open();
    await page.evaluate('document.getElementById("tab-text").focus()');
    await page.press("ArrowRight");
    await page.until(`document.activeElement.id === "tab-digits" && ${state} === "fresh"`);
    await page.evaluate(`${part("pad")}.focus()`);
    expect(await page.evaluate(`${part("add")}.disabled`)).toBe(true);
    // A one, from above.
    for (const key of [" ", ...Array(8).fill("ArrowDown"), " "]) await page.press(key);
    await page.until(`!${part("add")}.disabled`);
    await page.evaluate(`${part("digit")}.value = "1"`);
    await press(page, "add");
    expect(await page.evaluate(`${part("drawings")}.children.length`)).toBe(1);

    await page.evaluate(`${part("pad")}.focus()`);
    for (const key of [" ", ...Array(8).fill("ArrowUp"), " "]) await page.press(key);
    await page.until(`!${part("add")}.disabled`);
    await train(page, 1);
    expect(await text(page, "float")).toContain("Your drawing: 1");
    expect(await page.evaluate(`${part("float")}.querySelectorAll(".gallery li").length`)).toBe(20);

    const path = await download(page);
    const bytes = (await readFile(path)).toString("base64");
    await page.evaluate(`(${drop})("${bytes}", "${basename(path)}")`);
    await page.until(`!${part("opened")}.hidden`);
    const doesOf = (name: string) =>
      page.evaluate<string>(`${part(name)}.querySelector('[data-part="does"]').textContent`);
    expect(await doesOf("opened")).toBe(await doesOf("rounded"));
    expect(await text(page, "opened")).toContain("digits-1-bit.safetensors");

    await page.evaluate(`(${drop})("${bytes.slice(0, 1000)}", "cut.safetensors")`);
    await page.until(`${part("problem")}.textContent.startsWith("cut.safetensors could not be opened.")`);
    await expectToFit(page);
    expect(page.problems).toEqual([]);
  });

  it("stops, goes on, says what is wrong, and begins anew", async () => {
    const page = await open();
    await page.evaluate(`${part("text")}.value = "too short"`);
    await press(page, "train");
    await page.until(`${part("status")}.textContent.includes("at least")`);
    expect(await page.evaluate(state)).toBe("fresh");
    await page.evaluate(`${part("text")}.value = "to be or not to be, ".repeat(500)`);
    await page.evaluate(`${part("steps")}.selectedIndex = 3`);
    await press(page, "train");
    await page.until(`${part("pace")}.textContent.includes("Step")`);
    await press(page, "stop");
    await page.until(`${state} === "resting"`);
    expect(await text(page, "train")).toBe("Go on");
    const stopped = Number((await text(page, "pace")).match(/Step ([\d,]+)/)![1].replaceAll(",", ""));
    expect(stopped).toBeLessThan(3000);
    await press(page, "train");
    await page.until(
      `Number(${part("pace")}.textContent.match(/Step ([\\d,]+)/)[1].replaceAll(",", "")) > ${stopped}`,
    );
    await press(page, "reset");
    expect(await page.evaluate(state)).toBe("fresh");
    expect(page.problems).toEqual([]);
  });

  it("says of each file what is wrong with it, of one that cannot be read too, and of nothing else", async () => {
    const page = await open();
    await page.evaluate(`window.said = [], new MutationObserver(() => said.push(${part("problem")}.textContent))
      .observe(${part("problem")}, { childList: true, subtree: true, characterData: true })`);
    const said = (name: string) =>
      `said.some((text) => text.startsWith(${JSON.stringify(`${name} could not be opened.`)}))`;
    const names = ["a.safetensors", "<img src=x onerror=alert(1)>"];
    await page.evaluate(`${JSON.stringify(names)}.forEach((name) => (${drop})("AAAA", name))`);
    for (const name of names) await page.until(said(name), 5000);
    await page.evaluate("File.prototype.arrayBuffer = () => Promise.reject(new Error('It is a folder.'))");
    await page.evaluate(`(${drop})("AAAA", "folder")`);
    await page.until(said("folder"), 5000);
    expect(await text(page, "problem")).toBe("folder could not be opened. It is a folder.");
    // What fails behind it is not the file's affair.
    await page.evaluate(`${part("text")}.value = "too short"`);
    await press(page, "train");
    await page.until(`${part("status")}.textContent.includes("at least")`, 5000);
    expect(page.problems).toEqual([]);
  });

  /** What the switch says of a run that it has made. */
  async function onGpu(page: Page): Promise<string> {
    await page.until(`/^(By|It does)/.test(${part("gpu-said")}.textContent)`, 60_000);
    return text(page, "gpu-said");
  }
  const scripts =
    "performance.getEntriesByType('resource').filter(({ name }) => name.includes('gpu-')).length";

  it("runs the rounded text model on a GPU, which writes the CPU's text, from its folder too", async () => {
    const page = await open(pathToFileURL(join(home, "site/index.html")).href);
    await page.evaluate(`${part("text")}.value = "to be or not to be, ".repeat(500)`);
    await train(page);
    expect(await page.evaluate(scripts)).toBe(0);
    await press(page, "on-gpu");
    expect(await onGpu(page)).toMatch(/^By WebGPU \(.*software.*\): 48 bytes, the same as on the CPU, at /);
    await slide(page, 0);
    await page.until(`${part("gpu-said")}.textContent.startsWith("Working")`);
    expect(await onGpu(page)).toContain("the same as on the CPU");
    await press(page, "on-gpu");
    expect(await text(page, "gpu-said")).toBe("");
    expect(page.problems).toEqual([]);
  });

  it("sees the same digits on a GPU", async () => {
    const page = await open();
    await page.evaluate('document.getElementById("tab-digits").click()');
    await press(page, "on-gpu");
    await train(page);
    expect(await onGpu(page)).toMatch(
      /^By WebGPU \(.*software.*\): 20 pictures, the same as on the CPU, at /,
    );
    expect(page.problems).toEqual([]);
  });

  it("runs by gpu.js where there is no WebGPU, and says that software stands for a GPU", async () => {
    const without = await Browser.start(chromium!, home, [
      "--use-angle=swiftshader",
      "--enable-unsafe-swiftshader",
    ]);
    try {
      const page = await open(origin, without);
      await page.evaluate('document.getElementById("tab-digits").click()');
      await train(page);
      await press(page, "on-gpu");
      expect(await onGpu(page)).toMatch(
        /^By gpu\.js, mode webgl2 \(.*SwiftShader.*software.*\): 20 pictures, the same as on the CPU, at /,
      );
    } finally {
      await without.close();
    }
  });

  it("says that there is no GPU where there is none", async () => {
    const without = await Browser.start(chromium!, home, ["--disable-gpu", "--disable-3d-apis"]);
    try {
      const page = await open(origin, without);
      await page.evaluate('document.getElementById("tab-digits").click()');
      await train(page);
      await press(page, "on-gpu");
      expect(await onGpu(page)).toMatch(/^It does not run on a GPU here\. openGpu: needs /);
    } finally {
      await without.close();
    }
  });
});
