/** What both tabs share: train, round, keep. It gives orders to a worker and shows the news. */

import { showCard } from "./card.ts";
import { Chart } from "./chart.ts";
import { Comparison } from "./comparison.ts";
import { count, element, fromTemplate, part, size, speed } from "./dom.ts";
import { FileDrop } from "./file-drop.ts";
import type { Drawing, Gallery, Look, News, Order, Setup } from "./messages.ts";
import { GpuSwitch } from "./on-gpu.ts";
import { bitsOf, nameOf, roundedWidths, type Variant } from "./widths.ts";
import BenchWorker from "./worker.ts?worker&inline";

/** What a tab brings: its inputs, and what they say. */
export interface Tab {
  readonly inputs: DocumentFragment;
  /** What its numbers mean. */
  readonly meaning: DocumentFragment;
  /** Steps to choose among; the third is chosen. */
  readonly lengths: readonly number[];
  /** How many steps training through the rounding takes, for one of training. */
  readonly tuning: number;
  readonly words: {
    readonly baseline: string;
    readonly worth: string;
    readonly unit: string;
    readonly file: string;
  };
  setup(seed: string): Setup;
  prompt(): string;
  drawings(): readonly Drawing[];
  /** The drawing as it stands, or null. */
  pixels(): Float32Array | null;
  /** Inputs that stay as they are while there is a model. */
  readonly fixed: readonly (HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement)[];
}

const titleOf = ({ width, tuned }: Variant): string =>
  tuned ? `${bitsOf(width)}, trained through the rounding` : `Rounded to ${bitsOf(width)}`;

type State = "fresh" | "training" | "tuning" | "resting";

export class Bench {
  private readonly root: HTMLElement;
  private readonly tab: Tab;
  private readonly chart: Chart;
  private readonly comparison: Comparison;
  private readonly files: FileDrop;
  private readonly gpu: GpuSwitch;
  private readonly slider: HTMLInputElement;
  private worker: Worker;
  private state: State = "fresh";
  private finished = true;
  private begun = false;
  private gallery: Gallery | null = null;

  constructor(root: HTMLElement, tab: Tab) {
    this.root = root;
    this.tab = tab;
    root.append(fromTemplate("bench"));
    part(root, "inputs").append(tab.inputs);
    part(root, "meaning").append(tab.meaning);
    this.chart = new Chart(part(root, "chart"));
    this.comparison = new Comparison(part(root, "comparison"), tab.words.worth, `${tab.words.unit}/s`);
    this.slider = part(root, "slider");
    const steps = part<HTMLSelectElement>(root, "steps");
    for (const length of tab.lengths)
      steps.add(new Option(`${count(length)} steps`, String(length), false, length === tab.lengths[2]));
    this.worker = this.hire();
    this.files = new FileDrop(part(root, "open"), (bytes, name) =>
      this.order({ type: "open", name, bytes, prompt: tab.prompt(), pixels: tab.pixels() }),
    );
    this.gpu = new GpuSwitch(root, () => this.askForGpu());
    this.listen();
    this.render();
  }

  /** Asks what the models make of another prompt, or of the drawing as it stands. */
  ask(order: Extract<Order, { type: "prompt" | "see" }>): void {
    if (this.state === "fresh") return;
    this.order(order);
    if (order.type === "prompt") this.askForGpu();
  }

  private get width() {
    return roundedWidths[Number(this.slider.value)];
  }

  private hire(): Worker {
    const worker = new BenchWorker();
    worker.addEventListener("message", ({ data }: MessageEvent<News>) => this.hear(data));
    worker.addEventListener("error", ({ message }) =>
      this.say(`The worker failed: ${message || "it did not start"}.`),
    );
    return worker;
  }

  private order(order: Order): void {
    this.worker.postMessage(order);
  }

  private listen(): void {
    const on = (name: string, event: string, act: () => void) =>
      part(this.root, name).addEventListener(event, act);
    on("train", "click", () => this.train());
    on("tune", "click", () => {
      this.go("tuning", `Training through the rounding to ${bitsOf(this.width)}.`);
      this.order({ type: "tune", steps: Math.ceil(this.steps * this.tab.tuning) });
    });
    on("stop", "click", () => this.order({ type: "stop" }));
    on("reset", "click", () => this.reset());
    on("slider", "input", () => {
      this.render();
      if (this.state === "fresh") return;
      this.order({ type: "choose", width: this.width });
      this.askForGpu();
    });
    on("save-float", "click", () => this.order({ type: "file", width: "32", to: "reader" }));
    on("save-rounded", "click", () => this.order({ type: "file", width: this.width, to: "reader" }));
  }

  /** The chosen model, as it rests. */
  private askForGpu(): void {
    this.gpu.clear();
    if (this.gpu.on && this.state === "resting") this.order({ type: "file", width: this.width, to: "gpu" });
  }

  private get steps(): number {
    return Number(part<HTMLSelectElement>(this.root, "steps").value);
  }

  private train(): void {
    const { tab, width } = this;
    const seed = part<HTMLInputElement>(this.root, "seed").value;
    const fresh = this.state === "fresh";
    const begin = fresh
      ? { setup: tab.setup(seed), width, prompt: tab.prompt(), pixels: tab.pixels() }
      : null;
    this.chart.drop("tuned");
    this.comparison.clear();
    this.go("training", "Training.");
    this.order({ type: "train", steps: this.steps, drawings: tab.drawings(), begin });
  }

