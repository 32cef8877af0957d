/** random: the contracts are those of reference.ts, which every build gives to the bit. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const randomWords: Kernel<cases.WordArgs> = {
  name: "random.words",
  reference: reference.words,
  implementations: simdBuilds(simd.randomExports, (code, ...args) => simd.words(...args, code)),
  cases: cases.wordCases,
  tolerance: () => null,
};

export const randomNormals: Kernel<cases.NormalArgs> = {
  name: "random.normals",
  reference: reference.normals,
  implementations: simdBuilds(simd.randomExports, (code, ...args) => simd.normals(...args, code)),
  cases: cases.normalCases,
  tolerance: () => null,
};

export const randomBernoulli: Kernel<cases.BernoulliArgs> = {
  name: "random.bernoulli",
  reference: reference.bernoulli,
  implementations: simdBuilds(simd.randomExports, (code, ...args) => simd.bernoulli(...args, code)),
  cases: cases.bernoulliCases,
  tolerance: () => null,
};
