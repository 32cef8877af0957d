/** What the tests of SIMD kernels share: arguments that lie on the heap, and bounds element by element. */

import { expect, vi } from "vitest";
import { alloc, free, heapMemory, view } from "../../kernels/wasm/heap.ts";

/** Calls `run` with the arguments, their Float32Arrays and Int32Arrays copied to the heap between guards of NaN. */
export function onHeap<Args extends unknown[]>(args: Args, run: (placed: Args) => void): void {
  const blocks: number[] = [];
  const guards: Float32Array[] = [];
  const placed = args.map((arg) => {
    if (!(arg instanceof Float32Array || arg instanceof Int32Array)) return arg;
    const address = alloc((arg.length + 8) * 4);
    if (address === 0) throw new Error("test: the heap is exhausted");
    blocks.push(address);
    const whole = view("float32", address, arg.length + 8).fill(Number.NaN);
    guards.push(whole.subarray(0, 4), whole.subarray(arg.length + 4));
    const copy = new (arg.constructor as Float32ArrayConstructor)(whole.buffer, address + 16, arg.length);
    copy.set(arg);
    return copy;
  });
  try {
    run(placed as Args);
    for (const guard of guards) if (!guard.every(Number.isNaN)) expect.fail("wrote outside of an array");
  } finally {
    for (const address of blocks) free(address);
  }
}

/** Runs `test` on a heap that the platform lets grow no more. */
export function exhausted(test: () => void): void {
  const grow = vi.spyOn(heapMemory(), "grow").mockImplementation(() => {
    throw new RangeError("no memory");
  });
  try {
    test();
  } finally {
    grow.mockRestore();
  }
}

/** The same on a heap of which so many MiB are free at once. */
export function onlyRoomFor(mib: number, test: () => void): void {
  const spare = alloc(mib * 2 ** 20);
  const blocks: number[] = [];
  exhausted(() => {
    for (let size = 2 ** 31; size >= 2 ** 20; size /= 2)
      for (let address = alloc(size); address !== 0; address = alloc(size)) blocks.push(address);
    free(spare);
    try {
      test();
    } finally {
      for (const address of blocks) free(address);
    }
  });
}

/** Each element of `got` is that of `want`, or within its bound. */
export function expectWithin(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  bound: ArrayLike<number>,
): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < got.length; i++)
    if (!Object.is(got[i], want[i]) && !(Math.abs(got[i] - want[i]) <= bound[i]))
      expect.fail(`element ${i}: got ${got[i]}, want ${want[i]} within ${bound[i]}`);
}
