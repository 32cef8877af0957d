/** What a library is to the benchmarks: a name, and for each operation it has, a way to make a `Side`. */

import { Rng } from "../../src/random/rng.ts";
import type { Side } from "../pair.ts";
import type { BlockProblem, IntProblem, LevelProblem } from "./low-bit.ts";

/** A float32 array, row-major. */
export interface Block {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
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
