/** What a library is to the benchmarks: a name, and for each operation it has, a way to make a `Side`. */

import { Rng } from "../../src/random/rng.ts";
import type { Side } from "../pair.ts";

/** A float32 array, row-major. */
export interface Block {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

export type Sizes = readonly [m: number, k: number, n: number];

/** uint8 rows (m, k) by int8 weights (n, k), to int32 or, by scales of powers of two, to uint8. */
export interface IntProblem {
  readonly sizes: Sizes;
  readonly x: Uint8Array<ArrayBuffer>;
  readonly weight: Int8Array<ArrayBuffer>;
  /** Those of rows, weights and output, and the zero point of rows and output; null for the sums. */
  readonly requantize: { readonly scales: readonly [number, number, number]; readonly zero: number } | null;
}

/** float32 rows (m, k) by int4 weights (n, k), which have a scale for every block of codes in a row. */
export interface BlockProblem {
  readonly sizes: Sizes;
  readonly x: Block;
  /** -8 to 7. */
  readonly codes: Int8Array<ArrayBuffer>;
  readonly block: number;
  /** (n, k / block). */
  readonly scale: Float32Array<ArrayBuffer>;
  /** Whether the rows become int8 first, each library with its own scales. */
  readonly integers: boolean;
}

/** float32 rows (m, k) by weights (n, k) of a few levels: integers, of the bits that `weightBits` says. */
export interface LevelProblem {
  readonly a: Block;
  readonly b: Block;
  readonly transposeB: true;
  readonly weightBits: 1 | 2;
  /** Whether the rows are ±1; else they are int8 codes with 127 among them in every row, so that their scale is 1. */
  readonly signs: boolean;
}

/** A multilayer perceptron with relu, and SGD with momentum on the mean cross-entropy of one batch. */
export interface MlpProblem {
  readonly sizes: readonly number[];
  /** "0.weight" (out, in), "0.bias" (out), "2.weight", … as in PyTorch's Sequential. */
  readonly parameters: Readonly<Record<string, Block>>;
  readonly x: Block;
  readonly labels: Int32Array<ArrayBuffer>;
  readonly lr: number;
  readonly momentum: number;
}

/** The decoder of GPT-2 with gelu by erf and a head of its own, and AdamW on the mean cross-entropy of one batch. */
export interface GptProblem {
  readonly vocabulary: number;
  readonly context: number;
  readonly dim: number;
  readonly heads: number;
  readonly layers: number;
  readonly feedForward: number;
  readonly eps: number;
  /** By the names of this library's Gpt; weights are (out, in). */
  readonly parameters: Readonly<Record<string, Block>>;
  readonly batch: number;
  /** (batch, context), row-major. */
  readonly ids: Int32Array<ArrayBuffer>;
  readonly labels: Int32Array<ArrayBuffer>;
  readonly adam: {
    readonly lr: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weightDecay: number;
  };
}

/** What is computed, by name; the operands of each. Convolutions are NCHW with OIHW weights, stride 1, padding 1. */
export interface Operations {
  /** (…, m, k) by (…, k, n), or by (…, n, k) if transposed. */
  matmul: { a: Block; b: Block; transposeB: boolean };
  softmax: { x: Block };
  layerNorm: { x: Block; weight: Block; bias: Block; eps: number };
  /** The erf form. */
  gelu: { x: Block };
  add: { a: Block; b: Block };
  mul: { a: Block; b: Block };
  sum: { x: Block };
  sumRows: { x: Block };
  conv2d: { x: Block; w: Block };
  /** Forward and both gradients from `grad`; the result is the output and those of x and w, one after the other. */
  conv2dTrain: { x: Block; w: Block; grad: Block };
  intProduct: IntProblem;
  /** Libraries without such products multiply the same numbers as float32. */
  levelProduct: LevelProblem;
  blockProduct: BlockProblem;
  /** One step of training a run; the result is the losses of the first two. */
  mlpStep: MlpProblem;
  gptStep: GptProblem;
  /** The likeliest continuation of the first id, as long as the context, over a cache; the result is its ids. */
  gptDecode: GptProblem;
}

export type Operation = keyof Operations;

/** Null where the library would take too long to wait for. */
export type Maker<O extends Operation> = (problem: Operations[O]) => Side | null | Promise<Side | null>;

export interface Library {
  readonly name: string;
  /** Not JavaScript: a yardstick. */
  readonly native?: true;
  readonly sides: { readonly [O in Operation]?: Maker<O> };
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Uniform in [-range, range), the same for every library. */
export function draw(shape: readonly number[], seed: string, range = 1): Block {
  const rng = new Rng(seed);
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => (2 * rng.next() - 1) * range) };
}

/** Collects the losses of the first two runs. */
export class FirstLosses {
  readonly losses: number[] = [];

  add(loss: number): void {
    if (this.losses.length < 2) this.losses.push(loss);
  }
}
