/** The worker: is given a packed file and pictures, and answers with the class of each. The page never waits for it. */

import { loadPacked } from "bitgrad/packed";

/** What the page asks. */
export interface Question {
  readonly file: ArrayBuffer;
  /** (count, 144), one picture after another. */
  readonly pixels: Float32Array;
}

/** What it is told. */
export interface Answer {
  readonly classes: number[];
  readonly milliseconds: number;
  /** Whether the policy lets kernels be compiled; plain loops run where it does not. */
  readonly compiles: boolean;
}

/** Tries to compile a module that holds nothing. */
function compiles(): boolean {
  try {
    return new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)) !== null;
  } catch {
    return false;
  }
}

addEventListener("message", ({ data: { file, pixels } }: MessageEvent<Question>) => {
  const model = loadPacked(file);
  const x = { data: pixels, shape: [pixels.length / 144, 144] };
  model.warmUp(x); // compiles kernels and lays weights out
  const began = performance.now();
  const { data } = model.forward(x);
  const milliseconds = performance.now() - began;
  const classes = Array.from({ length: x.shape[0] }, (_, i) => {
    const row = data.subarray(10 * i, 10 * i + 10);
    return row.indexOf(Math.max(...row));
  });
  postMessage({ classes, milliseconds, compiles: compiles() } satisfies Answer);
});
