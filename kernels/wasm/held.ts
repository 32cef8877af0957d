/** Calls a kernel as inside a scope, with arguments that lie on the heap: for the cases every implementation is held to. */

import { dtypeOfArray, type TypedArray } from "../../src/dtype.ts";
import { BackendError } from "../../src/errors.ts";
import type { Kernel, KernelArgs } from "../kernel.ts";
import { alloc, free, view } from "./heap.ts";
import { type WasmBytes, wasmSupport } from "./load.ts";

const isTyped = (value: unknown): value is TypedArray =>
  ArrayBuffer.isView(value) && dtypeOfArray(value) !== null;

/** Copies typed arrays to the heap, runs, and copies all of them back. Throws BackendError where `run` declines. */
export function held<Args extends readonly unknown[]>(args: Args, run: (...args: Args) => boolean): void {
  const moved: { from: TypedArray; to: TypedArray }[] = [];
  const place = (value: unknown): unknown => {
    if (!isTyped(value)) return value;
    const to = view(dtypeOfArray(value)!, alloc(value.byteLength), value.length);
    to.set(value);
    moved.push({ from: value, to });
    return to;
  };
  try {
    if (!run(...(args.map(place) as unknown as Args)))
      throw new BackendError("held: the kernel declined its arguments, got false");
    for (const { from, to } of moved) from.set(to);
  } finally {
    for (const { to } of moved) free(to.byteOffset);
  }
}

/** The two builds as a kernel's implementations; `load` gives a build's exports and `run` takes them last. */
export function simdBuilds<Args extends KernelArgs, Exports>(
  load: (build: keyof WasmBytes) => Exports | null,
  run: (exports: Exports, ...args: Args) => boolean,
): Kernel<Args>["implementations"] {
  const build = (name: keyof WasmBytes) => () => {
    const exports = load(name);
    if (exports === null) return wasmSupport().reason ?? `the ${name} build does not run here`;
    return (...args: Args) => held(args, (...placed: Args) => run(exports, ...placed));
  };
  return { "simd, plain": build("plain"), "simd, relaxed": build("relaxed") };
}
