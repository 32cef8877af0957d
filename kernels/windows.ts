/**
 * Sliding windows over images: the geometry that convolution, unfolding and pooling share.
 *
 * Tap (i, j) of window (oy, ox) reads pixel (oy·strideH − padTop + i·dilationH, ox·strideW − padLeft + j·dilationW), or
 * padding where that lies outside the image. Padding below and to the right is whatever oh and ow reach.
 */

export interface Windows {
  /** Images. */
  n: number;
  /** Channels. */
  c: number;
  /** Height and width of an image. */
  h: number;
  w: number;
  /** Taps of a window. */
  kh: number;
  kw: number;
  /** Rows and columns of windows. */
  oh: number;
  ow: number;
  strideH: number;
  strideW: number;
  padTop: number;
  padLeft: number;
  dilationH: number;
  dilationW: number;
}

/** The first window along an axis whose tap at `shift` = tap·dilation − padding falls on a pixel, at most `windows`. */
export const firstInside = (shift: number, stride: number, windows: number): number =>
  shift >= 0 ? 0 : Math.min(windows, Math.ceil(-shift / stride));

/** One past the last such window, at least 0; it is below the first where there is none. */
export const endInside = (shift: number, stride: number, windows: number, size: number): number =>
  Math.max(0, Math.min(windows, Math.floor((size - 1 - shift) / stride) + 1));

/** Whether every window has a tap on a pixel; without images or channels there is no window. */
export const meetPixels = (g: Windows): boolean =>
  g.n * g.c === 0 ||
  (allMeet(g.oh, g.h, g.kh, g.strideH, g.padTop, g.dilationH) &&
    allMeet(g.ow, g.w, g.kw, g.strideW, g.padLeft, g.dilationW));

function allMeet(
  windows: number,
  size: number,
  kernel: number,
  stride: number,
  before: number,
  dilation: number,
): boolean {
  for (let o = 0; o < windows; o++) {
    const start = o * stride - before;
    const skipped = Math.max(0, Math.ceil(-start / dilation));
    if (skipped >= kernel || start + skipped * dilation >= size) return false;
  }
  return true;
}

/** How many windows fit along an axis. */
export function windowCount(
  size: number,
  kernel: number,
  stride: number,
  before: number,
  after: number,
  dilation: number,
  ceil: boolean,
): number {
  const room = size + before + after - dilation * (kernel - 1) - 1;
  if (!ceil) return Math.floor(room / stride) + 1;
  const windows = Math.ceil(room / stride) + 1;
  // A window that would start in the padding behind the image is left out.
  return (windows - 1) * stride >= size + before ? windows - 1 : windows;
}

type Pair = readonly [height: number, width: number];

/** What windows are, along the two axes of an image. */
export interface WindowOptions {
  kernel: Pair;
  stride: Pair;
  pads: readonly [top: number, bottom: number, left: number, right: number];
  dilation: Pair;
}

/** The windows over images of shape (N, C, H, W); `oh` or `ow` is below 1 where none fits. */
export function windowsOf(
  [n, c, h, w]: readonly number[],
  { kernel: [kh, kw], stride, pads, dilation }: WindowOptions,
  ceil = false,
): Windows {
  return {
    n,
    c,
    h,
    w,
    kh,
    kw,
    oh: windowCount(h, kh, stride[0], pads[0], pads[1], dilation[0], ceil),
    ow: windowCount(w, kw, stride[1], pads[2], pads[3], dilation[1], ceil),
    strideH: stride[0],
    strideW: stride[1],
    padTop: pads[0],
    padLeft: pads[2],
    dilationH: dilation[0],
    dilationW: dilation[1],
  };
}
