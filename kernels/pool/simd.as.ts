/**
 * Pooling one plane at a time, in AssemblyScript. kernels/pool/simd.ts drives it; kernels/pool/reference.ts states the
 * contract. Windows that lie inside of a row's bounds are taken four at a time.
 */

/** Four floats `step` bytes apart. */
function lanes(at: usize, step: i32): v128 {
  if (step === 4) return v128.load(at);
  if (step === 8) {
    // The element behind the last is left alone: it may lie outside of the memory.
    const high = v128.load(at, 12);
    return v128.shuffle<f32>(v128.load(at), high, 0, 2, 5, 7);
  }
  let v = v128.load32_zero(at);
  v = v128.load_lane<f32>(at + step, v, 1);
  v = v128.load_lane<f32>(at + 2 * step, v, 2);
  return v128.load_lane<f32>(at + 3 * step, v, 3);
}

/** The first window of a row whose taps all fall on pixels, and one past the last. */
function firstWhole(pad: i32, stride: i32, windows: i32): i32 {
  return min(windows, (pad + stride - 1) / stride);
}

function endWhole(pad: i32, stride: i32, windows: i32, size: i32, reach: i32): i32 {
  const room = size - reach + pad;
  return room < 0 ? 0 : min(windows, room / stride + 1);
}

/** Values are written where their address is not 0. */
export function maxIndices(
  indices: usize,
  values: usize,
  x: usize,
  planes: i32,
  h: i32,
  w: i32,
  kh: i32,
  kw: i32,
  oh: i32,
  ow: i32,
  strideH: i32,
  strideW: i32,
  padTop: i32,
  padLeft: i32,
  dilationH: i32,
  dilationW: i32,
): void {
  const step = values ? ow * 4 : 0;
  const steps = i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(strideW));
  const next = i32x4.splat(dilationW);
  const pairs = kw === 2 && strideW === 2 && dilationW === 1;
  const first = firstWhole(padLeft, strideW, ow);
  const end = endWhole(padLeft, strideW, ow, w, (kw - 1) * dilationW + 1);
  for (let plane = 0; plane < planes; plane++, x += h * w * 4)
    for (let oy = 0; oy < oh; oy++, indices += ow * 4, values += step) {
      const top = oy * strideH - padTop;
      let ox = 0;
      while (ox < ow) {
        if (ox < first || ox + 4 > end) {
          let best = -1;
          let max: f32 = -Infinity;
          for (let i = 0, iy = top; i < kh; i++, iy += dilationH) {
            if (iy < 0 || iy >= h) continue;
            for (let j = 0, ix = ox * strideW - padLeft; j < kw; j++, ix += dilationW) {
              if (ix < 0 || ix >= w) continue;
              const value = load<f32>(x + (iy * w + ix) * 4);
              if (best < 0 || value > max || isNaN(value)) {
                best = iy * w + ix;
                max = value;
              }
            }
          }
          store<i32>(indices + ox * 4, best);
          if (values) store<f32>(values + ox * 4, max);
          ox++;
          continue;
        }
        let best = i32x4.splat(-1);
        let max = f32x4.splat(-Infinity);
        // The first pixel is taken whatever it holds.
        let fresh = i32x4.splat(-1);
        const left = ox * strideW - padLeft;
        for (let i = 0, iy = top; i < kh; i++, iy += dilationH) {
          if (iy < 0 || iy >= h) continue;
          let place = i32x4.add(i32x4.splat(iy * w + left), steps);
          let at = x + (iy * w + left) * 4;
          if (pairs) {
            const a = v128.load(at);
            const b = v128.load(at, 16);
            const even = v128.shuffle<f32>(a, b, 0, 2, 4, 6);
            const odd = v128.shuffle<f32>(a, b, 1, 3, 5, 7);
            let beats = v128.or(v128.or(f32x4.gt(even, max), f32x4.ne(even, even)), fresh);
            best = v128.bitselect(place, best, beats);
            max = v128.bitselect(even, max, beats);
            beats = v128.or(f32x4.gt(odd, max), f32x4.ne(odd, odd));
            best = v128.bitselect(i32x4.add(place, next), best, beats);
            max = v128.bitselect(odd, max, beats);
            fresh = i32x4.splat(0);
            continue;
          }
          for (let j = 0; j < kw; j++, at += dilationW * 4) {
            const value = lanes(at, strideW * 4);
            // A greater one, or NaN, which equals nothing.
            const beats = v128.or(v128.or(f32x4.gt(value, max), f32x4.ne(value, value)), fresh);
            best = v128.bitselect(place, best, beats);
            max = v128.bitselect(value, max, beats);
            place = i32x4.add(place, next);
            fresh = i32x4.splat(0);
          }
        }
        v128.store(indices + ox * 4, best);
        if (values) v128.store(values + ox * 4, max);
        ox += 4;
      }
    }
}

