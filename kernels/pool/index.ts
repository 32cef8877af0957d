/** pool: the contracts are those of reference.ts, for float32. */

import type { Kernel } from "../kernel.ts";
import { wasmSupport } from "../wasm/load.ts";
import {
  type AverageArgs,
  averageCases,
  averageGradCases,
  averageGradTolerance,
  averageTolerance,
  type MaxArgs,
  type MaxGradArgs,
  maxCases,
  maxGradCases,
} from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

const build =
  <Args extends unknown[]>(
    name: "plain" | "relaxed",
    fast: (...args: [...Args, simd.PoolExports]) => boolean,
  ) =>
  () => {
    const exports = simd.poolExports(name);
    if (exports === null) return wasmSupport().reason ?? `the ${name} build does not run here`;
    return (...args: Args) => {
      if (!fast(...args, exports)) throw new Error("pool: the heap is exhausted");
    };
  };

const builds = <Args extends unknown[]>(fast: (...args: [...Args, simd.PoolExports]) => boolean) => ({
  "simd, plain": build<Args>("plain", fast),
  "simd, relaxed": build<Args>("relaxed", fast),
});

export const maxPool: Kernel<MaxArgs> = {
  name: "pool.max",
  reference: reference.maxPool2dIndices,
  implementations: builds<MaxArgs>(simd.maxPool2dIndices),
  cases: maxCases,
  tolerance: () => null,
};

type ValueArgs = [values: Float32Array, indices: Int32Array, x: Float32Array, windows: MaxArgs[3]];

/** The same by its other result. */
export const maxPoolValues: Kernel<ValueArgs> = {
  name: "pool.maxValues",
  reference: (values, indices, x, windows) => reference.maxPool2dIndices(indices, values, x, windows),
  implementations: builds<ValueArgs>((values, indices, ...rest) =>
    simd.maxPool2dIndices(indices, values, ...rest),
  ),
  *cases() {
    for (const [indices, values, x, windows] of maxCases()) yield [values, indices, x, windows];
  },
  tolerance: () => null,
};

export const maxPoolGrad: Kernel<MaxGradArgs> = {
  name: "pool.maxGrad",
  reference: reference.maxPool2dGrad,
  implementations: builds<MaxGradArgs>(simd.maxPool2dGrad),
  cases: maxGradCases,
  tolerance: () => null,
};

export const averagePool: Kernel<AverageArgs> = {
  name: "pool.average",
  reference: reference.avgPool2d,
  implementations: builds<AverageArgs>(simd.avgPool2d),
  cases: averageCases,
  tolerance: averageTolerance,
};

export const averagePoolGrad: Kernel<AverageArgs> = {
  name: "pool.averageGrad",
  reference: reference.avgPool2dGrad,
  implementations: builds<AverageArgs>(simd.avgPool2dGrad),
  cases: averageGradCases,
  tolerance: averageGradTolerance,
};
