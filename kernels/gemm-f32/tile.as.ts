/** The register tile of float32 products. */

import { madd } from "../wasm/madd.as";
import { tileRows } from "./pack.as";

/** Eight columns by `tileRows` rows where `full`, else by one less. */
export class Tile {
  /**
   * out = from + A panel · b, `from` read with its own step. b is a panel of eight columns,
   * or with `windows` begins, for each step of the depth, where the table at `taps` says. depth is 1 or more.
   *
   * The first step of the depth stands before the loop: without it the engines compute the addresses of the rows anew in
   * each step, or spill them.
   */
  @inline
  static run(
    full: bool,
    windows: bool,
    out: usize,
    step: i32,
    from: usize,
    fromStep: i32,
    a: usize,
    b: usize,
    taps: usize,
    depth: i32,
  ): void {
    const width = full ? tileRows * 4 : tileRows * 4 - 4;
    const end = a + depth * width;
    let at = windows ? b + load<i32>(taps) : b;
    let b0 = v128.load(at);
    let b1 = v128.load(at, 16);
    let x = v128.load32_splat(a);
    let c00 = madd(x, b0, v128.load(from));
    let c01 = madd(x, b1, v128.load(from, 16));
    from += fromStep;
    x = v128.load32_splat(a, 4);
    let c10 = madd(x, b0, v128.load(from));
    let c11 = madd(x, b1, v128.load(from, 16));
    from += fromStep;
    x = v128.load32_splat(a, 8);
    let c20 = madd(x, b0, v128.load(from));
    let c21 = madd(x, b1, v128.load(from, 16));
    from += fromStep;
    x = v128.load32_splat(a, 12);
    let c30 = madd(x, b0, v128.load(from));
    let c31 = madd(x, b1, v128.load(from, 16));
    let c40 = c30;
    let c41 = c31;
    let c50 = c30;
    let c51 = c31;
    if (full || tileRows === 6) {
      from += fromStep;
      x = v128.load32_splat(a, 16);
      c40 = madd(x, b0, v128.load(from));
      c41 = madd(x, b1, v128.load(from, 16));
    }
    if (full && tileRows === 6) {
      from += fromStep;
      x = v128.load32_splat(a, 20);
      c50 = madd(x, b0, v128.load(from));
      c51 = madd(x, b1, v128.load(from, 16));
    }
    for (a += width; a < end; a += width) {
      if (windows) {
        taps += 4;
        at = b + load<i32>(taps);
      } else at += 32;
      b0 = v128.load(at);
      b1 = v128.load(at, 16);
      x = v128.load32_splat(a);
      c00 = madd(x, b0, c00);
      c01 = madd(x, b1, c01);
      x = v128.load32_splat(a, 4);
      c10 = madd(x, b0, c10);
      c11 = madd(x, b1, c11);
      x = v128.load32_splat(a, 8);
      c20 = madd(x, b0, c20);
      c21 = madd(x, b1, c21);
      x = v128.load32_splat(a, 12);
      c30 = madd(x, b0, c30);
      c31 = madd(x, b1, c31);
      if (full || tileRows === 6) {
        x = v128.load32_splat(a, 16);
        c40 = madd(x, b0, c40);
        c41 = madd(x, b1, c41);
      }
      if (full && tileRows === 6) {
        x = v128.load32_splat(a, 20);
        c50 = madd(x, b0, c50);
        c51 = madd(x, b1, c51);
      }
    }
    v128.store(out, c00);
    v128.store(out, c01, 16);
    out += step;
    v128.store(out, c10);
    v128.store(out, c11, 16);
    out += step;
    v128.store(out, c20);
    v128.store(out, c21, 16);
    out += step;
    v128.store(out, c30);
    v128.store(out, c31, 16);
    if (full || tileRows === 6) {
      out += step;
      v128.store(out, c40);
      v128.store(out, c41, 16);
    }
    if (full && tileRows === 6) {
      out += step;
      v128.store(out, c50);
      v128.store(out, c51, 16);
    }
  }
}
