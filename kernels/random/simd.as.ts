/**
 * Threefry-2x32-20 of four counters at once, and draws made of its words, in AssemblyScript; kernels/random/reference.ts
 * states the contract, which is kept to the bit: products and sums are never fused, in the order of quantile.ts.
 * `local` has room for a chunk of words and for the places of as many.
 */

// Words that are made before they are drawn from.
const chunk: i32 = 1024;

class Rounds {
  @inline
  static turn(x: v128, by: i32): v128 {
    return v128.or(i32x4.shl(x, by), i32x4.shr_u(x, 32 - by));
  }

  @inline
  static turn16(x: v128): v128 {
    return i8x16.shuffle(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  }

  @inline
  static turn24(x: v128): v128 {
    return i8x16.shuffle(x, x, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
  }
}

export function words(to: usize, local: usize, k0: i32, k1: i32, lo: i32, hi: i32, count: i32): void {
  const k2 = 0x1bd11bda ^ k0 ^ k1;
  const a0 = i32x4.splat(k0);
  const a1 = i32x4.splat(k1);
  const a2 = i32x4.splat(k2);
  const b1 = i32x4.splat(k2 + 1);
  const b2 = i32x4.splat(k0 + 2);
  const b3 = i32x4.splat(k1 + 3);
  const b4 = i32x4.splat(k2 + 4);
  const b5 = i32x4.splat(k0 + 5);
  let c0 = i32x4.add(i32x4.splat(lo), i32x4(0, 1, 2, 3));
  // A counter below the first has left 32 bits.
  let c1 = i32x4.sub(i32x4.splat(hi), i32x4.lt_u(c0, i32x4.splat(lo)));
  const four = i32x4.splat(4);
  while (count > 0) {
    let x = i32x4.add(c0, a0);
    let y = i32x4.add(c1, a1);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 13), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 15), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 26), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 6), x);
    x = i32x4.add(x, a1);
    y = i32x4.add(y, b1);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 17), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 29), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn16(y), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn24(y), x);
    x = i32x4.add(x, a2);
    y = i32x4.add(y, b2);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 13), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 15), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 26), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 6), x);
    x = i32x4.add(x, a0);
    y = i32x4.add(y, b3);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 17), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 29), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn16(y), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn24(y), x);
    x = i32x4.add(x, a1);
    y = i32x4.add(y, b4);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 13), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 15), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 26), x);
    x = i32x4.add(x, y);
    y = v128.xor(Rounds.turn(y, 6), x);
    x = i32x4.add(x, a2);
    y = i32x4.add(y, b5);
    const first = v128.shuffle<i32>(x, y, 0, 4, 1, 5);
    const second = v128.shuffle<i32>(x, y, 2, 6, 3, 7);
    if (count < 8) {
      v128.store(local, first);
      v128.store(local, second, 16);
      memory.copy(to, local, count * 4);
      return;
    }
    v128.store(to, first);
    v128.store(to, second, 16);
    to += 32;
    count -= 8;
    const next = i32x4.add(c0, four);
    c1 = i32x4.sub(c1, i32x4.lt_u(next, c0));
    c0 = next;
  }
}

/** 1 where a word is below `limit`, without a sign. */
export function bernoulli(
  to: usize,
  local: usize,
  k0: i32,
  k1: i32,
  lo: i32,
  hi: i32,
  count: i32,
  limit: i32,
): void {
  const most = i32x4.splat(limit);
  const one = i8x16.splat(1);
  for (; count > 0; count -= chunk) {
    const n = min(chunk, count);
    words(local, local + chunk * 4, k0, k1, lo, hi, n);
    let from = local;
    let left = n;
    for (; left >= 16; left -= 16, from += 64, to += 16) {
      const a = i16x8.narrow_i32x4_s(
        i32x4.lt_u(v128.load(from), most),
        i32x4.lt_u(v128.load(from, 16), most),
      );
      const b = i16x8.narrow_i32x4_s(
        i32x4.lt_u(v128.load(from, 32), most),
        i32x4.lt_u(v128.load(from, 48), most),
      );
      v128.store(to, v128.and(i8x16.narrow_i16x8_s(a, b), one));
    }
    for (; left > 0; left--, from += 4, to++) store<u8>(to, load<u32>(from) < (limit as u32));
    const before = lo;
    lo += chunk / 2;
    if ((lo as u32) < (before as u32)) hi++;
  }
}

class Double2 {
  /** Words, the low two of a vector, as probabilities off 0 and 1. */
  @inline
  static probability(word: v128): v128 {
    const half = f64x2.add(f64x2.convert_low_i32x4_u(word), f64x2.splat(0.5));
    return f64x2.mul(half, f64x2.splat(1.0 / 4294967296.0));
  }

  @inline
  static step(sum: v128, x: v128, next: f64): v128 {
    return f64x2.add(f64x2.mul(sum, x), f64x2.splat(next));
  }

  @inline
  static centre(q: v128): v128 {
    const x = f64x2.sub(f64x2.splat(0.180625), f64x2.mul(q, q));
    let above = f64x2.splat(2509.0809287301227);
    let under = f64x2.splat(5226.495278852546);
    above = Double2.step(above, x, 33430.57558358813);
    under = Double2.step(under, x, 28729.085735721943);
    above = Double2.step(above, x, 67265.7709270087);
    under = Double2.step(under, x, 39307.89580009271);
    above = Double2.step(above, x, 45921.95393154987);
    under = Double2.step(under, x, 21213.794301586597);
    above = Double2.step(above, x, 13731.69376550946);
    under = Double2.step(under, x, 5394.196021424751);
    above = Double2.step(above, x, 1971.5909503065513);
    under = Double2.step(under, x, 687.1870074920579);
    above = Double2.step(above, x, 133.14166789178438);
    under = Double2.step(under, x, 42.31333070160091);
    above = Double2.step(above, x, 3.3871328727963665);
    under = Double2.step(under, x, 1.0);
    return f64x2.mul(q, f64x2.div(above, under));
  }

