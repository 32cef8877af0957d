/** Vectors of four floats at the ragged ends of arrays, and across their lanes. */

/** Writes the first `count` lanes, 1 to 3. Reading a whole vector is always safe: blocks end in a header. */
export function storePart(to: usize, v: v128, count: i32): void {
  store<f32>(to, f32x4.extract_lane(v, 0));
  if (count > 1) store<f32>(to, f32x4.extract_lane(v, 1), 4);
  if (count > 2) store<f32>(to, f32x4.extract_lane(v, 2), 8);
}

/** Writes a vector of which `left` lanes and more belong to the array. */
export class Lanes {
  @inline
  static store(to: usize, v: v128, left: i32): void {
    if (left >= 4) v128.store(to, v);
    else storePart(to, v, left);
  }
}

/** The first `count` lanes, 0 to 4, and `fill` in the others. */
export function loadPart(from: usize, count: i32, fill: f32): v128 {
  const lanes = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count));
  return v128.bitselect(v128.load(from), f32x4.splat(fill), lanes);
}

/** The sum of the lanes, in double. */
export function total(v: v128): f64 {
  return (
    (f32x4.extract_lane(v, 0) as f64) +
    (f32x4.extract_lane(v, 1) as f64) +
    ((f32x4.extract_lane(v, 2) as f64) + (f32x4.extract_lane(v, 3) as f64))
  );
}
