/**
 * Instantiates compiled kernels: synchronously, at first use, over the one memory of the heap. Of the two builds the one
 * with relaxed SIMD is taken where the engine validates it. Where WebAssembly cannot run there is no instance, and
 * `wasmSupport` says why.
 */

import { shared } from "../../src/state.ts";
import { heapMemory, memoryIsShared } from "./heap.ts";
import { decodeText } from "./text.ts";

/** The two builds of one source, as the texts that build.ts writes. */
export interface WasmBytes {
  readonly plain: string;
  readonly relaxed: string;
}

export interface WasmSupport {
  /** Which build runs, or null where none can. */
  readonly build: keyof WasmBytes | null;
  /** Why the faster build does not run, or null. */
  readonly reason: string | null;
}

interface Choice {
  support: WasmSupport | null;
  wantsRelaxed: boolean;
}

const choice = /* @__PURE__ */ shared<Choice>("wasm", () => ({ support: null, wantsRelaxed: true }));

// The smallest modules that use the feature: () -> v128, i32x4.splat; and i8x16.relaxed_swizzle on it.
const simdProbe = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 17, 11,
];
const relaxedProbe = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2,
  253, 15, 253, 128, 2, 11,
];

const hasRelaxed = (): boolean => WebAssembly.validate(new Uint8Array(relaxedProbe));

function probe(): WasmSupport {
  if (typeof WebAssembly !== "object") return { build: null, reason: "this platform has no WebAssembly" };
  if (!WebAssembly.validate(new Uint8Array(simdProbe)))
    return { build: null, reason: "this WebAssembly has no SIMD" };
  try {
    // Validation is allowed under any policy; compiling needs 'wasm-unsafe-eval' under a content-security policy.
    new WebAssembly.Module(new Uint8Array(simdProbe));
    heapMemory();
  } catch (error) {
    return { build: null, reason: `WebAssembly is not allowed here: ${(error as Error).message}` };
  }
  if (!choice.wantsRelaxed) return { build: "plain", reason: "relaxed SIMD is turned off" };
  if (!hasRelaxed()) return { build: "plain", reason: "this WebAssembly has no relaxed SIMD" };
  return { build: "relaxed", reason: null };
}

/** Which build runs here and why no faster one does. */
export function wasmSupport(): WasmSupport {
  choice.support ??= probe();
  return choice.support;
}

/** Relaxed SIMD is faster and rounds products differently; off, results are the same bits everywhere. */
export function useRelaxedSimd(on: boolean): void {
  choice.wantsRelaxed = on;
  choice.support = null;
}

/**
 * The exports of a compiled kernel, as a function that returns those of the build in use, or of the one asked for; null
 * where it cannot run. T lists what the source exports; every parameter and result is a number.
 */
export function wasmKernel<T extends object>(bytes: WasmBytes): (build?: keyof WasmBytes) => T | null {
  const instances: Partial<Record<keyof WasmBytes, T>> = {};
  return (build) => {
    const chosen = build ?? wasmSupport().build;
    if (chosen === null || (build !== undefined && !canRun(build))) return null;
    instances[chosen] ??= instantiate(bytes[chosen]) as T;
    return instances[chosen];
  };
}

const texts = /* @__PURE__ */ new WeakMap<object, string>();

/** The bytes that exports of `wasmKernel` were compiled from, for a thread to compile again; null for others. */
export function compiledBytes(exports: object): Uint8Array | null {
  const text = texts.get(exports);
  return text === undefined ? null : decodeText(text);
}

const canRun = (build: keyof WasmBytes): boolean =>
  wasmSupport().build !== null && (build === "plain" || hasRelaxed());

/** Compiles and links one build; the memory is the heap's. */
function instantiate(text: string): WebAssembly.Exports {
  const bytes = decodeText(text);
  if (!memoryIsShared()) clearSharedFlag(bytes);
  const imports = { env: { memory: heapMemory() } };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
  texts.set(exports, text);
  return exports;
}

// "env" "memory", kind memory; the byte behind it holds the limits' flags, 1 for a maximum and 2 for shared.
const memoryImport = [3, 101, 110, 118, 6, 109, 101, 109, 111, 114, 121, 2];

function clearSharedFlag(bytes: Uint8Array): void {
  for (let at = 0; at + memoryImport.length < bytes.length; at++)
    if (memoryImport.every((byte, i) => bytes[at + i] === byte)) {
      bytes[at + memoryImport.length] &= ~2;
      return;
    }
}
