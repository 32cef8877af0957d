import { describe, expect, it } from "vitest";
import { gemmTolerance } from "../../kernels/gemm-f32/cases.ts";
import { gemm as reference } from "../../kernels/gemm-f32/reference.ts";
import { gemm, gemmExports, gemmHeap, packB, packedBytes } from "../../kernels/gemm-f32/simd.ts";
import { gemmTiles } from "../../kernels/gemm-f32/tiles.ts";
import { alloc, free, heapUse, setHeapBudget, view } from "../../kernels/wasm/heap.ts";
import { useRelaxedSimd, wasmSupport } from "../../kernels/wasm/load.ts";
import { values } from "./check.ts";
import { onHeap, onlyRoomFor } from "./heap.ts";

const floats = (size: number, seed: number): Float32Array => {
  const array = view("float32", alloc(size * 4), size);
  array.set(values(size, seed));
  return array;
};

function expectProduct(
  got: Float32Array,
  a: Float32Array,
  b: Float32Array,
  shape: { m: number; n: number; k: number; transposeA?: boolean; transposeB?: boolean },
): void {
  const want = new Float32Array(shape.m * shape.n);
  reference(want, a, b, shape);
  const bound = gemmTolerance(new Float32Array(want.length), a, b, shape);
  want.forEach((value, i) => {
    if (!(Math.abs(got[i] - value) <= bound[i])) expect.fail(`element ${i}: got ${got[i]}, want ${value}`);
  });
}

