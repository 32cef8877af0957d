/**
 * Executor: what packed layers do to numbers. Layers check shapes and say what is done; an executor does it where it holds
 * numbers.
 */

import type { ConvGeometry } from "../../kernels/conv/reference.ts";
import type { AverageWindows } from "../../kernels/pool/reference.ts";
import type { PackedWeight } from "./file/weight.ts";
import type { Product } from "./products/product.ts";
import type { Ids, Values } from "./values.ts";

/** Functions of one number, those with options as they are without. */
export const activationNames = [
  "relu",
  "relu6",
  "leakyRelu",
  "elu",
  "gelu",
  "geluTanh",
  "silu",
  "sigmoid",
  "tanh",
  "hardSigmoid",
  "hardSwish",
] as const;
export type Activation = (typeof activationNames)[number];

/** Functions of two numbers; "slope" is x where x > 0, and x · y elsewhere. */
export type Join = "plus" | "minus" | "times" | "slope";

export interface NormCall {
  readonly type: "layer" | "rms";
  /** Rows of n numbers, each with a mean and a variance of its own. */
  readonly rows: number;
  readonly n: number;
  readonly eps: number;
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;
}

export interface AttentionCall {
  readonly b: number;
  readonly h: number;
  readonly hkv: number;
  readonly tq: number;
  readonly tk: number;
  readonly d: number;
  /** Keys and values that there is room for per head; the first tk are held. */
  readonly rows: number;
  /** Whether heads lie beside each other, (B, T, H · D), and not in an axis of their own, (B, H, T, D). */
  readonly beside: { readonly q: boolean; readonly k: boolean; readonly v: boolean; readonly out: boolean };
  /** Hide keys after the query. */
  readonly causal: boolean;
  /** (B, S): 1 at keys that may be read, 0 at those that are hidden; null reads all. */
  readonly mask: Ids["data"] | null;
}

export interface RotaryCall {
  /** Rows of x, (…, T, D), and the position of the first of them. */
  readonly t: number;
  readonly d: number;
  readonly offset: number;
  readonly base: number;
  readonly style: "interleaved" | "half";
}

export interface HadamardCall {
  readonly features: number;
  /** A power of two that divides the features. */
  readonly block: number;
  /** 1 or −1 per feature. */
  readonly signs: Float32Array | null;
}

/** Keys and values of one layer for the positions read so far, (H, R, D), of which `length` are held. */
export interface KeyValueCache<D> {
  readonly length: number;
  /** Those of an encoder's states, which are the same at every position. */
  context: KeyValueCache<D> | null;
  /** Adds keys and values (H, T, D); gives all of them, and R. */
  append(
    keys: D,
    values: D,
    heads: number,
    t: number,
    d: number,
  ): readonly [keys: D, values: D, rows: number];
  clear(): void;
}

/**
 * `D` is what an executor holds numbers in: the CPU's are float32 arrays, on the SIMD heap while a model runs. Every verb
 * also takes the float32 arrays that layers hold. Shapes were checked before; a verb makes new numbers and leaves those
 * given as they are.
 */
export interface Executor<D = Float32Array> {
  /** Whether products of signs hand bits on to each other, as `bitStages` has it. */
  readonly foldsSigns: boolean;
  /** Whether these are numbers that it holds. */
  holds(data: unknown): data is D;
  /** Numbers that a layer made for this run alone. */
  bring(x: Float32Array): D;
  /** m rows times the rows of a weight, and a bias: (…, k) -> (…, n). */
  product(x: Values<D>, of: Product<number>, m: number): D;
  conv(x: Values<D>, of: Product<ConvGeometry>, geometry: ConvGeometry): D;
  /** The transpose of the convolution of this geometry, from its output to its input. */
  convTranspose(x: Values<D>, weight: PackedWeight, geometry: ConvGeometry): D;
  map(x: Values<D>, f: Activation): D;
  /** f(x, y) in the shape of x, to which y broadcasts. */
  join(x: Values<D>, y: Values<D>, f: Join): D;
  norm(x: Values<D>, call: NormCall): D;
  attention(q: D, k: D, v: D, call: AttentionCall): D;
  /** Turns pairs of (…, T, D) by their positions, as the op `rotary` does. */
  rotary(x: D, call: RotaryCall): D;
  hadamard(x: Values<D>, call: HadamardCall): D;
  /** Rows of a weight by ids, which were checked. */
  rows(weight: PackedWeight, ids: Ids["data"]): D;
  permute(x: D, shape: readonly number[], axes: readonly number[]): D;
  /** The numbers of `shape` that lie from `offset` on at these strides. */
  pick(x: D, shape: readonly number[], strides: readonly number[], offset: number): D;
  /** The numbers of every row of x at these places. */
  gather(x: D, rows: number, places: readonly number[]): D;
  /** Channels of zeros before and behind those of (N, C, …). */
  pad(x: Values<D>, before: number, behind: number): D;
  /** Means of all rows of n numbers. */
  average(x: D, rows: number, n: number): D;
  /** Every window of a maximum meets a pixel. */
  pool(x: Values<D>, windows: AverageWindows, type: "max" | "average"): D;
  newCache(): KeyValueCache<D>;
}
