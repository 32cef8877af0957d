/**
 * Panels: groups of lanes, depth-major, the last group padded with zeros. A lane is a row of A or a column of B. In each
 * operand one of the two steps, from lane to lane or along the depth, is a single element.
 */

// A 5 x 8 tile leaves the 16 vector registers of x64 without spills; a fused multiply-add needs no register for its
// product, and has room for 6 x 8.
export const tileRows: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
export const tileCols: i32 = 8;

/** Of so many rows, those in full groups. The others go in groups of a row less, of which the last may lack rows. */
export function fullRows(rows: i32): i32 {
  const groups = (rows + tileRows - 1) / tileRows;
  return max(0, groups - (groups * tileRows - rows)) * tileRows;
}

/** Rows of all groups. */
export function paddedRows(rows: i32): i32 {
  const groups = (rows + tileRows - 1) / tileRows;
  return groups * (tileRows - 1) + fullRows(rows) / tileRows;
}

export function packRows(
  to: usize,
  from: usize,
  lanes: i32,
  depth: i32,
  laneStep: i32,
  depthStep: i32,
): void {
  const full = fullRows(lanes);
  for (let i = 0; i < lanes; ) {
    const width = i < full ? tileRows : tileRows - 1;
    const group = to + i * depth * 4;
    const start = from + i * laneStep;
    let first = 0;
    if (lanes - i >= 4) {
      pack4(group, width * 4, start, depth, laneStep, depthStep);
      first = 4;
    }
    packLanes(group, width, first, start, lanes - i, depth, laneStep, depthStep);
    i += width;
  }
}

export function packColumns(
  to: usize,
  from: usize,
  lanes: i32,
  depth: i32,
  laneStep: i32,
  depthStep: i32,
): void {
  for (let j = 0; j < lanes; j += tileCols) {
    const group = to + j * depth * 4;
    const start = from + j * laneStep;
    if (lanes - j < tileCols) packLanes(group, tileCols, 0, start, lanes - j, depth, laneStep, depthStep);
    else if (laneStep === 4) pack8(group, start, depth, depthStep);
    else {
      pack4(group, 32, start, depth, laneStep, depthStep);
      pack4(group + 16, 32, start + 4 * laneStep, depth, laneStep, depthStep);
    }
  }
}

/** The lanes of a group from `first` on, one by one. */
function packLanes(
  to: usize,
  width: i32,
  first: i32,
  from: usize,
  lanes: i32,
  depth: i32,
  laneStep: i32,
  depthStep: i32,
): void {
  const step = width * 4;
  for (let lane = first; lane < width; lane++) {
    let at = to + lane * 4;
    let source = from + lane * laneStep;
    if (lane < lanes)
      for (let d = 0; d < depth; d++, at += step, source += depthStep) store<f32>(at, load<f32>(source));
    else for (let d = 0; d < depth; d++, at += step) store<f32>(at, 0);
  }
}

/** Eight adjacent columns. */
function pack8(to: usize, from: usize, depth: i32, depthStep: i32): void {
  const end = to + depth * 32;
  for (; to < end; to += 32, from += depthStep) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  }
}

/** Four lanes, one step of the source being an element. */
export function pack4(to: usize, toStep: i32, from: usize, depth: i32, laneStep: i32, depthStep: i32): void {
  if (laneStep === 4) {
    for (let d = 0; d < depth; d++, to += toStep, from += depthStep) v128.store(to, v128.load(from));
    return;
  }
  const from1 = from + laneStep;
  const from2 = from1 + laneStep;
  const from3 = from2 + laneStep;
  const whole = (depth & ~3) * 4;
  let at = 0;
  for (; at < whole; at += 16) {
    const r0 = v128.load(from + at);
    const r1 = v128.load(from1 + at);
    const r2 = v128.load(from2 + at);
    const r3 = v128.load(from3 + at);
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
    to += toStep;
    v128.store(to, v128.shuffle<i64>(low01, low23, 1, 3));
    to += toStep;
    v128.store(to, v128.shuffle<i64>(high01, high23, 0, 2));
    to += toStep;
    v128.store(to, v128.shuffle<i64>(high01, high23, 1, 3));
    to += toStep;
  }
  for (; at < depth * 4; at += 4, to += toStep) {
    store<f32>(to, load<f32>(from + at));
    store<f32>(to, load<f32>(from1 + at), 4);
    store<f32>(to, load<f32>(from2 + at), 8);
    store<f32>(to, load<f32>(from3 + at), 12);
  }
}
