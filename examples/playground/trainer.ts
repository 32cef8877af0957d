/** Trains a model of a subject, rounds it, trains it on through the rounding, and tells of it. */

import { backendInfo, Rng } from "bitgrad";
import { clone, crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import {
  adamw,
  cosine,
  everything,
  isBias,
  isNorm,
  type Optimizer,
  optimizer,
  type Predicate,
  type Scheduler,
  schedule,
} from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import { freeze, pack, prepare } from "bitgrad/quant";
import * as training from "bitgrad/train";
import type { Drawing, News } from "./messages.ts";
import type { Batch, Model, Subject } from "./subject.ts";
import { speeds } from "./timing.ts";
import { type RoundedWidth, roundedWidths, type Variant, type Width } from "./widths.ts";

/** A model and how far its training came. */
interface Run {
  readonly variant: Variant;
  readonly model: Model;
  readonly optimizer: Optimizer;
  readonly rates: Scheduler;
  readonly batches: AsyncIterable<Batch>;
  /** Where its curve begins. */
  readonly start: number;
  done: number;
  total: number;
}

const float: Variant = { width: "32", tuned: false };

/** What is not decayed. */
const isSmall: Predicate = (...of) => isBias(...of) || isNorm(...of);

/** Looks take about a fifth of the time of training, and come no faster than a reader reads. */
const shareOfLooks = 0.2;
const leastPause = 1500;
/** Milliseconds of timing, for each model, for speeds that readers compare; looks on the way do with a run. */
export const steady = 200;
/** Losses are told this often, in milliseconds. */
const tellEvery = 100;

export class Trainer {
  private readonly subject: Subject;
  private readonly seed: string;
  private readonly tell: (news: News) => void;
  private readonly model: Model;
  private float: Run | null = null;
  private readonly tuned = new Map<RoundedWidth, Run>();
  private drawings: readonly Drawing[] = [];
  private stopping: AbortController | null = null;
  private width: RoundedWidth;

  constructor(subject: Subject, seed: string, width: RoundedWidth, tell: (news: News) => void) {
    this.subject = subject;
    this.seed = seed;
    this.width = width;
    this.tell = tell;
    this.model = subject.model(new Rng(`model ${seed}`));
    const { baseline, gallery } = subject;
    const { name, reason } = backendInfo();
    const slow = name === "simd" ? null : reason;
    tell({ type: "begun", weights: parameterCount(this.model), baseline, gallery, slow });
  }

  /** Goes on with a training that was stopped, or trains for `steps` more. */
  async train(steps: number, drawings: readonly Drawing[]): Promise<void> {
    if (
      this.float === null ||
      this.float.done === this.float.total ||
      drawings.length !== this.drawings.length
    ) {
      this.drawings = drawings;
      this.float = this.begin(float, this.model, steps);
    }
    this.tuned.clear();
    await this.run(this.float);
  }

  /** Trains the model of the chosen width through its rounding. */
  async tune(steps: number): Promise<void> {
    const { width, subject } = this;
    let run = this.tuned.get(width);
    if (!run || run.done === run.total) {
      const model = run?.model ?? prepare(clone(this.model), subject.plan(width));
      run = this.begin({ width, tuned: true }, model, steps);
      this.tuned.set(width, run);
    }
    await this.run(run);
  }

  stop(): void {
    this.stopping?.abort();
  }

  choose(width: RoundedWidth): void {
    this.width = width;
    this.lookAt([this.chosen]);
  }

  /** Tells what the model as trained and the chosen one do now. */
  look(): void {
    this.lookAt([float, this.chosen]);
  }

  /** The file of the model of a width, trained through the rounding where it was. */
  file(width: Width): { variant: Variant; bytes: Uint8Array } {
    const variant = { width, tuned: width !== "32" && this.tuned.has(width) };
    return { variant, bytes: this.fileOf(variant) };
  }

  private get chosen(): Variant {
    return { width: this.width, tuned: this.tuned.has(this.width) };
  }

  private begin(variant: Variant, model: Model, steps: number): Run {
    const { subject, seed } = this;
    const rate = variant.tuned ? subject.rates.tune : subject.rates.train;
    const rule = (weightDecay: number) => adamw({ lr: rate, weightDecay, betas: [0.9, 0.95] });
    const update = optimizer(
      model,
      [
        [isSmall, rule(0)],
        [everything, rule(0.05)],
      ],
      { clipNorm: 1 },
    );
    const start = this.float ? this.float.start + this.float.done : 0;
    return {
      variant,
      model,
      optimizer: update,
      rates: schedule(update, cosine({ warmup: Math.ceil(steps / 20), total: steps, floor: 0.05 })),
      batches: subject.batches(new Rng(`order ${seed} ${variant.width} ${start}`), this.drawings),
      start,
      done: 0,
      total: steps,
    };
  }

  private async run(run: Run): Promise<void> {
    const { subject, tell } = this;
    const { variant } = run;
    this.stopping = new AbortController();
    let untold: number[] = [];
    let told = performance.now();
    let looked = told;
    let pause = leastPause;
    const tellSteps = () => {
      if (untold.length === 0) return;
      const now = performance.now();
      const perSecond = (untold.length * subject.perBatch * 1000) / (now - told);
      const from = run.start + run.done - untold.length;
      tell({ type: "steps", variant, from, losses: untold, done: run.done, total: run.total, perSecond });
      untold = [];
      told = now;
    };
    try {
      await training.fit(run.model, {
        data: run.batches,
        loss: (model, { x, y }) => crossEntropy(model.forward(x), y),
        optimizer: run.optimizer,
        schedule: run.rates,
        steps: run.total - run.done,
        signal: this.stopping.signal,
        onStep: ({ loss }) => {
          untold.push(loss);
          run.done++;
          const now = performance.now();
          if (now - told >= tellEvery) tellSteps();
          if (now - looked < pause) return;
          this.look();
          told = looked = performance.now();
          pause = Math.max(leastPause, (looked - now) / shareOfLooks);
        },
      });
    } finally {
      tellSteps();
      this.stopping = null;
    }
    this.lookAtAll();
    tell({ type: "rest", variant, finished: run.done === run.total });
  }

  /** Every model that there is, for the table. */
  private lookAtAll(): void {
    const rounded = roundedWidths.flatMap((width) =>
      [false, true].filter((tuned) => !tuned || this.tuned.has(width)).map((tuned) => ({ width, tuned })),
    );
    this.lookAt([float, ...rounded], steady * (1 + rounded.length));
  }

  private fileOf({ width, tuned }: Variant): Uint8Array {
    if (width === "32") return pack(evaluate(clone(this.model))).toBytes();
    const model = tuned
      ? clone(this.tuned.get(width)!.model)
      : prepare(clone(this.model), this.subject.plan(width));
    return pack(freeze(evaluate(model))).toBytes();
  }

  /** What is looked at is what the files hold. */
  private lookAt(variants: readonly Variant[], milliseconds = 0): void {
    const { subject, tell } = this;
    const files = variants.map((variant) => this.fileOf(variant));
    const models = files.map((bytes) => loadPacked(bytes));
    const worths = models.map((model, i) => subject.show(model, files[i].length));
    const perSecond = speeds(
      models.map((model) => () => subject.run(model)),
      milliseconds,
    );
    variants.forEach((variant, i) => {
      tell({ type: "look", look: { variant, ...worths[i], perSecond: perSecond[i] } });
      models[i].dispose();
    });
  }
}
