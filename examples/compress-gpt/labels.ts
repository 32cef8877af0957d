/** Places names beside the points of a scatter, so that they cover neither points nor one another. */

export interface Frame {
  /** Pixels of the plot. */
  readonly width: number;
  readonly height: number;
  /** The ends of its axes; that of x is logarithmic. */
  readonly x: readonly [from: number, to: number];
  readonly y: readonly [from: number, to: number];
}

interface Point {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

type Box = readonly [left: number, top: number, right: number, bottom: number];

/** Pixels: a letter, a line, half of a point, and from a point to its name. */
const letter = 6.6;
const line = 16;
const dot = 7;
const gap = 10;

const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) *
  Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));

const around = (x: number, y: number, width: number, height: number): Box => [
  x - width / 2,
  y - height / 2,
  x + width / 2,
  y + height / 2,
];

const area = (box: Box): number => (box[2] - box[0]) * (box[3] - box[1]);

/** The names with their centres, in the units of the axes. Each takes the first place that covers least of what stands. */
export function placeLabels(points: readonly Point[], { width, height, x, y }: Frame): Point[] {
  const scale = Math.log(x[1] / x[0]);
  const across = (value: number) => (Math.log(value / x[0]) / scale) * width;
  const down = (value: number) => ((y[1] - value) / (y[1] - y[0])) * height;
  const plot: Box = [0, 0, width, height];
  const taken: Box[] = points.map((point) => around(across(point.x), down(point.y), 2 * dot, 2 * dot));
  return points.map((point) => {
    const [px, py] = [across(point.x), down(point.y)];
    const size = point.name.length * letter;
    const [above, below] = [py - gap - line / 2, py + gap + line / 2];
    const [right, left] = [px + size / 2 - dot, px - size / 2 + dot];
    const places: (readonly [number, number])[] = [
      [px + gap + size / 2, py],
      [px, above],
      [px, below],
      [right, above],
      [right, below],
      [left, above],
      [left, below],
      [px - gap - size / 2, py],
    ];
    const covered = ([cx, cy]: readonly [number, number]) => {
      const box = around(cx, cy, size, line);
      return taken.reduce((sum, other) => sum + overlap(box, other), area(box) - overlap(box, plot));
    };
    const costs = places.map(covered);
    const [cx, cy] = places[costs.indexOf(Math.min(...costs))];
    taken.push(around(cx, cy, size, line));
    return {
      name: point.name,
      x: x[0] * Math.exp((cx / width) * scale),
      y: y[1] - (cy / height) * (y[1] - y[0]),
    };
  });
}
