/** Reading stride, padding and dilation as users give them, for convolution, unfolding and pooling. */

import { type WindowOptions, type Windows, windowsOf } from "../../kernels/windows.ts";
import { OptionError, ShapeError, show } from "../errors.ts";
import type { Shape } from "../shape.ts";

export type Pair = readonly [height: number, width: number];
/** One number for all sides, [height, width], or [[top, bottom], [left, right]]. */
export type Padding = number | Pair | readonly [readonly [number, number], readonly [number, number]];

export type { WindowOptions };

const isCount = (n: unknown, least: number): n is number =>
  Number.isInteger(n) && (n as number) >= least && (n as number) < 2 ** 31;

/** A number or [height, width] of integers of at least `least`. */
export function readPair(op: string, name: string, value: number | readonly number[], least = 1): Pair {
  const list = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(list) || list.length !== 2 || !list.every((n) => isCount(n, least))) {
    throw new OptionError(
      `${op}: ${name} must be an integer of at least ${least} or a pair of them, got ${show(value)}`,
    );
  }
  return [list[0], list[1]];
}

export function readPadding(op: string, padding: Padding): WindowOptions["pads"] {
  const sides = typeof padding === "number" ? [padding, padding] : padding;
  const pairs =
    Array.isArray(sides) && sides.length === 2
      ? sides.map((side) => (Array.isArray(side) ? side : [side, side]))
      : [];
  if (pairs.length !== 2 || !pairs.every((p) => p.length === 2 && p.every((n: unknown) => isCount(n, 0)))) {
    throw new OptionError(
      `${op}: padding must be a number, a pair or [before, after] pairs of non-negative integers, got ${show(padding)}`,
    );
  }
  return [pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]];
}

/** The windows of `options` over images of shape (N, C, H, W). Throws ShapeError where none fits. */
export function windowsOver(op: string, shape: Shape, options: WindowOptions, ceil = false): Windows {
  const windows = windowsOf(shape, options, ceil);
  if (windows.oh < 1 || windows.ow < 1) {
    throw new ShapeError(
      `${op}: the window is larger than the padded image, got a window of ${show([...options.kernel])} on ${show(shape)}`,
    );
  }
  return windows;
}
