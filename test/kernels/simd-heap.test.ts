import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addressOf,
  alloc,
  free,
  heapFloats,
  heapMemory,
  heapUse,
  place,
  scratch,
  setHeapBudget,
  view,
  work,
} from "../../kernels/wasm/heap.ts";

describe("the heap", () => {
  it("is shared where the platform shares memory", () => {
    heapMemory();
    expect(heapUse().shared).toBe(typeof SharedArrayBuffer === "function");
  });

  it("keeps what is written in blocks apart, aligned to 64 bytes, through any order of requests and releases", () => {
    const requests = fc.array(
      fc.oneof(
        fc.record({
          bytes: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 3_000_000 })),
        }),
        fc.record({ release: fc.nat(40) }),
      ),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(requests, (steps) => {
        const before = heapUse().bytes;
        const live: { address: number; length: number; mark: number }[] = [];
        let mark = 0;
        const drop = (index: number): void => {
          const [{ address, length, mark: want }] = live.splice(index, 1);
          const held = view("uint8", address, length);
          for (const i of [0, 1, length >> 1, length - 1])
            if (i >= 0 && i < length) expect(held[i]).toBe(want);
          free(address);
        };
        for (const step of steps) {
          if ("bytes" in step) {
            const address = alloc(step.bytes);
            expect(address).toBeGreaterThan(0);
            expect(address % 64).toBe(0);
            mark = (mark + 1) % 256;
            view("uint8", address, step.bytes).fill(mark);
            live.push({ address, length: step.bytes, mark });
          } else if (live.length > 0) drop(step.release % live.length);
        }
        while (live.length > 0) drop(0);
        expect(heapUse().bytes).toBe(before);
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  it("spans no more memory the thousandth time a program runs than the second", () => {
    const program = (): void => {
      const held: number[] = [];
      for (let i = 0; i < 60; i++) {
        held.push(alloc(((i * 7919) % 50_000) + 1));
        if (i % 3 === 2) free(held.splice((i * 31) % held.length, 1)[0]);
      }
      held.forEach(free);
    };
    program();
    program();
    const { reserved, bytes } = heapUse();
    for (let i = 0; i < 1000; i++) program();
    expect(heapUse()).toMatchObject({ reserved, bytes });
  });

  it("keeps views of a shared memory alive through growth, and finds their addresses", () => {
    const address = alloc(64);
    const before = view("float32", address, 16);
    before[3] = 5;
    const { reserved } = heapUse();
    const large = alloc(reserved);
    expect(heapUse().reserved).toBeGreaterThan(reserved);
    expect(heapFloats()[address / 4 + 3]).toBe(5);
    if (heapUse().shared) {
      expect(before[3]).toBe(5);
      expect(addressOf(before)).toBe(address);
    }
    expect(addressOf(view("float32", large, 4))).toBe(large);
    free(large);
    free(address);
  });

  it("says 0 for arrays outside of it", () => {
    expect(addressOf(new Float32Array(4))).toBe(0);
  });

  it("answers 0 beyond its budget, but for what a kernel needs while it runs, and serves again once there is room", () => {
    const { budget, reserved, bytes } = heapUse();
    setHeapBudget(reserved);
    expect(alloc(reserved + 1)).toBe(0);
    const passing = work(reserved + 1);
    expect(passing).toBeGreaterThan(0);
    free(passing);
    const small = alloc(64);
    expect(small).toBeGreaterThan(0);
    free(small);
    expect(heapUse().bytes).toBe(bytes);
    setHeapBudget(budget);
  });

  it("answers 0 for sizes that 32 bits do not hold, and stays whole", () => {
    const { bytes } = heapUse();
    for (const size of [
      2 ** 32 - 40,
      2 ** 32,
      2 ** 32 + 64,
      2 ** 38 + 64_000,
      2 ** 53,
      Number.POSITIVE_INFINITY,
      Number.NaN,
      -64,
    ])
      expect([alloc(size), work(size), place(size)], String(size)).toEqual([0, 0, 0]);
    expect(heapUse().bytes).toBe(bytes);
  });

  it("refuses to release a block twice", () => {
    const address = alloc(100);
    free(address);
    expect(() => free(address)).toThrow(/^heap: a block is released twice, got address \d+$/);
  });

  it("gives the same scratch again until more is asked for", () => {
    const small = scratch(1000);
    expect(scratch(500)).toBe(small);
    const { bytes } = heapUse();
    expect(scratch(100_000)).toBeGreaterThan(0);
    expect(heapUse().bytes - bytes).toBeLessThan(100_000);
  });
});
