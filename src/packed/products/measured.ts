/** What `npm run bench -- --crossover` measures on one machine. */

export interface Crossover {
  /** The processor and the version of Node that it was measured on. */
  readonly machine: string;
  /**
   * For weights of 1 bit and ternary ones, by bits: for matrices of so many weights, the rows of integer codes up to which
   * lookup is faster than products of int8.
   */
  readonly lookupRows: Readonly<Record<1 | 2, readonly (readonly [weights: number, rows: number])[]>>;
  /** By bits less 1: matrices of up to so many weights are multiplied by float32 input faster as float32 than as codes. */
  readonly floatWeights: readonly number[];
}
