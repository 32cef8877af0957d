/** What the page asks of its worker, and what the worker tells it. */

import type { RoundedWidth, Variant, Width } from "./widths.ts";

/** What is learned, and from what: a worker serves one of these until it is ended. */
export type Setup =
  | {
      readonly task: "text";
      readonly seed: string;
      readonly text: Uint8Array;
      readonly size: "small" | "large";
    }
  | { readonly task: "digits"; readonly seed: string };

/** A picture of 12×12 numbers and the digit that the reader says it is. */
export interface Drawing {
  readonly pixels: Float32Array;
  readonly digit: number;
}

export interface Begin {
  readonly setup: Setup;
  readonly width: RoundedWidth;
  readonly prompt: string;
  readonly pixels: Float32Array | null;
}

export type Order =
  | {
      readonly type: "train";
      readonly steps: number;
      readonly drawings: readonly Drawing[];
      /** What to begin with; null to go on. */
      readonly begin: Begin | null;
    }
  /** Trains the model through the rounding to the chosen width. */
  | { readonly type: "tune"; readonly steps: number }
  | { readonly type: "stop" }
  | { readonly type: "choose"; readonly width: RoundedWidth }
  | { readonly type: "prompt"; readonly prompt: string }
  /** The drawing as it stands, to be recognised; null where there is none. */
  | { readonly type: "see"; readonly pixels: Float32Array | null }
  /** For the reader to keep, or for the page to run on a GPU. */
  | { readonly type: "file"; readonly width: Width; readonly to: "reader" | "gpu" }
  | {
      readonly type: "open";
      readonly name: string;
      readonly bytes: Uint8Array;
      readonly prompt: string;
      readonly pixels: Float32Array | null;
    };

/** What a packed model is worth and does, the same each time. */
export interface Worth {
  /** The size of its file. */
  readonly bytes: number;
  /** Mean nats a byte on text that it was not trained on, or a picture; null where there is none to try it on. */
  readonly loss: number | null;
  /** The share of test pictures it recognises; null for text. */
  readonly accuracy: number | null;
  /** What it writes behind the prompt; null for pictures. */
  readonly sample: string | null;
  /** The digits it sees in the pictures of the gallery; null for text. */
  readonly guesses: readonly number[] | null;
  /** The share it gives each digit for the drawing; null where there is no drawing. */
  readonly drawing: readonly number[] | null;
}

export interface Shown extends Worth {
  /** Bytes written or pictures seen, a second. */
  readonly perSecond: number;
}

export interface Look extends Shown {
  readonly variant: Variant;
}

/** Pictures that the page shows, with their digits. */
export interface Gallery {
  readonly pixels: Float32Array;
  readonly digits: Int32Array;
}

export type News =
  | {
      readonly type: "begun";
      readonly weights: number;
      readonly baseline: number;
      readonly gallery: Gallery | null;
      /** Why the fast kernels do not run here; null where they do. */
      readonly slow: string | null;
    }
  | {
      readonly type: "steps";
      readonly variant: Variant;
      /** Where on the curve's axis the first of these losses stands. */
      readonly from: number;
      readonly losses: readonly number[];
      readonly done: number;
      readonly total: number;
      /** Bytes or pictures learned from, a second. */
      readonly perSecond: number;
    }
  | { readonly type: "look"; readonly look: Look }
  /** A run ended, or was stopped; all variants have been looked at. */
  | { readonly type: "rest"; readonly variant: Variant; readonly finished: boolean }
  | {
      readonly type: "file";
      readonly variant: Variant;
      readonly bytes: Uint8Array;
      readonly to: "reader" | "gpu";
    }
  | {
      readonly type: "opened";
      readonly name: string;
      readonly shown: Shown;
      readonly gallery: Gallery | null;
    }
  /** `file` is the name of the one that could not be opened; null where something else failed. */
  | { readonly type: "failed"; readonly file: string | null; readonly message: string };