/** dx (planes, size) = sums of dOut (planes, pooled) by indices; scratch has room for `size` doubles. */
export function maxGrad(
  dx: usize,
  dOut: usize,
  indices: usize,
  planes: i32,
  size: i32,
  pooled: i32,
  scratch: usize,
): void {
  for (; planes > 0; planes--, dx += size * 4) {
    memory.fill(scratch, 0, size * 8);
    for (let i = 0; i < pooled; i++, dOut += 4, indices += 4) {
      const at = scratch + load<i32>(indices) * 8;
      store<f64>(at, load<f64>(at) + (load<f32>(dOut) as f64));
    }
    let i = 0;
    for (; i + 4 <= size; i += 4) {
      const low = f32x4.demote_f64x2_zero(v128.load(scratch + i * 8));
      const high = f32x4.demote_f64x2_zero(v128.load(scratch + i * 8, 16));
      v128.store(dx + i * 4, v128.shuffle<i64>(low, high, 0, 2));
    }
    for (; i < size; i++) store<f32>(dx + i * 4, load<f64>(scratch + i * 8) as f32);
  }
}

/** The length a window is divided by along one axis. */
function span(from: i32, taps: i32, size: i32, after: i32, countPad: i32): i32 {
  const padded = min(from + taps, size + after);
  const start = max(from, 0);
  return countPad ? padded - from : max(start, min(padded, size)) - start;
}

export function average(
  out: usize,
  x: usize,
  planes: i32,
  h: i32,
  w: i32,
  kh: i32,
  kw: i32,
  oh: i32,
  ow: i32,
  strideH: i32,
  strideW: i32,
  padTop: i32,
  padLeft: i32,
  padBottom: i32,
  padRight: i32,
  countPad: i32,
): void {
  const first = firstWhole(padLeft, strideW, ow);
  const end = endWhole(padLeft, strideW, ow, w, kw);
  for (let plane = 0; plane < planes; plane++, x += h * w * 4)
    for (let oy = 0; oy < oh; oy++, out += ow * 4) {
      const top = oy * strideH - padTop;
      const height = span(top, kh, h, padBottom, countPad);
      const y0 = max(top, 0);
      const y1 = min(top + kh, h);
      let ox = 0;
      while (ox < ow) {
        const left = ox * strideW - padLeft;
        if (ox < first || ox + 4 > end) {
          let sum: f32 = 0;
          const x0 = max(left, 0);
          const x1 = min(left + kw, w);
          for (let iy = y0; iy < y1; iy++)
            for (let ix = x0; ix < x1; ix++) sum += load<f32>(x + (iy * w + ix) * 4);
          const area = height * span(left, kw, w, padRight, countPad);
          store<f32>(out + ox * 4, sum === 0 ? sum : sum / (area as f32));
          ox++;
          continue;
        }
        let sum = f32x4.splat(0);
        for (let iy = y0; iy < y1; iy++)
          for (let j = 0; j < kw; j++) sum = f32x4.add(sum, lanes(x + (iy * w + left + j) * 4, strideW * 4));
        // A window without rows gives 0, whatever its area.
        v128.store(out + ox * 4, f32x4.div(sum, f32x4.splat(max(1, height * kw) as f32)));
        ox += 4;
      }
    }
}

/** dx += the share of each window, on cleared planes. */
export function averageGrad(
  dx: usize,
  dOut: usize,
  planes: i32,
  h: i32,
  w: i32,
  kh: i32,
  kw: i32,
  oh: i32,
  ow: i32,
  strideH: i32,
  strideW: i32,
  padTop: i32,
  padLeft: i32,
  padBottom: i32,
  padRight: i32,
  countPad: i32,
): void {
  const first = firstWhole(padLeft, strideW, ow);
  const end = kw === 2 && strideW === 2 ? endWhole(padLeft, strideW, ow, w, kw) : 0;
  for (let plane = 0; plane < planes; plane++, dx += h * w * 4) {
    memory.fill(dx, 0, h * w * 4);
    for (let oy = 0; oy < oh; oy++) {
      const top = oy * strideH - padTop;
      const height = span(top, kh, h, padBottom, countPad);
      const y0 = max(top, 0);
      const y1 = min(top + kh, h);
      for (let ox = 0; ox < ow; ox++, dOut += 4) {
        const left = ox * strideW - padLeft;
        if (ox >= first && ox + 4 <= end) {
          // Four windows of two columns each, side by side.
          const shares = f32x4.div(v128.load(dOut), f32x4.splat((height * kw) as f32));
          const a = v128.shuffle<f32>(shares, shares, 0, 0, 1, 1);
          const b = v128.shuffle<f32>(shares, shares, 2, 2, 3, 3);
          for (let iy = y0; iy < y1; iy++) {
            const at = dx + (iy * w + left) * 4;
            v128.store(at, f32x4.add(v128.load(at), a));
            v128.store(at, f32x4.add(v128.load(at, 16), b), 16);
          }
          ox += 3;
          dOut += 12;
          continue;
        }
        const x0 = max(left, 0);
        const x1 = min(left + kw, w);
        const share = load<f32>(dOut) / ((height * span(left, kw, w, padRight, countPad)) as f32);
        for (let iy = y0; iy < y1; iy++)
          for (let at = dx + (iy * w + x0) * 4, last = dx + (iy * w + x1) * 4; at < last; at += 4)
            store<f32>(at, load<f32>(at) + share);
      }
    }
  }
}
