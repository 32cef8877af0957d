/**
 * A product whose operands find no room on the heap at once, by tiles of its result that do. Each sum runs in the order and
 * on the path that it has in one call, so the bits are the same.
 */

import { addressOf, free, view, work } from "../wasm/heap.ts";
import type { GemmShape } from "./reference.ts";
import { colUnit, fewCols, type HeapGemm, type Range, ranges, rowUnit } from "./split.ts";

/** Rows and columns of a matrix whose rows are `ld` apart. */
interface Tile {
  readonly rows: Range;
  readonly cols: Range;
}

/** A matrix in an array, and where its tiles are brought; 0 for one that lies on the heap. */
class Tiled {
  space = 0;
  private readonly array: Float32Array;
  private readonly offset: number;
  private readonly ld: number;
  private readonly onHeap: number;

  constructor(array: Float32Array, offset: number, ld: number) {
    this.array = array;
    this.offset = offset;
    this.ld = ld;
    this.onHeap = addressOf(array);
  }

  /** Into how many parts of so many numbers it is cut, where it is brought. */
  parts(numbers: number, most: number): number {
    return this.onHeap === 0 ? Math.max(1, Math.ceil(numbers / most)) : 1;
  }

  /** Takes room for the largest tile; false where there is none. */
  take(numbers: number): boolean {
    if (this.onHeap === 0) this.space = work(numbers * 4);
    return this.onHeap !== 0 || this.space !== 0;
  }

  /** Where a tile lies, with its values where they are `read`, and how far its rows are apart. */
  at({ rows, cols }: Tile, read: boolean): [address: number, ld: number] {
    const first = this.offset + rows.first * this.ld + cols.first;
    if (this.onHeap !== 0) return [this.onHeap + first * 4, this.ld];
    if (read) this.copy({ rows, cols }, (held, own) => held.set(own));
    return [this.space, cols.length];
  }

  /** Brings a tile that was written back to the array. */
  back(tile: Tile): void {
    if (this.onHeap === 0) this.copy(tile, (held, own) => own.set(held));
  }

  private copy({ rows, cols }: Tile, move: (held: Float32Array, own: Float32Array) => void): void {
    const held = view("float32", this.space, rows.length * cols.length);
    const first = this.offset + rows.first * this.ld + cols.first;
    const [count, length] = cols.length === this.ld ? [1, held.length] : [rows.length, cols.length];
    for (let i = 0; i < count; i++) {
      const from = first + i * this.ld;
      move(held.subarray(i * length, (i + 1) * length), this.array.subarray(from, from + length));
    }
  }
}

/**
 * The product of float32 arrays, `run` being the one at heap addresses, by tiles of about so many bytes; `bias` is an
 * address. False, with nothing written, where there is no room for tiles either.
 */
export function gemmTiles(
  out: Float32Array,
  a: Float32Array,
  b: Float32Array,
  shape: Omit<GemmShape, "bias"> & { readonly bias: number },
  run: (out: number, a: number, b: number, shape: HeapGemm) => boolean,
  tileBytes = 2 ** 24,
): boolean {
  const { m, n, k, transposeA = false, transposeB = false, accumulate = false, bias } = shape;
  const left = new Tiled(a, shape.aOffset ?? 0, transposeA ? m : k);
  const right = new Tiled(b, shape.bOffset ?? 0, transposeB ? k : n);
  const to = new Tiled(out, shape.outOffset ?? 0, n);
  const numbers = tileBytes / 4;
  let [down, across] = [left.parts(m * k, numbers), right.parts(k * n, numbers)];
  // What packs less again: the smaller operand, whole, for each part of the larger.
  const more = to.parts(Math.ceil(m / down) * Math.ceil(n / across), numbers);
  if (m > n) down *= more;
  else across *= more;
  const rows = ranges(m, n <= fewCols ? colUnit : rowUnit, down);
  const cols = ranges(n, colUnit, across);
  const most = (of: readonly Range[]) => Math.max(...of.map(({ length }) => length));
  const depth = { first: 0, length: k };
  try {
    const roomy = left.take(most(rows) * k) && right.take(most(cols) * k) && to.take(most(rows) * most(cols));
    if (!roomy) return false;
    for (const row of rows) {
      const [aAt, lda] = left.at(transposeA ? { rows: depth, cols: row } : { rows: row, cols: depth }, true);
      for (const col of cols) {
        const [bAt, ldb] = right.at(
          transposeB ? { rows: col, cols: depth } : { rows: depth, cols: col },
          true,
        );
        const tile = { rows: row, cols: col };
        const [outAt, ldOut] = to.at(tile, accumulate);
        const sizes = { m: row.length, n: col.length, k, lda, ldb, ldOut };
        const from = bias === 0 ? 0 : bias + col.first * 4;
        if (!run(outAt, aAt, bAt, { ...sizes, transposeA, transposeB, accumulate, bias: from })) return false;
        to.back(tile);
      }
    }
    return true;
  } finally {
    for (const { space } of [left, right, to]) if (space !== 0) free(space);
  }
}
