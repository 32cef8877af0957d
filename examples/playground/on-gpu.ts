/** The switch that runs the chosen model on a GPU too. The script that does is loaded when it is first switched on. */

import { part, speed } from "./dom.ts";
import script from "./gpu.ts?worker&url";
import type { Gallery, Shown } from "./messages.ts";

/** What a model is to do on a GPU: write so many bytes, or see pictures of 12×12 numbers. */
export type GpuTask =
  | { readonly type: "write"; readonly prompt: string; readonly length: number }
  | { readonly type: "see"; readonly pixels: Float32Array };

export interface GpuWork {
  /** The text, or the digits seen. */
  readonly does: string;
  /** Bytes written, or pictures seen. */
  readonly count: number;
  readonly perSecond: number;
  /** What ran it. */
  readonly by: string;
}

export type OnGpu = (bytes: Uint8Array, task: GpuTask) => Promise<GpuWork>;

/** How many bytes a text has that is written there. */
const length = 48;

let loading: Promise<OnGpu> | null = null;

/** A plain script, which loads from a folder too. */
function loaded(): Promise<OnGpu> {
  loading ??= new Promise<OnGpu>((done, failed) => {
    const element = document.createElement("script");
    // While it is worked on, modules are served one by one.
    if (import.meta.hot) element.type = "module";
    element.addEventListener("load", () => done((globalThis as unknown as { onGpu: OnGpu }).onGpu));
    element.addEventListener("error", () => {
      loading = null;
      failed(new Error("Its script could not be loaded."));
    });
    element.src = script;
    document.head.append(element);
  });
  return loading;
}

export class GpuSwitch {
  private readonly root: HTMLElement;
  private readonly input: HTMLInputElement;
  /** The run whose result is awaited; earlier ones are not shown. */
  private last = 0;

  /** `ask` has the file of the chosen model brought to `run`. */
  constructor(root: HTMLElement, ask: () => void) {
    this.root = root;
    this.input = part<HTMLInputElement>(root, "on-gpu");
    this.input.addEventListener("change", () => {
      this.clear();
      if (this.on) ask();
    });
  }

  get on(): boolean {
    return this.input.checked;
  }

  clear(): void {
    this.last++;
    this.say("");
  }

  /** Runs a file, and says whether it does there what `shown` did on the CPU. */
  async run(bytes: Uint8Array, prompt: string, shown: Shown, gallery: Gallery | null): Promise<void> {
    const run = ++this.last;
    this.say("Working on the GPU.");
    const task: GpuTask = gallery
      ? { type: "see", pixels: gallery.pixels }
      : { type: "write", prompt, length };
    let said: string;
    try {
      const { does, count, perSecond, by } = await (await loaded())(bytes, task);
      // A text may end within a character.
      const same = gallery
        ? does === shown.guesses?.join()
        : shown.sample?.startsWith(does.replace(/\ufffd+$/, ""));
      const unit = gallery ? "pictures" : "bytes";
      const result = `${count} ${unit}, ${same ? "the same as" : "others than"} on the CPU`;
      said = `By ${by}: ${result}, at ${speed(perSecond)} a second.`;
    } catch (error) {
      said = `It does not run on a GPU here. ${(error as Error).message}`;
    }
    if (run === this.last) this.say(said);
  }

  private say(text: string): void {
    part(this.root, "gpu-said").textContent = text;
  }
}
