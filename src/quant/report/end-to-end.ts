/** What a whole model's output loses, gathered batch by batch. */

import { OptionError, ShapeError, show, synchronous } from "../../errors.ts";
import { asTensor } from "../../tensor.ts";
import { type Distortion, DistortionSum, logSumOf, quantile } from "./distortion.ts";
import { classesOf, forDivergences, type Output } from "./outputs.ts";

export interface ReportedOutput {
  /** Of the numbers themselves. */
  readonly distortion: Distortion;
  /** KL(float ‖ quantized) of a row of logits in nats: its mean and 99th percentile; null where they are none. */
  readonly kl: { readonly mean: number; readonly p99: number } | null;
  /** The share of rows in which both have the same best class; null where there are no logits. */
  readonly agreement: number | null;
  /** Mean cross entropy in nats, of the float model and of the quantized one, and what it grew by; null without targets. */
  readonly crossEntropy: {
    readonly float: number;
    readonly quantized: number;
    readonly change: number;
  } | null;
}

/** Of a class that cross entropy leaves out. */
const ignored = -100;

export class EndToEnd {
  private readonly op: string;
  private readonly distortion = new DistortionSum();
  private readonly divergences: number[] = [];
  private hasLogits = false;
  private agreeing = 0;
  private counted = 0;
  private float = 0;
  private quantized = 0;
  private targeted = false;

  constructor(op: string) {
    this.op = op;
  }

  /** Rows of logits so far. */
  get rows(): number {
    return this.divergences.length;
  }

  add(float: Output, other: Output, targets: unknown, at: string): void {
    this.distortion.add(float.data, other.data);
    this.hasLogits ||= classesOf(float) > 0;
    const n = classesOf(float);
    forDivergences(this.op, float, other, at, (kl, from) => {
      this.divergences.push(kl);
      if (bestOf(float.data, from, n) === bestOf(other.data, from, n)) this.agreeing++;
    });
    if (targets !== null) this.addEntropies(float, other, targets, at);
  }

  private addEntropies(float: Output, other: Output, given: unknown, at: string): void {
    const { op } = this;
    const targets = asTensor(op, synchronous(op, given, "targets"));
    const n = classesOf(float);
    if (n === 0 || targets.size * n !== float.data.length) {
      throw new ShapeError(
        `${op}: needs one target per row of logits, got ${show(targets.shape)} for ${show(float.shape)} in ${at}`,
      );
    }
    this.targeted = true;
    for (const [row, target] of (targets.data as Int32Array).entries()) {
      if (target === ignored) continue;
      if (!Number.isInteger(target) || target < 0 || target >= n) {
        throw new OptionError(
          `${op}: a target must be a class from 0 to ${n - 1}, or ${ignored} where it does not count, got ${target} in ${at}`,
        );
      }
      this.counted++;
      this.float += logSumOf(float.data, row * n, n) - float.data[row * n + target];
      this.quantized += logSumOf(other.data, row * n, n) - other.data[row * n + target];
    }
  }

  result(): ReportedOutput {
    const { divergences, counted, rows } = this;
    const mean = divergences.reduce((sum, kl) => sum + kl, 0) / Math.max(1, rows);
    const [float, quantized] = [this.float, this.quantized].map((sum) => sum / Math.max(1, counted));
    return {
      distortion: this.distortion.result(),
      kl: this.hasLogits ? { mean, p99: quantile(divergences, 0.99) } : null,
      agreement: this.hasLogits ? (rows === 0 ? 1 : this.agreeing / rows) : null,
      // Of two that are infinite the change is none.
      crossEntropy: this.targeted
        ? { float, quantized, change: float === quantized ? 0 : quantized - float }
        : null,
    };
  }
}

/** The first of the largest logits of a row. */
function bestOf(logits: Output["data"], from: number, n: number): number {
  let best = from;
  for (let i = from + 1; i < from + n; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
