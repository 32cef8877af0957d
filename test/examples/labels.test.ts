import { describe, expect, it } from "vitest";
import { type Frame, placeLabels } from "../../examples/compress-gpt/labels.ts";

const points = [
  { name: "float32", x: 482304, y: 2.014 },
  { name: "int8", x: 128896, y: 2.015 },
  { name: "int4, groups of 32", x: 83584, y: 2.044 },
  { name: "ternary", x: 55168, y: 2.793 },
  { name: "1-bit", x: 42880, y: 3.162 },
  { name: "1-bit, fine-tuned", x: 42880, y: 2.174 },
];

describe("names at the points of a scatter", () => {
  it.each([844, 272])("stand beside their points and cover nothing, in a plot of %i pixels", (width) => {
    const frame: Frame = { width, height: 340, x: [31763, 651110], y: [1.842, 3.334] };
    const pixels = ({ x, y }: { x: number; y: number }) => [
      (Math.log(x / frame.x[0]) / Math.log(frame.x[1] / frame.x[0])) * width,
      ((frame.y[1] - y) / (frame.y[1] - frame.y[0])) * frame.height,
    ];
    const labels = placeLabels(points, frame);
    expect(labels.map(({ name }) => name)).toEqual(points.map(({ name }) => name));
    // A letter takes about six pixels, a line twelve, a point ten.
    const boxes = [
      ...labels.map((each) => [...pixels(each), each.name.length * 6, 12]),
      ...points.map((each) => [...pixels(each), 10, 10]),
    ];
    boxes.forEach(([x, y, w, h], i) => {
      for (const [otherX, otherY, otherW, otherH] of boxes.slice(i + 1)) {
        const apart = Math.abs(x - otherX) >= (w + otherW) / 2 || Math.abs(y - otherY) >= (h + otherH) / 2;
        expect(apart).toBe(true);
      }
      expect(x - w / 2).toBeGreaterThan(0);
      expect(x + w / 2).toBeLessThan(width);
      const [px, py] = pixels(points[i % points.length]);
      expect(Math.abs(x - px)).toBeLessThanOrEqual(w / 2 + 20);
      expect(Math.abs(y - py)).toBeLessThan(30);
    });
  });
});
