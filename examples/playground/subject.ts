/** What the text and the digits do not share: the model, its data, and what it is worth. */

import type { Rng, Tensor } from "bitgrad";
import type { PackedModel } from "bitgrad/packed";
import type { Plan } from "bitgrad/quant";
import type { Drawing, Gallery, Worth } from "./messages.ts";
import type { RoundedWidth } from "./widths.ts";

export interface Batch {
  readonly x: Tensor;
  readonly y: Tensor;
}

export interface Model {
  forward(x: Tensor): Tensor;
}

export interface Subject {
  model(rng: Rng): Model;
  /** Batches, epoch after epoch, of the built-in data and the reader's drawings. */
  batches(rng: Rng, drawings: readonly Drawing[]): AsyncIterable<Batch>;
  plan(width: RoundedWidth): Plan;
  /** Learning rates of the training, and of that through the rounding. */
  readonly rates: { readonly train: number; readonly tune: number };
  /** Bytes of text or pictures in a batch. */
  readonly perBatch: number;
  /** The loss of a model that knows only how often each answer occurs. */
  readonly baseline: number;
  readonly gallery: Gallery | null;
  /** What a model of a file of so many bytes is worth. */
  show(model: PackedModel, bytes: number): Worth;
  /** Has the model work, to be timed: how many bytes it wrote or pictures it saw. */
  run(model: PackedModel): number;
}
