/** A drawing as the network sees it: the ink, as large as a made digit is, in the middle of 12×12 places. */

export const places = 12;

/** Rows that a made digit takes, and columns that a drawing may. */
const tallest = 7;
const widest = 6;
/** The middle of where made digits stand. */
const middle = 5.5;

/** Where there is ink: [first row, last row, first column, last column], or null for none. */
function bounds(ink: Float32Array, side: number): [number, number, number, number] | null {
  let [top, bottom, left, right] = [side, -1, side, -1];
  ink.forEach((value, i) => {
    if (value < 0.1) return;
    const [row, column] = [Math.floor(i / side), i % side];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
  });
  return bottom < 0 ? null : [top, bottom, left, right];
}

/**
 * The picture (144) of ink from 0 to 1 on a square of `side` points a row: each place has the mean of the ink that it
 * covers, the darkest 1. Null for an empty square.
 */
export function fitted(ink: Float32Array, side: number): Float32Array | null {
  const found = bounds(ink, side);
  if (!found) return null;
  const [top, bottom, left, right] = found;
  // Points a place: what makes the drawing as large as it may be.
  const scale = Math.max((bottom - top + 1) / tallest, (right - left + 1) / widest);
  const centre = { row: (top + bottom + 1) / 2, column: (left + right + 1) / 2 };
  const sums = new Float32Array(places * places);
  ink.forEach((value, i) => {
    const row = Math.floor((Math.floor(i / side) + 0.5 - centre.row) / scale + middle);
    const column = Math.floor(((i % side) + 0.5 - centre.column) / scale + middle);
    if (row >= 0 && row < places && column >= 0 && column < places) sums[row * places + column] += value;
  });
  const most = Math.max(...sums);
  return sums.map((sum) => sum / most);
}
