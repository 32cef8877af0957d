/** Measured by `npm run bench -- --crossover --write`, which makes this file; `choice.ts` reads it. */

import type { Crossover } from "./measured.ts";

export const crossovers: { readonly plain: Crossover; readonly relaxed: Crossover | null } = {
  plain: {
    machine: "AMD EPYC, Node v20.20.2, plain SIMD",
    lookupRows: {
      1: [
        [4096, 0],
        [16384, 0],
        [65536, 0],
        [262144, 64],
        [1048576, Infinity],
        [4194304, Infinity],
      ],
      2: [
        [4096, 0],
        [16384, 0],
        [65536, 0],
        [262144, 0],
        [1048576, 0],
        [4194304, 0],
      ],
    },
    floatWeights: [131072, 131072, 131072, 131072, 524288, 524288, 524288, 131072],
  },
  relaxed: {
    machine: "AMD EPYC, Node v24.21.0, relaxed SIMD",
    lookupRows: {
      1: [
        [4096, 0],
        [16384, 0],
        [65536, 0],
        [262144, 12],
        [1048576, 32],
        [4194304, Infinity],
      ],
      2: [
        [4096, 0],
        [16384, 0],
        [65536, 0],
        [262144, 4],
        [1048576, 8],
        [4194304, 8],
      ],
    },
    floatWeights: [2097152, 2097152, 2097152, 2097152, 4194304, 4194304, 4194304, 2097152],
  },
};
