/**
 * The contract of a kernel: a reference that defines it, faster implementations, and the cases every one of them is held
 * to. A kernel takes plain typed arrays and sizes; its first argument is the output. test/kernels/conformance.test.ts runs
 * them all.
 */

import type { TypedArray } from "../src/dtype.ts";

/** The arguments of a kernel: the output, then inputs and sizes. */
export type KernelArgs = readonly [out: TypedArray, ...rest: unknown[]];

export interface Kernel<Args extends KernelArgs = KernelArgs> {
  /** gemm-f32, softmax, …: the name of its folder, or `folder.part` where a folder has several. */
  readonly name: string;
  /** The definition. Accumulates in double and rounds once, or is exact in integers. */
  reference(...args: Args): void;
  /** Each as a function that returns it, or the reason why it cannot run here. */
  readonly implementations: Readonly<Record<string, () => ((...args: Args) => void) | string>>;
  /** Arguments with fresh outputs, of sizes around the vector width and with ragged tails. */
  cases(): Iterable<Args>;
  /** How far each element of the output may be from the reference's, or null where they must be equal. */
  tolerance(...args: Args): ArrayLike<number> | null;
}
