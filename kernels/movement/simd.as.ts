/**
 * Copies of four-byte elements between orders of axes, in AssemblyScript. kernels/movement/simd.ts drives it.
 * Addresses and steps are bytes, sizes are elements; out is contiguous.
 */

// A column of so many rows writes whole cache lines before it leaves them: of rows that fall on the same places of a first level
// cache of 4096 bytes a way, no more than 8.
const mostRows: i32 = 32;

/** Rows, `line` bytes apart, that are written together. */
function rowsTogether(line: i32): i32 {
  return max(8, min(mostRows, 32768 / max(1, line & -line)));
}

/** out (n0, n1, n2, n3) = the elements at steps (s0, s1, s2, s3) from x. */
export function gather(
  out: usize,
  x: usize,
  n0: i32,
  n1: i32,
  n2: i32,
  n3: i32,
  s0: i32,
  s1: i32,
  s2: i32,
  s3: i32,
): void {
  for (let i = 0; i < n0; i++, x += s0)
    for (let j = 0, at = x; j < n1; j++, at += s1, out += n2 * n3 * 4)
      if (s2 === 4 && s3 !== 4 && n2 > 1) transpose(out, at, n2, n3, s3);
      else
        for (let r = 0, from = at, to = out; r < n2; r++, from += s2, to += n3 * 4)
          if (s3 === 4) copyRow(to, from, n3);
          else if (s3 === 0) fillRow(to, load<u32>(from), n3);
          else copyStepped(to, from, n3, s3);
}

function copyRow(to: usize, from: usize, n: i32): void {
  if (n >= 512) {
    memory.copy(to, from, n * 4);
    return;
  }
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(to + i * 4, v128.load(from + i * 4));
  for (; i < n; i++) store<u32>(to + i * 4, load<u32>(from + i * 4));
}

function fillRow(to: usize, value: u32, n: i32): void {
  const values = i32x4.splat(value);
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(to + i * 4, values);
  for (; i < n; i++) store<u32>(to + i * 4, value);
}

/** out (rows, cols), element (i, j) lying at x + 4 i + step j. */
function transpose(out: usize, x: usize, rows: i32, cols: i32, step: i32): void {
  const line = cols * 4;
  const stripe = rowsTogether(line);
  for (let i0 = 0; i0 < rows; i0 += stripe) {
    const end = min(rows, i0 + stripe);
    let j = 0;
    for (; j + 4 <= cols; j += 4) {
      let i = i0;
      for (; i + 4 <= end; i += 4) {
        const from = x + i * 4 + j * step;
        const r0 = v128.load(from);
        const r1 = v128.load(from + step);
        const r2 = v128.load(from + 2 * step);
        const r3 = v128.load(from + 3 * step);
        const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
        const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
        const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
        const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
        const to = out + i * line + j * 4;
        v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
        v128.store(to + line, v128.shuffle<i64>(low01, low23, 1, 3));
        v128.store(to + 2 * line, v128.shuffle<i64>(high01, high23, 0, 2));
        v128.store(to + 3 * line, v128.shuffle<i64>(high01, high23, 1, 3));
      }
      for (; i < end; i++) copyStepped(out + i * line + j * 4, x + i * 4 + j * step, 4, step);
    }
    for (let i = i0; i < end; i++) copyStepped(out + i * line + j * 4, x + i * 4 + j * step, cols - j, step);
  }
}

function copyStepped(to: usize, from: usize, n: i32, step: i32): void {
  for (let k = 0; k < n; k++, to += 4, from += step) store<u32>(to, load<u32>(from));
}

/** The adjoint of `gather` for floats: adds g (n0, n1, n2, n3) at the same places of out, in row-major order. */
export function scatter(
  out: usize,
  g: usize,
  n0: i32,
  n1: i32,
  n2: i32,
  n3: i32,
  s0: i32,
  s1: i32,
  s2: i32,
  s3: i32,
): void {
  for (let i = 0; i < n0; i++, out += s0)
    for (let j = 0, at = out; j < n1; j++, at += s1)
      for (let r = 0, to = at; r < n2; r++, to += s2, g += n3 * 4) addRow(to, s3, g, n3);
}

function addRow(to: usize, step: i32, from: usize, n: i32): void {
  let k = 0;
  if (step === 4)
    for (; k + 4 <= n; k += 4)
      v128.store(to + k * 4, f32x4.add(v128.load(to + k * 4), v128.load(from + k * 4)));
  for (let at = to + k * step; k < n; k++, at += step)
    store<f32>(at, load<f32>(at) + load<f32>(from + k * 4));
}

export function clear(at: usize, bytes: i32): void {
  memory.fill(at, 0, bytes);
}

/** Copies the rows of `inner` elements, of blocks of n, that `count` indices name. */
export function takeRows(
  to: usize,
  x: usize,
  index: usize,
  outer: i32,
  n: i32,
  count: i32,
  inner: i32,
): void {
  const row = inner * 4;
  for (let o = 0; o < outer; o++, x += n * row)
    for (let i = 0; i < count; i++, to += row) {
      const from = x + load<i32>(index + i * 4) * row;
      let k = 0;
      for (; k + 16 <= row; k += 16) v128.store(to + k, v128.load(from + k));
      for (; k < row; k += 4) store<u32>(to + k, load<u32>(from + k));
    }
}

/** The adjoint of `takeRows` for floats. */
export function addRows(
  out: usize,
  g: usize,
  index: usize,
  outer: i32,
  n: i32,
  count: i32,
  inner: i32,
): void {
  const row = inner * 4;
  for (let o = 0; o < outer; o++, out += n * row)
    for (let i = 0; i < count; i++, g += row) addRow(out + load<i32>(index + i * 4) * row, 4, g, inner);
}
