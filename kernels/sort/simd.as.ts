/**
 * The order of rows by radix sort and radix selection, in AssemblyScript; kernels/sort/reference.ts states the contract.
 *
 * Each element gets a key without a sign that stands in its order, in 32 bits or, for doubles, in two words of them. What is
 * wanted of the order is selected first, digit by digit from the highest, and sorted then, digit by digit from the lowest.
 */

// Counts of four digits of up to 11 bits.
const countBytes: usize = 4 * 2048 * 4;
// So few elements are sorted by insertion.
const fewElements: i32 = 40;

/** Of a row of n, in `local`: keys, their low words, a list of elements, and what is swapped with it. */
let high: usize;
let low: usize;
let list: usize;
let spare: usize;
let keys: usize;
let spareKeys: usize;
let counts: usize;
let double: bool;
let bits: i32;

// Kinds of elements, as simd.ts numbers them.
const float32: i32 = 0;
const float64: i32 = 1;
const int32: i32 = 2;
const uint32: i32 = 3;
const int8: i32 = 4;

/** Writes places first … last − 1 of the order of rows row … row + count − 1, of outer · inner. */
export function order(
  out: usize,
  x: usize,
  kind: i32,
  n: i32,
  inner: i32,
  descending: i32,
  first: i32,
  last: i32,
  row: i32,
  count: i32,
  local: usize,
): void {
  const size = (n as usize) * 4;
  counts = local;
  high = counts + countBytes;
  list = high + size;
  spare = list + size;
  keys = spare + size;
  spareKeys = keys + size;
  low = spareKeys + size;
  double = kind === float64;
  bits = n < 4096 ? 8 : 11;
  const bytes = kind === float64 ? 8 : kind >= int8 ? 1 : 4;
  for (; count > 0; count--, row++) {
    const o = row / inner;
    const j = row % inner;
    fill(x + (o * n * inner + j) * bytes, inner * bytes, n, kind, descending ? 0xffffffff : 0);
    const all = first === 0 && last === n;
    if (all) for (let i = 0; i < n; i++) store<i32>(list + i * 4, i);
    else select(n, last, first === last - 1);
    if (first < last - 1) sort(last);
    let to = out + (o * (last - first) * inner + j) * 4;
    for (let k = first; k < last; k++, to += inner * 4) store<i32>(to, load<i32>(list + k * 4));
  }
}

/** Makes the keys of a row, each turned by `turn`. */
function fill(x: usize, step: i32, n: i32, kind: i32, turn: u32): void {
  let i = 0;
  if (kind === float32) {
    if (step === 4)
      for (; i + 4 <= n; i += 4, x += 16) {
        // −0 becomes 0; what is negative turns all its bits, what is not its sign.
        const v = f32x4.add(v128.load(x), f32x4.splat(0));
        const key = v128.xor(v, v128.or(i32x4.shr_s(v, 31), i32x4.splat(0x80000000)));
        v128.store(high + i * 4, v128.xor(v128.or(key, f32x4.ne(v, v)), i32x4.splat(turn)));
      }
    for (; i < n; i++, x += step) {
      const v = load<f32>(x) + 0;
      const b = reinterpret<i32>(v);
      store<u32>(high + i * 4, (v === v ? b ^ ((b >> 31) | 0x80000000) : -1) ^ turn);
    }
  } else if (kind === float64)
    for (; i < n; i++, x += step) {
      const v = load<f64>(x) + 0;
      const b = reinterpret<i64>(v);
      const key = v === v ? b ^ ((b >> 63) | 0x8000000000000000) : -1;
      store<u32>(high + i * 4, ((key >> 32) as u32) ^ turn);
      store<u32>(low + i * 4, (key as u32) ^ turn);
    }
  else if (kind === int32)
    for (; i < n; i++, x += step) store<u32>(high + i * 4, load<u32>(x) ^ 0x80000000 ^ turn);
  else if (kind === uint32) for (; i < n; i++, x += step) store<u32>(high + i * 4, load<u32>(x) ^ turn);
  else {
    const sign = kind === int8 ? 0x80000000 : 0;
    for (; i < n; i++, x += step) store<u32>(high + i * 4, ((load<u8>(x) as u32) << 24) ^ sign ^ turn);
  }
}

/**
 * Puts the first k elements of the order into the list, equal ones in their order and the last of them in its place; `alone`
 * puts there but the last.
 */