  @inline
  static shoulder(r: v128): v128 {
    const x = f64x2.sub(r, f64x2.splat(1.6));
    let above = f64x2.splat(0.0007745450142783414);
    let under = f64x2.splat(1.0507500716444169e-9);
    above = Double2.step(above, x, 0.022723844989269184);
    under = Double2.step(under, x, 0.0005475938084995345);
    above = Double2.step(above, x, 0.2417807251774506);
    under = Double2.step(under, x, 0.015198666563616457);
    above = Double2.step(above, x, 1.2704582524523684);
    under = Double2.step(under, x, 0.14810397642748008);
    above = Double2.step(above, x, 3.6478483247632045);
    under = Double2.step(under, x, 0.6897673349851);
    above = Double2.step(above, x, 5.769497221460691);
    under = Double2.step(under, x, 1.6763848301838038);
    above = Double2.step(above, x, 4.630337846156546);
    under = Double2.step(under, x, 2.053191626637759);
    above = Double2.step(above, x, 1.4234371107496835);
    under = Double2.step(under, x, 1.0);
    return f64x2.div(above, under);
  }

  @inline
  static log(x: v128): v128 {
    const one = f64x2.splat(1);
    const mantissa = v128.or(v128.and(x, i64x2.splat(0x000fffffffffffff)), one);
    const large = f64x2.gt(mantissa, f64x2.splat(1.4142135623730951));
    const m = v128.bitselect(f64x2.mul(mantissa, f64x2.splat(0.5)), mantissa, large);
    // What is large is −1 as an integer.
    const power = i64x2.sub(i64x2.sub(i64x2.shr_u(x, 52), i64x2.splat(1023)), large);
    const exponent = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(power, power, 0, 2, 0, 2));
    const s = f64x2.div(f64x2.sub(m, one), f64x2.add(m, one));
    const z = f64x2.mul(s, s);
    let sum = f64x2.splat(1.0 / 21.0);
    sum = Double2.step(sum, z, 1.0 / 19.0);
    sum = Double2.step(sum, z, 1.0 / 17.0);
    sum = Double2.step(sum, z, 1.0 / 15.0);
    sum = Double2.step(sum, z, 1.0 / 13.0);
    sum = Double2.step(sum, z, 1.0 / 11.0);
    sum = Double2.step(sum, z, 1.0 / 9.0);
    sum = Double2.step(sum, z, 1.0 / 7.0);
    sum = Double2.step(sum, z, 1.0 / 5.0);
    sum = Double2.step(sum, z, 1.0 / 3.0);
    sum = Double2.step(sum, z, 1.0 / 1.0);
    return f64x2.add(
      f64x2.mul(exponent, f64x2.splat(0.6931471805599453)),
      f64x2.mul(f64x2.mul(f64x2.splat(2), s), sum),
    );
  }
}

/** Normals of words; of 32 bits none lies in the tail. */
export function normals(
  to: usize,
  local: usize,
  k0: i32,
  k1: i32,
  lo: i32,
  hi: i32,
  count: i32,
  mean: f64,
  std: f64,
): void {
  const list = local + chunk * 4;
  const centre = f64x2.splat(mean);
  const spread = f64x2.splat(std);
  const half = f64x2.splat(0.5);
  for (; count > 0; count -= chunk, to += chunk * 4) {
    const n = min(chunk, count);
    words(local, list, k0, k1, lo, hi, n);
    let outer = list;
    for (let i = 0; i < n; i += 2) {
      const q = f64x2.sub(Double2.probability(v128.load64_zero(local + i * 4)), half);
      let far = i64x2.bitmask(f64x2.gt(f64x2.abs(q), f64x2.splat(0.425)));
      const drawn = f32x4.demote_f64x2_zero(f64x2.add(centre, f64x2.mul(spread, Double2.centre(q))));
      if (i + 1 < n) store<u64>(to + i * 4, i64x2.extract_lane(drawn, 0));
      else {
        store<f32>(to + i * 4, f32x4.extract_lane(drawn, 0));
        far &= 1;
      }
      // Without branches: what does not belong to the list is overwritten.
      store<i32>(outer, i);
      outer += (far & 1) << 2;
      store<i32>(outer, i + 1);
      outer += (far >> 1) << 2;
    }
    // The last of an odd list is drawn twice.
    const end = outer;
    store<i32>(end, load<i32>(end - 4));
    for (let at = list; at < end; at += 8) {
      const i = load<i32>(at);
      const j = load<i32>(at, 4);
      const word = i32x4.replace_lane(v128.load32_splat(local + i * 4), 1, load<i32>(local + j * 4));
      const p = Double2.probability(word);
      const q = f64x2.sub(p, half);
      const below = f64x2.lt(q, f64x2.splat(0));
      const side = v128.bitselect(p, f64x2.sub(f64x2.splat(1), p), below);
      const z = Double2.shoulder(f64x2.sqrt(f64x2.neg(Double2.log(side))));
      const signed = v128.bitselect(f64x2.neg(z), z, below);
      const drawn = f32x4.demote_f64x2_zero(f64x2.add(centre, f64x2.mul(spread, signed)));
      store<f32>(to + i * 4, f32x4.extract_lane(drawn, 0));
      store<f32>(to + j * 4, f32x4.extract_lane(drawn, 1));
    }
    const before = lo;
    lo += chunk / 2;
    if ((lo as u32) < (before as u32)) hi++;
  }
}
