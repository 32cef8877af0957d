/** attention: the contract is that of reference.ts, for float32. Results are laid end to end in one output. */

import type { Kernel } from "../kernel.ts";
import { wasmSupport } from "../wasm/load.ts";
import {
  attentionTolerance,
  type BackwardArgs,
  backward,
  backwardCases,
  backwardTolerance,
  type ForwardArgs,
  forward,
  forwardCases,
} from "./cases.ts";
import { attention as reference, attentionGrad as referenceGrad } from "./reference.ts";
import { attentionCode, attention as simd, attentionGrad as simdGrad } from "./simd.ts";

const build =
  <Args extends unknown[]>(
    name: "plain" | "relaxed",
    make: (code: NonNullable<ReturnType<typeof attentionCode>>) => (...args: Args) => void,
  ) =>
  () => {
    const code = attentionCode(name);
    return code === null ? (wasmSupport().reason ?? `the ${name} build does not run here`) : make(code);
  };

const expectDone = (done: boolean): void => {
  if (!done) throw new Error("attention: the heap is exhausted");
};

const simdForward = (name: "plain" | "relaxed") =>
  build<ForwardArgs>(name, (code) => forward((...args) => expectDone(simd(...args, code))));

const simdBackward = (name: "plain" | "relaxed") =>
  build<BackwardArgs>(name, (code) => backward((...args) => expectDone(simdGrad(...args, code))));

export const attentionForward: Kernel<ForwardArgs> = {
  name: "attention.forward",
  reference: forward(reference),
  implementations: { "simd, plain": simdForward("plain"), "simd, relaxed": simdForward("relaxed") },
  cases: forwardCases,
  tolerance: attentionTolerance,
};

export const attentionBackward: Kernel<BackwardArgs> = {
  name: "attention.backward",
  reference: backward(referenceGrad),
  implementations: { "simd, plain": simdBackward("plain"), "simd, relaxed": simdBackward("relaxed") },
  cases: backwardCases,
  tolerance: backwardTolerance,
};
