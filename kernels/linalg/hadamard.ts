/** Walsh–Hadamard transforms of rows, in place, in double precision. */

/** The largest power of two that divides `n`. */
export function powerOfTwoIn(n: number): number {
  let power = 1;
  while (n % (2 * power) === 0) power *= 2;
  return power;
}

/**
 * x·H/√block for every `block` numbers of `x` one after another, with H of Sylvester's order: H₁ = [1] and H₂ₙ = [[Hₙ, Hₙ],
 * [Hₙ, −Hₙ]]. Its own inverse. `block` is a power of two that divides the length.
 */
export function hadamard(x: Float64Array, block: number): void {
  for (let half = 1; half < block; half *= 2) {
    for (let from = 0; from < x.length; from += 2 * half) {
      for (let i = from; i < from + half; i++) {
        const a = x[i];
        const b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const root = Math.sqrt(block);
  for (let i = 0; i < x.length; i++) x[i] /= root;
}

/**
 * The same with the Hadamard matrix whose rows all have the sum √block, the Kronecker power of J/2 − I of size 4: it leaves
 * numbers that are all alike as they are, so that the mean of each block stays. `block` is a power of four.
 */
export function regularHadamard(x: Float64Array, block: number): void {
  for (let step = 1; step < block; step *= 4) {
    for (let from = 0; from < x.length; from += 4 * step) {
      for (let i = from; i < from + step; i++) {
        const half = (x[i] + x[i + step] + x[i + 2 * step] + x[i + 3 * step]) / 2;
        for (let j = 0; j < 4; j++) x[i + j * step] = half - x[i + j * step];
      }
    }
  }
}