function select(n: i32, k: i32, alone: bool): void {
  // Candidates, of which the first `wanted` in the order are looked for.
  let left = n;
  let wanted = k;
  let found = list;
  const mask = (1 << bits) - 1;
  const candidates = spare;
  const words = double ? 2 : 1;
  let word = high;
  for (let level = 0; wanted > 0 && level < words; level++, word = low) {
    let shift = 32;
    while (shift > 0) {
      shift = max(0, shift - bits);
      const counted = counts;
      memory.fill(counted, 0, (mask + 1) * 4);
      const whole = left === n && shift === 32 - bits && level === 0;
      for (let i = 0; i < left; i++) {
        const at = whole ? i : load<i32>(candidates + i * 4);
        const count = counted + (((load<u32>(word + at * 4) >> shift) & mask) << 2);
        store<i32>(count, load<i32>(count) + 1);
      }
      let digit = 0;
      let below = 0;
      for (; ; digit++) {
        const count = load<i32>(counted + digit * 4);
        if (below + count >= wanted) break;
        below += count;
      }
      // Without branches: what does not belong to a list is overwritten.
      let kept = candidates;
      for (let i = 0; i < left; i++) {
        const at = whole ? i : load<i32>(candidates + i * 4);
        const d: i32 = (load<u32>(word + at * 4) >> shift) & mask;
        store<i32>(kept, at);
        kept += (d === digit ? 1 : 0) << 2;
        if (!alone) {
          store<i32>(found, at);
          found += (d < digit ? 1 : 0) << 2;
        }
      }
      wanted -= below;
      left = ((kept - candidates) >> 2) as i32;
    }
  }
  // What is left is equal.
  if (alone) store<i32>(list + (k - 1) * 4, load<i32>(spare + (wanted - 1) * 4));
  else memory.copy(found, spare, wanted * 4);
}

/** Sorts the first `count` of the list by their keys; equal ones stay in their order. */
function sort(count: i32): void {
  if (count <= fewElements) {
    insert(count);
    return;
  }
  if (double) sortBy(low, count);
  sortBy(high, count);
}

function insert(count: i32): void {
  for (let i = 1; i < count; i++) {
    const at = load<i32>(list + i * 4);
    const key = load<u32>(high + at * 4);
    const rest = double ? load<u32>(low + at * 4) : 0;
    let k = i;
    for (; k > 0; k--) {
      const before = load<i32>(list + (k - 1) * 4);
      const other = load<u32>(high + before * 4);
      if (other < key || (other === key && (!double || load<u32>(low + before * 4) <= rest))) break;
      store<i32>(list + k * 4, before);
    }
    store<i32>(list + k * 4, at);
  }
}

function sortBy(word: usize, count: i32): void {
  const mask = (1 << bits) - 1;
  const line = (mask + 1) * 4;
  const passes = (31 + bits) / bits;
  memory.fill(counts, 0, passes * line);
  const first = list;
  const made = keys;
  for (let i = 0; i < count; i++) {
    const key = load<u32>(word + load<i32>(first + i * 4) * 4);
    store<u32>(made + i * 4, key);
    let at = counts;
    for (let shift = 0; shift < 32; shift += bits, at += line) {
      const c = at + (((key >> shift) & mask) << 2);
      store<i32>(c, load<i32>(c) + 1);
    }
  }
  let at = counts;
  for (let shift = 0; shift < 32; shift += bits, at += line) {
    // All have this digit.
    if (load<i32>(at + (((load<u32>(keys) >> shift) & mask) << 2)) === count) continue;
    for (let digit = 0, sum = 0; digit <= mask; digit++) {
      const c = load<i32>(at + digit * 4);
      store<i32>(at + digit * 4, sum);
      sum += c << 2;
    }
    const fromKeys = keys;
    const toKeys = spareKeys;
    const from = list;
    const to = spare;
    for (let i = 0; i < count; i++) {
      const key = load<u32>(fromKeys + i * 4);
      const place = at + (((key >> shift) & mask) << 2);
      const behind = load<i32>(place);
      store<i32>(place, behind + 4);
      store<u32>(toKeys + behind, key);
      store<i32>(to + behind, load<i32>(from + i * 4));
    }
    keys = toKeys;
    spareKeys = fromKeys;
    list = to;
    spare = from;
  }
}
