/** The products that are timed, and their operands on the heap. */

import { gemmTolerance } from "../kernels/gemm-f32/cases.ts";
import { gemm as reference } from "../kernels/gemm-f32/reference.ts";
import { gemmHeap, packB, packedBytes } from "../kernels/gemm-f32/simd.ts";
import { alloc, view } from "../kernels/wasm/heap.ts";
import type { Side } from "./pair.ts";

export interface Product {
  m: number;
  n: number;
  k: number;
  batch?: number;
  transposeA?: boolean;
  transposeB?: boolean;
  /** The panels of b are made once, as for a parameter that does not change. */
  pinned?: boolean;
}

export const products: readonly Product[] = [
  { m: 256, n: 256, k: 256 },
  { m: 512, n: 512, k: 512 },
  { m: 1024, n: 1024, k: 1024 },
  { m: 512, n: 1024, k: 256 },
  { m: 256, n: 256, k: 256, pinned: true },
  { m: 1024, n: 1024, k: 1024, pinned: true },
  { m: 512, n: 512, k: 512, transposeA: true },
  { m: 512, n: 512, k: 512, transposeB: true },
  { m: 512, n: 512, k: 512, transposeA: true, transposeB: true },
  { m: 256, n: 256, k: 64, batch: 8, transposeB: true },
  { m: 256, n: 64, k: 256, batch: 8 },
  { m: 1, n: 1024, k: 1024 },
  { m: 1, n: 1024, k: 1024, transposeB: true },
  { m: 1024, n: 1, k: 1024 },
  { m: 5, n: 1024, k: 1024 },
  { m: 512, n: 512, k: 2 },
  { m: 1024, n: 7, k: 128 },
  { m: 65, n: 65, k: 65 },
  { m: 64, n: 64, k: 64 },
  { m: 8, n: 8, k: 8 },
];

export const showProduct = ({ m, n, k, batch = 1, transposeA, transposeB, pinned }: Product): string =>
  `${batch > 1 ? `${batch} x ` : ""}${m} x ${k} x ${n}${transposeA ? " Aᵀ" : ""}${transposeB ? " Bᵀ" : ""}${pinned ? ", pinned" : ""}`;

export const flops = ({ m, n, k, batch = 1 }: Product): number => 2 * m * n * k * batch;

export interface Operands {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly tolerance: Float64Array;
  readonly simd: Side;
  readonly reference: Side;
}

/** The operands of a product, and the two sides of this library. */
export function operands(product: Product): Operands {
  const { m, n, k, batch = 1, transposeA, transposeB, pinned = false } = product;
  const place = (size: number, seed: number): [Float32Array, number] => {
    const address = alloc(size * 4);
    if (address === 0) throw new Error(`bench: the heap has no room for ${size} floats`);
    const array = view("float32", address, size);
    for (let i = 0; i < size; i++) array[i] = Math.sin(12.9898 * (i + 1) + seed);
    return [array, address];
  };
  const [a, aAt] = place(batch * m * k, 1);
  const [b, bAt] = place(batch * k * n, 2);
  const [out, outAt] = place(batch * m * n, 3);
  const panels = pinned ? alloc(packedBytes(n, k)) : bAt;
  if (pinned) packB(panels, bAt, { n, k, transposeB });
  const shape = { m, n, k, transposeA, transposeB, batch, packed: pinned };
  const plain = { a: a.slice(), b: b.slice(), out: new Float32Array(out.length) };
  const each = (i: number) => ({ aOffset: i * m * k, bOffset: i * k * n, outOffset: i * m * n });
  const tolerance = new Float64Array(out.length);
  for (let i = 0; i < batch; i++) {
    const one = { m, n, k, transposeA, transposeB };
    const [left, right] = [a.slice(i * m * k, (i + 1) * m * k), b.slice(i * k * n, (i + 1) * k * n)];
    tolerance.set(gemmTolerance(new Float32Array(m * n), left, right, one), i * m * n);
  }
  return {
    a,
    b,
    tolerance,
    simd: {
      name: "simd",
      run: () => void gemmHeap(outAt, aAt, panels, shape),
      result: () => out,
    },
    reference: {
      name: "reference",
      run() {
        for (let i = 0; i < batch; i++)
          reference(plain.out, plain.a, plain.b, { m, n, k, transposeA, transposeB, ...each(i) });
      },
      result: () => plain.out,
    },
  };
}
