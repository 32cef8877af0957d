/** What becomes of sums of products with codes; simd.as.ts draws the words of a layer. */

/** Corrects eight sums over group g, and, with groups, scales them and adds them to what `to` holds. */
export function finish(layer: usize, g: i32, column: i32, sumX: i32, from: usize, to: usize): void {
  const at: usize = (column * load<i32>(layer, 20) + g * 8) << 2;
  let s0 = v128.load(from);
  let s1 = v128.load(from, 16);
  const alpha = load<i32>(layer, 40);
  if (alpha !== 1) {
    const a = i32x4.splat(alpha);
    s0 = i32x4.mul(s0, a);
    s1 = i32x4.mul(s1, a);
  }
  const betas = load<usize>(layer, 48);
  if (betas) {
    const x = i32x4.splat(sumX);
    s0 = i32x4.add(s0, i32x4.mul(x, v128.load(betas + at)));
    s1 = i32x4.add(s1, i32x4.mul(x, v128.load(betas + at, 16)));
  } else {
    const x = i32x4.splat(sumX * load<i32>(layer, 44));
    s0 = i32x4.add(s0, x);
    s1 = i32x4.add(s1, x);
  }
  const scale = load<usize>(layer, 56);
  if (scale) {
    const shifts = load<usize>(layer, 52);
    if (shifts) {
      s0 = i32x4.add(s0, v128.load(shifts + at));
      s1 = i32x4.add(s1, v128.load(shifts + at, 16));
    }
    const f0 = f32x4.mul(f32x4.convert_i32x4_s(s0), v128.load(scale + at));
    const f1 = f32x4.mul(f32x4.convert_i32x4_s(s1), v128.load(scale + at, 16));
    s0 = f32x4.add(v128.load(to), f0);
    s1 = f32x4.add(v128.load(to, 16), f1);
  }
  v128.store(to, s0);
  v128.store(to, s1, 16);
}

/** Corrects the sums of `rows` rows, 32 bytes apart, where there are no groups; `sumX`: of the activations of each. */
export function finishRows(layer: usize, column: i32, sumX: usize, sums: usize, rows: i32): void {
  if (load<i32>(layer, 40) !== 1 || load<usize>(layer, 48)) {
    for (let i = 0; i < rows; i++)
      finish(layer, 0, column, load<i32>(sumX + i * 4), sums + i * 32, sums + i * 32);
    return;
  }
  const beta = load<i32>(layer, 44);
  for (const end = sumX + rows * 4; sumX < end; sumX += 4, sums += 32) {
    const x = i32x4.splat(load<i32>(sumX) * beta);
    v128.store(sums, i32x4.add(v128.load(sums), x));
    v128.store(sums, i32x4.add(v128.load(sums, 16), x), 16);
  }
}