  /** Ends the worker, whatever it does, and begins anew. */
  private reset(): void {
    this.worker.terminate();
    this.worker = this.hire();
    this.chart.clear();
    this.comparison.clear();
    for (const name of ["float", "rounded"]) {
      part(part(this.root, name), "facts").replaceChildren();
      part(part(this.root, name), "does").replaceChildren();
    }
    part(this.root, "pace").textContent = "";
    part<HTMLProgressElement>(this.root, "progress").value = 0;
    this.finished = true;
    this.begun = false;
    this.go("fresh", "Ready to begin anew.");
  }

  private go(state: State, said: string): void {
    this.state = state;
    if (state !== "resting") this.gpu.clear();
    this.say(said);
    this.render();
  }

  /** Read out by screen readers, so that only what matters is said. */
  say(text: string): void {
    part(this.root, "status").textContent = text;
  }

  private hear(news: News): void {
    switch (news.type) {
      case "begun":
        this.begun = true;
        this.gallery = news.gallery;
        this.chart.setBaseline(news.baseline, this.tab.words.baseline);
        part(this.root, "weights").textContent = `The model has ${count(news.weights)} weights.`;
        if (news.slow) this.say(`This browser runs plain loops, which are slow: ${news.slow}`);
        break;
      case "steps":
        this.progress(news);
        break;
      case "look":
        this.look(news.look);
        break;
      case "rest":
        this.finished = news.finished;
        this.go("resting", `${news.finished ? "Done" : "Stopped"}: ${this.summary()}`);
        this.askForGpu();
        break;
      case "file":
        if (news.to === "gpu") this.runOnGpu(news.variant, news.bytes);
        else this.save(news.variant, news.bytes);
        break;
      case "opened":
        this.files.show(news.name, news.shown, news.gallery);
        break;
      case "failed":
        // A file that cannot be opened is the file's affair.
        if (news.file !== null) this.files.fail(news.file, news.message);
        else this.go(this.begun ? "resting" : "fresh", news.message);
    }
  }

  private progress({
    variant,
    from,
    losses,
    done,
    total,
    perSecond,
  }: Extract<News, { type: "steps" }>): void {
    const name = variant.tuned ? titleOf(variant) : bitsOf(variant.width);
    this.chart.add(
      name,
      variant.tuned ? "tuned" : "float",
      from,
      losses,
      from + losses.length - done + total,
    );
    const bar = part<HTMLProgressElement>(this.root, "progress");
    bar.max = total;
    bar.value = done;
    const pace = `Step ${count(done)} of ${count(total)}, ${speed(perSecond)} ${this.tab.words.unit} a second.`;
    part(this.root, "pace").textContent = pace;
  }

  private look(look: Look): void {
    const { width } = look.variant;
    this.comparison.set(look);
    if (width === "32") showCard(part(this.root, "float"), look, this.gallery, null);
    if (width !== this.width || this.comparison.best(width) !== look) return;
    const card = part(this.root, "rounded");
    part(card, "name").textContent = titleOf(look.variant);
    showCard(card, look, this.gallery, this.comparison.get({ width: "32", tuned: false }));
  }

  private runOnGpu(variant: Variant, bytes: Uint8Array): void {
    const look = this.comparison.get(variant);
    if (look && this.gpu.on) void this.gpu.run(bytes, this.tab.prompt(), look, this.gallery);
  }

  private summary(): string {
    const told = (variant: Variant) => {
      const look = this.comparison.get(variant);
      if (!look) return "";
      return `${nameOf(variant)}: ${size(look.bytes)}, ${this.tab.words.worth} ${this.comparison.worth(look)}`;
    };
    const best = this.comparison.best(this.width);
    return `${[told({ width: "32", tuned: false }), best ? told(best.variant) : ""].filter(Boolean).join("; ")}.`;
  }

  private save(variant: Variant, bytes: Uint8Array): void {
    const name = `${this.tab.words.file}-${nameOf(variant).replaceAll(/[^\d.a-z]+/g, "-")}.safetensors`;
    const href = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
    element("a", { href, download: name }).click();
    this.say(`Saved ${name}, ${count(bytes.length)} bytes.`);
    // The browser reads it after this task.
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }

  /** What follows from the state and the slider. */
  private render(): void {
    const { root, state, tab, slider } = this;
    const bits = bitsOf(this.width);
    const busy = state === "training" || state === "tuning";
    const enable = (name: string, on: boolean) => {
      part<HTMLButtonElement>(root, name).disabled = !on;
    };
    enable("train", !busy);
    enable("stop", busy);
    enable("reset", state !== "fresh");
    enable("tune", state === "resting");
    enable("save-float", state === "resting");
    enable("save-rounded", state === "resting");
    part<HTMLInputElement>(root, "seed").disabled = state !== "fresh";
    for (const input of tab.fixed) input.disabled = state !== "fresh";
    part(root, "train").textContent = state === "fresh" ? "Train" : this.finished ? "Train more" : "Go on";
    part(root, "tune").textContent = `Train through the rounding to ${bits}`;
    part(root, "save-rounded").textContent = `Download the model of ${bits}`;
    part(root, "bits").textContent = bits;
    slider.setAttribute("aria-valuetext", bits);
    const shown = this.comparison.best(this.width)?.variant ?? { width: this.width, tuned: false };
    part(part(root, "rounded"), "name").textContent = titleOf(shown);
    root.dataset.state = state;
  }
}
