/**
 * Reading and writing by an index whose shape is that of x but for the axis, in AssemblyScript; kernels/gather/reference.ts
 * states the contract. Index (outer, m, inner) into x (outer, n, inner), of four bytes each.
 */

/** Whether all of an index lies in 0 … n − 1; as numbers without a sign, negative ones are large. */
export function isWithin(index: usize, count: i32, n: i32): i32 {
  const all = i32x4.splat(n);
  let beyond = i32x4.splat(0);
  for (; count >= 4; count -= 4, index += 16) beyond = v128.or(beyond, i32x4.ge_u(v128.load(index), all));
  let outside = v128.any_true(beyond);
  for (; count > 0; count--, index += 4) outside |= load<u32>(index) >= (n as u32);
  return !outside;
}

export function gather(to: usize, x: usize, index: usize, outer: i32, n: i32, m: i32, inner: i32): void {
  for (; outer > 0; outer--, x += n * inner * 4)
    if (inner === 1) {
      for (const end = to + m * 4; to < end; to += 4, index += 4)
        store<u32>(to, load<u32>(x + (load<i32>(index) << 2)));
    } else {
      for (let i = 0; i < m; i++)
        for (let from = x, end = x + inner * 4; from < end; from += 4, to += 4, index += 4)
          store<u32>(to, load<u32>(from + load<i32>(index) * inner * 4));
    }
}

export function scatter(
  to: usize,
  x: usize,
  source: usize,
  index: usize,
  outer: i32,
  n: i32,
  m: i32,
  inner: i32,
): void {
  memory.copy(to, x, outer * n * inner * 4);
  for (; outer > 0; outer--, to += n * inner * 4)
    for (let i = 0; i < m; i++)
      for (let at = to, end = to + inner * 4; at < end; at += 4, source += 4, index += 4)
        store<u32>(at + load<i32>(index) * inner * 4, load<u32>(source));
}

/** Floats, added in double in `sums`, which has room for n rows of `width` of the inner elements. */
export function scatterAdd(
  to: usize,
  x: usize,
  source: usize,
  index: usize,
  outer: i32,
  n: i32,
  m: i32,
  inner: i32,
  sums: usize,
  width: i32,
): void {
  for (let o = 0; o < outer; o++) {
    for (let first = 0; first < inner; first += width) {
      const columns = min(width, inner - first);
      const block = (o * n * inner + first) * 4;
      if (columns === inner) widen(sums, x + block, n * inner);
      else for (let i = 0; i < n; i++) widen(sums + i * columns * 8, x + block + i * inner * 4, columns);
      if (inner === 1) addAll(sums, source + o * m * 4, index + o * m * 4, m);
      else
        for (let i = 0; i < m; i++) {
          const row = ((o * m + i) * inner + first) * 4;
          for (let j = 0; j < columns; j++) {
            const at = sums + (load<i32>(index + row + j * 4) * columns + j) * 8;
            store<f64>(at, load<f64>(at) + (load<f32>(source + row + j * 4) as f64));
          }
        }
      if (columns === inner) narrow(to + block, sums, n * inner);
      else for (let i = 0; i < n; i++) narrow(to + block + i * inner * 4, sums + i * columns * 8, columns);
    }
  }
}

function addAll(sums: usize, source: usize, index: usize, m: i32): void {
  for (const end = source + m * 4; source < end; source += 4, index += 4) {
    const at = sums + (load<i32>(index) << 3);
    store<f64>(at, load<f64>(at) + (load<f32>(source) as f64));
  }
}

function widen(to: usize, from: usize, count: i32): void {
  for (; count >= 4; count -= 4, to += 32, from += 16) {
    v128.store(to, f64x2.promote_low_f32x4(v128.load64_zero(from)));
    v128.store(to, f64x2.promote_low_f32x4(v128.load64_zero(from, 8)), 16);
  }
  for (; count > 0; count--, to += 8, from += 4) store<f64>(to, load<f32>(from) as f64);
}

function narrow(to: usize, from: usize, count: i32): void {
  for (; count >= 2; count -= 2, to += 8, from += 16)
    store<u64>(to, i64x2.extract_lane(f32x4.demote_f64x2_zero(v128.load(from)), 0));
  for (; count > 0; count--, to += 4, from += 8) store<f32>(to, load<f64>(from) as f32);
}

/** Writes the places of the bytes that are not 0, and returns how many there are; there is room for all and one more. */
export function places(to: usize, mask: usize, count: i32): i32 {
  const start = to;
  // Without branches, which a mask of no pattern would mislead.
  for (let i = 0; i < count; i++) {
    store<i32>(to, i);
    to += (load<u8>(mask + i) !== 0 ? 1 : 0) << 2;
  }
  return (to - start) >> 2;
}
