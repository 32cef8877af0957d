/** Drives Chromium over the pipe of its DevTools protocol: one browser, pages, and what goes wrong in them. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { flags } from "./pages.ts";

interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

type Listener = (message: Message) => void;

/** A page that is driven. Expressions are JavaScript that runs in it. */
export class Page {
  /** What the console showed as errors or warnings, exceptions, and what a policy blocked. */
  readonly problems: string[] = [];
  private readonly browser: Browser;
  private readonly session: string;

  constructor(browser: Browser, session: string) {
    this.browser = browser;
    this.session = session;
  }

  send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.browser.send(method, params, this.session);
  }

  /** The value of an expression, awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    const { result, exceptionDetails } = answer as {
      result: { value: T };
      exceptionDetails?: { exception?: { description?: string } };
    };
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? "it failed in the page");
    return result.value;
  }

  /** Waits until an expression is true. */
  async until(expression: string, milliseconds = 30_000): Promise<void> {
    const end = Date.now() + milliseconds;
    while (!(await this.evaluate<boolean>(`Boolean(${expression})`))) {
      if (Date.now() > end) throw new Error(`never true: ${expression}; ${this.problems.join("; ")}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Presses a key, by its name as events have it. */
  async press(key: string): Promise<void> {
    for (const type of ["keyDown", "keyUp"]) await this.send("Input.dispatchKeyEvent", { type, key });
  }

  /** Chooses files in an input that an expression finds. */
  async choose(input: string, files: readonly string[]): Promise<void> {
    const { result } = (await this.send("Runtime.evaluate", { expression: input })) as {
      result: { objectId: string };
    };
    await this.send("DOM.setFileInputFiles", { files, objectId: result.objectId });
  }

  /** The size of the page, in CSS pixels, light or dark. */
  async resize(width: number, height: number, scheme: "light" | "dark" = "light"): Promise<void> {
    const mobile = width < 500;
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
    await this.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }],
    });
  }

  /** The whole page as PNG. */
  async screenshot(): Promise<Uint8Array> {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(data as string, "base64");
  }
}

export class Browser {
  private readonly process: ChildProcess;
  private readonly home: string;
  private readonly waiting = new Map<number, (message: Message) => void>();
  private readonly listeners: Listener[] = [];
  private readonly gone: Promise<void>;
  private asked = 0;

  private constructor(process: ChildProcess, home: string) {
    this.process = process;
    this.home = home;
    this.gone = new Promise((done) => process.once("exit", () => done()));
    void this.gone.then(() => {
      for (const answer of this.waiting.values()) answer({ error: { message: "the browser ended" } });
    });
    let rest = "";
    (process.stdio[4] as Readable).setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\0");
      rest = parts.pop()!;
      for (const part of parts) this.hear(JSON.parse(part));
    });
  }

  /** Starts a browser whose downloads go to `downloads`; `gpu`: flags by which it has a GPU or none. */
  static async start(program: string, downloads: string, gpu: readonly string[] = []): Promise<Browser> {
    const home = await mkdtemp(join(tmpdir(), "bitgrad-chromium-"));
    const child = spawn(program, [...flags, ...gpu, "--remote-debugging-pipe", `--user-data-dir=${home}`], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    const browser = new Browser(child, home);
    await browser.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: downloads });
    return browser;
  }

  async send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.asked;
    const answer = new Promise<Message>((done) => this.waiting.set(id, done));
    (this.process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { result, error } = await answer;
    this.waiting.delete(id);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result!;
  }

  /** Opens a page and collects what goes wrong in it, and in its workers' scripts. */
  async open(url: string): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId as string);
    this.listeners.push((message) => {
      if (message.sessionId === sessionId) note(message, page.problems);
    });
    for (const domain of ["Page", "Runtime", "Log", "DOM"]) await page.send(`${domain}.enable`);
    await page.send("Page.navigate", { url });
    return page;
  }

  async close(): Promise<void> {
    this.process.kill("SIGTERM");
    const late = setTimeout(() => this.process.kill("SIGKILL"), 5000);
    await this.gone;
    clearTimeout(late);
    await rm(this.home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  private hear(message: Message): void {
    if (message.id !== undefined) this.waiting.get(message.id)?.(message);
    else for (const listen of this.listeners) listen(message);
  }
}

function note({ method, params }: Message, problems: string[]): void {
  if (method === "Runtime.exceptionThrown") {
    const { exceptionDetails } = params as {
      exceptionDetails: { text: string; exception?: { description: string } };
    };
    problems.push(exceptionDetails.exception?.description ?? exceptionDetails.text);
  } else if (method === "Log.entryAdded") {
    const { entry } = params as { entry: { level: string; text: string } };
    if (entry.level === "error" || entry.level === "warning") problems.push(entry.text);
  } else if (method === "Runtime.consoleAPICalled") {
    const { type, args } = params as { type: string; args: { value?: unknown; description?: string }[] };
    if (type === "error" || type === "warning")
      problems.push(args.map(({ value, description }) => String(value ?? description)).join(" "));
  }
}
