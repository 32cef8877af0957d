/** Float32 functions with numbers of their own, in AssemblyScript. An output may be the very array of an input. */

import { Float4 } from "../wasm/math.as";
import { mapTuned } from "./loops.as";

/** min(max(x, a), b). */
class Clip {
  @inline
  of(x: v128, a: v128, b: v128): v128 {
    return f32x4.min(f32x4.max(x, a), b);
  }
}
/** x above 0, a · x elsewhere. */
class Leaky {
  @inline
  of(x: v128, a: v128, b: v128): v128 {
    return v128.bitselect(x, f32x4.mul(x, a), f32x4.gt(x, f32x4.splat(0)));
  }
}
/** x above 0, a · (exp(x) − 1) elsewhere. */
class Elu {
  @inline
  of(x: v128, a: v128, b: v128): v128 {
    return v128.bitselect(x, f32x4.mul(a, Float4.expm1(x)), f32x4.gt(x, f32x4.splat(0)));
  }
}
/** log(1 + exp(x)), but x itself above a. */
class Softplus {
  @inline
  of(x: v128, a: v128, b: v128): v128 {
    const above = f32x4.pmax(x, f32x4.splat(0));
    const y = f32x4.add(above, Float4.softplusBelow(f32x4.abs(x)));
    return v128.bitselect(x, y, f32x4.gt(x, a));
  }
}

export function clip(out: usize, x: usize, n: i32, low: f32, high: f32): void {
  mapTuned<Clip>(out, x, n, low, high);
}
export function leaky(out: usize, x: usize, n: i32, slope: f32): void {
  mapTuned<Leaky>(out, x, n, slope, 0);
}
export function elu(out: usize, x: usize, n: i32, alpha: f32): void {
  mapTuned<Elu>(out, x, n, alpha, 0);
}
export function softplus(out: usize, x: usize, n: i32, threshold: f32): void {
  mapTuned<Softplus>(out, x, n, threshold, 0);
}
