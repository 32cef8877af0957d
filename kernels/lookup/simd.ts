/**
 * Integer products of few bits by table lookup. A weight matrix (n, k) lies in panels of 16 rows: the first byte of each of
 * them, then the second, as packBits of kernels/bits.ts wrote the rows; n · bytes in all, and 16 bytes must be readable
 * behind them. Everything else is at heap addresses as it is.
 */

import { BackendError } from "../../src/errors.ts";
import { alloc, free, scratch, view } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { type Stage, staged } from "../wasm/stage.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface LookupExports {
  scratchBytes(m: number, steps: number): number;
  pairTables(to: number, kind: number): void;
  panels(to: number, rows: number, n: number, bytes: number): void;
  pairGemm(
    out: number,
    ldOut: number,
    a: number,
    lda: number,
    b: number,
    m: number,
    n: number,
    steps: number,
    kind: number,
    base: number,
    factor: number,
    tables: number,
    scratch: number,
  ): void;
}

export const lookupExports = /* @__PURE__ */ wasmKernel<LookupExports>(bytes);

/** How the bits of a row of A meet those of a row of B; the numbers are those of pairs.as.ts. */
const kinds = { differ: 0, both: 1, ternarySigns: 2, ternaryTernary: 3 } as const;
export type PairKind = keyof typeof kinds;

const tables = new Map<PairKind, number>();

function tablesOf(kind: PairKind, code: LookupExports): number {
  let address = tables.get(kind) ?? 0;
  if (address === 0) {
    address = alloc(4096);
    if (address === 0) return 0;
    code.pairTables(address, kinds[kind]);
    tables.set(kind, address);
  }
  return address;
}

/** Bytes of the panels of n rows of `bytes` bytes, with what is read behind them. */
export const panelBytes = (n: number, bytes: number): number => n * bytes + 16;

/**
 * Lays packed rows out in panels on the heap, to be freed by the caller. Throws BackendError where there is no room or no
 * SIMD.
 */
export function pinPanels(rows: Uint8Array, n: number, bytes: number): number {
  const code = lookupExports();
  const to = code === null ? 0 : alloc(panelBytes(n, bytes));
  if (code === null || to === 0)
    throw new BackendError(`pinPanels: no room on the heap, got ${panelBytes(n, bytes)} bytes`);
  const from = alloc(n * bytes);
  if (from === 0) {
    free(to);
    throw new BackendError(`pinPanels: no room on the heap, got ${n * bytes} bytes`);
  }
  view("uint8", from, n * bytes).set(rows);
  code.panels(to, from, n, bytes);
  free(from);
  return to;
}

export interface PairProduct {
  m: number;
  n: number;
  /** Numbers in a row of either. */
  k: number;
  /** Distance of the rows of A and of out in bytes; contiguous. */
  lda?: number;
  ldOut?: number;
}

/** How many numbers of a row a nibble of B holds, and of A a byte; and out = base(k) + factor · counts. */
const plans: Record<PairKind, { step: number; perByte: number; base(k: number): number; factor: number }> = {
  differ: { step: 4, perByte: 8, base: (k) => k, factor: -2 },
  both: { step: 4, perByte: 8, base: () => 0, factor: -2 },
  ternarySigns: { step: 2, perByte: 8, base: (k) => -k, factor: 1 },
  // The unused digit of an odd row is −1 in both operands, and counts 1 + 1.
  ternaryTernary: { step: 2, perByte: 4, base: (k) => -k - 2 * (k & 1), factor: 1 },
};

/** out (m, n) int32 = A · Bᵀ for B in panels; false, with nothing done, where SIMD cannot run or the heap is exhausted. */
export function pairHeap(
  kind: PairKind,
  out: number,
  a: number,
  panels: number,
  { m, n, k, lda, ldOut }: PairProduct,
  code = lookupExports(),
): boolean {
  if (code === null) return false;
  const { step, perByte, base, factor } = plans[kind];
  const steps = Math.ceil(k / step);
  const at = tablesOf(kind, code);
  const space = scratch(code.scratchBytes(m, steps));
  if (at === 0 || space === 0) return false;
  const rowA = lda ?? Math.ceil(k / perByte);
  const rowOut = ldOut ?? 4 * n;
  code.pairGemm(out, rowOut, a, rowA, panels, m, n, steps, kinds[kind], base(k), factor, at, space);
  return true;
}

/** The same for packed rows of both operands in typed arrays. */
export function pairArrays(
  kind: PairKind,
  out: Int32Array,
  a: Uint8Array,
  b: Uint8Array,
  { m, n, k }: PairProduct,
  code = lookupExports(),
): boolean {
  if (code === null) return false;
  if (m === 0 || n === 0) return true;
  const { step, perByte } = plans[kind];
  const rowBytes = Math.ceil(Math.ceil(k / step) / 2);
  const panels = alloc(panelBytes(n, rowBytes));
  if (panels === 0) return false;
  try {
    return staged((stage: Stage) => {
      const left = stage.input(a, 0, m * Math.ceil(k / perByte));
      const right = stage.input(b, 0, n * rowBytes);
      const to = stage.output(out, 0, m * n, false);
      if (left === 0 || right === 0 || to === 0) return false;
      code.panels(panels, right, n, rowBytes);
      return pairHeap(kind, to, left, panels, { m, n, k }, code);
    });
  } finally {
    free(panels);
  }
}