describe("the SIMD product", () => {
  it("really runs in WebAssembly here", () => {
    expect(wasmSupport().build).not.toBeNull();
    expect(gemmExports()).not.toBeNull();
    const [out, a, b] = [new Float32Array(4), Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8)];
    expect(gemm(out, a, b, { m: 2, n: 2, k: 2 })).toBe(true);
    expect([...out]).toEqual([19, 22, 43, 50]);
  });

  it("has a bit-stable build that can be asked for", () => {
    useRelaxedSimd(false);
    expect(wasmSupport()).toEqual({ build: "plain", reason: "relaxed SIMD is turned off" });
    useRelaxedSimd(true);
  });

  it("declines arrays of other types and leaves them alone", () => {
    const out = new Float64Array(1);
    expect(gemm(out, Float64Array.of(2), Float64Array.of(3), { m: 1, n: 1, k: 1 })).toBe(false);
    expect(out[0]).toBe(0);
  });

  it("brings plain arrays to the heap beyond its budget, declines where the platform has no more, and gives back what it took", () => {
    const { budget, reserved, bytes } = heapUse();
    const side = Math.ceil(Math.sqrt(reserved / 4));
    setHeapBudget(reserved);
    const out = new Float32Array(side).fill(7);
    const shape = { m: 1, n: side, k: side };
    const run = () => gemm(out, new Float32Array(side), new Float32Array(side * side), shape);
    onlyRoomFor(1, () => expect(run()).toBe(false));
    expect(out.every((value) => value === 7)).toBe(true);
    expect(run()).toBe(true);
    expect(out.every((value) => value === 0)).toBe(true);
    expect(heapUse().bytes).toBe(bytes);
    setHeapBudget(budget);
  });

  it("gives the bits of the whole product by tiles, wherever the operands lie", () => {
    const { bytes } = heapUse();
    const wave = (size: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i + size));
    for (const [m, n, k] of [
      [100, 130, 300],
      [3, 400, 70],
      [400, 3, 50],
      [300, 1, 40],
      [70, 300, 9],
      [300, 70, 0],
    ])
      for (const form of [0, 1, 2, 3, 4, 5, 6, 7]) {
        const [transposeA, transposeB, accumulate] = [1, 2, 4].map((bit) => (form & bit) !== 0);
        const shape = { m, n, k, transposeA, transposeB, accumulate, aOffset: 2, bOffset: 1, outOffset: 3 };
        const [a, b] = [wave(m * k + 2), wave(k * n + 1)];
        const [want, got] = [wave(m * n + 4), wave(m * n + 4)];
        expect(gemm(want, a, b, shape)).toBe(true);
        onHeap(form % 3 === 1 ? [a] : [], ([left = a]) =>
          onHeap(form % 3 === 2 ? [b] : [], ([right = b]) => {
            let calls = 0;
            const run: typeof gemmHeap = (...args) => {
              calls++;
              return gemmHeap(...args);
            };
            expect(gemmTiles(got, left, right, { ...shape, bias: 0 }, run, 2 ** 13)).toBe(true);
            if (m * n > 2 ** 12) expect(calls).toBeGreaterThan(1);
          }),
        );
        expect(got).toEqual(want);
      }
    expect(heapUse().bytes).toBe(bytes);
  });

  it("takes tiles where the heap has no room for the whole", () => {
    const { bytes } = heapUse();
    const [m, n, k] = [3000, 3001, 2];
    const [a, b, bias] = [m * k, k * n, n].map((size) =>
      Float32Array.from({ length: size }, (_, i) => i % 7),
    );
    const [want, out] = [new Float32Array(m * n), new Float32Array(m * n)];
    expect(gemm(want, a, b, { m, n, k, bias })).toBe(true);
    onlyRoomFor(40, () => expect(gemm(out, a, b, { m, n, k, bias })).toBe(true));
    expect(Buffer.compare(Buffer.from(out.buffer), Buffer.from(want.buffer))).toBe(0);
    onlyRoomFor(8, () => expect(gemm(out, a, b, { m, n, k, bias })).toBe(false));
    expect(heapUse().bytes).toBe(bytes);
  });

  it("multiplies a batch as it does each of its members", () => {
    for (const [m, n, k, transposeB] of [
      [37, 29, 16, true],
      [1, 40, 33, false],
      [2, 9, 70, true],
    ] as const) {
      const batch = 3;
      const [a, b, out] = [floats(batch * m * k, 1), floats(batch * k * n, 2), floats(batch * m * n, 3)];
      gemmHeap(out.byteOffset, a.byteOffset, b.byteOffset, { m, n, k, transposeB, batch });
      const one = floats(m * n, 4);
      for (let i = 0; i < batch; i++) {
        const [left, right] = [a.byteOffset + i * m * k * 4, b.byteOffset + i * k * n * 4];
        gemmHeap(one.byteOffset, left, right, { m, n, k, transposeB });
        expect(out.subarray(i * m * n, (i + 1) * m * n)).toEqual(one);
      }
      for (const { byteOffset } of [a, b, out, one]) free(byteOffset);
    }
  });

  it("gives the bits of a fresh operand for one packed before, whichever way it was stored", () => {
    for (const transposeB of [false, true])
      for (const [m, n, k] of [
        [9, 23, 31],
        [13, 521, 259],
        [64, 8, 600],
      ]) {
        const [a, b, fresh, out] = [floats(m * k, 1), floats(k * n, 2), floats(m * n, 3), floats(m * n, 4)];
        const panels = alloc(packedBytes(n, k));
        expect(packB(panels, b.byteOffset, { n, k, transposeB })).toBe(true);
        gemmHeap(fresh.byteOffset, a.byteOffset, b.byteOffset, { m, n, k, transposeB });
        gemmHeap(out.byteOffset, a.byteOffset, panels, { m, n, k, packed: true });
        expect(out).toEqual(fresh);
        for (const { byteOffset } of [a, b, fresh, out]) free(byteOffset);
        free(panels);
      }
  });

  it("agrees about the size of panels with the compiled code", () => {
    for (const [n, k] of [
      [1, 1],
      [8, 3],
      [9, 300],
    ])
      expect(packedBytes(n, k)).toBe(Math.ceil(n / 8) * 8 * k * 4);
  });

  it("starts every row from the bias, on every path", () => {
    for (const [m, n, k] of [
      [1, 9, 5],
      [3, 5, 7],
      [9, 3, 8],
      [9, 1, 8],
      [13, 517, 60],
      [4, 6, 0],
    ])
      for (const transposeA of [false, true])
        for (const transposeB of [false, true]) {
          const [a, b, bias, out] = [floats(m * k, 1), floats(k * n, 2), floats(n, 3), floats(m * n, 4)];
          const [at, bt, to] = [a.byteOffset, b.byteOffset, out.byteOffset];
          gemmHeap(to, at, bt, { m, n, k, transposeA, transposeB, bias: bias.byteOffset });
          const want = floats(m * n, 5);
          for (let i = 0; i < m; i++) want.set(bias, i * n);
          gemmHeap(want.byteOffset, at, bt, { m, n, k, transposeA, transposeB, accumulate: true });
          expect(out).toEqual(want);
          for (const { byteOffset } of [a, b, bias, out, want]) free(byteOffset);
        }
  });

  it("reads and writes blocks of larger matrices by their row strides and touches nothing between", () => {
    for (const [m, n, k] of [
      [5, 9, 6],
      [2, 9, 6],
      [6, 3, 9],
      [7, 1, 5],
    ]) {
      const [lda, ldb, ldOut] = [k + 3, n + 2, n + 4];
      const [a, b, out] = [floats(m * lda, 1), floats(k * ldb, 2), floats(m * ldOut, 3)];
      const before = out.slice();
      gemmHeap(out.byteOffset, a.byteOffset, b.byteOffset, { m, n, k, lda, ldb, ldOut });
      const cut = (from: Float32Array, rows: number, cols: number, stride: number): Float32Array =>
        Float32Array.from(
          { length: rows * cols },
          (_, i) => from[Math.floor(i / cols) * stride + (i % cols)],
        );
      expectProduct(cut(out, m, n, ldOut), cut(a, m, k, lda), cut(b, k, n, ldb), { m, n, k });
      for (let i = 0; i < out.length; i++) if (i % ldOut >= n) expect(out[i]).toBe(before[i]);
      for (const { byteOffset } of [a, b, out]) free(byteOffset);
    }
  });

  it("lets infinities and NaN reach only the sums they belong to", () => {
    for (const [m, n, k] of [
      [1, 6, 5],
      [1, 6, 6],
      [5, 9, 7],
      [5, 3, 7],
      [6, 1, 5],
    ])
      for (const transposeA of [false, true])
        for (const transposeB of [false, true])
          for (const special of [Number.POSITIVE_INFINITY, Number.NaN]) {
            const shape = { m, n, k, transposeA, transposeB };
            const [a, b] = [new Float32Array(m * k).fill(1), new Float32Array(k * n).fill(2)];
            a[a.length - 1] = special;
            b[0] = special;
            const [want, got] = [new Float32Array(m * n), new Float32Array(m * n)];
            reference(want, a, b, shape);
            expect(gemm(got, a, b, shape)).toBe(true);
            expect(got).toEqual(want);
          }
  });
});
