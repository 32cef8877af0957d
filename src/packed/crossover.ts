/** Measured by `npm run bench -- --crossover --write`, which makes this file; `choice.ts` reads it. */

import type { Crossover } from "./choice.ts";

export const crossovers: { readonly plain: Crossover; readonly relaxed: Crossover | null } = {
  plain: {
    machine: "AMD EPYC, Node v20.20.2, plain SIMD",
    lookupRows: {
      1: [
        [4096, 0],
        [16384, 0],
        [65536, 16],
        [262144, Infinity],
        [1048576, Infinity],
        [4194304, Infinity],
      ],
      2: [
        [4096, 0],
        [16384, 0],
        [65536, 1],
        [262144, 4],
        [1048576, 4],
        [4194304, 4],
      ],
    },
    floatWeights: [524288, 2097152, 2097152, 32768, 2097152, 2097152, 4194304, 32768],
  },
  relaxed: null,
};
