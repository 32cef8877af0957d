import { PackedPool } from "bitgrad/packed";
import { describe, expect, it } from "vitest";
import { maxPool2dIndices } from "../../kernels/pool/reference.ts";
import { windowsOf } from "../../kernels/windows.ts";
import { cpu } from "../../src/packed/cpu/executor.ts";
import { runOn } from "../../src/packed/running.ts";

interface Geometry {
  size: number;
  kernel: number;
  stride: number;
  padding: [number, number];
  dilation: number;
  ceilMode: boolean;
}

/** All small windows along an axis; the other axis is one pixel wide. */
const geometries: Geometry[] = [];
for (const size of [0, 1, 2, 5])
  for (const kernel of [1, 2, 3, 4])
    for (const stride of [1, 2, 5])
      for (const dilation of [1, 2, 4])
        for (const ceilMode of [false, true])
          for (let before = 0; 2 * before <= kernel; before++)
            for (let behind = 0; 2 * behind <= kernel; behind++)
              geometries.push({ size, kernel, stride, padding: [before, behind], dilation, ceilMode });

const poolOf = ({ kernel, stride, padding, dilation, ceilMode }: Geometry, axis: number): PackedPool => {
  const pair = <T>(one: T, other: T): [T, T] => (axis === 0 ? [one, other] : [other, one]);
  return new PackedPool({
    type: "max",
    kernel: pair(kernel, 1),
    stride: pair(stride, 1),
    padding: pair(padding, [0, 0]),
    dilation: pair(dilation, 1),
    ceilMode,
    countIncludePad: true,
  });
};

/** Whether the kernel finds no pixel for some window; null where no window fits. */
function missesOf({ size, kernel, stride, padding, dilation, ceilMode }: Geometry): boolean | null {
  const options = {
    kernel: [kernel, 1] as const,
    stride: [stride, 1] as const,
    pads: [...padding, 0, 0] as const,
    dilation: [dilation, 1] as const,
  };
  const windows = windowsOf([1, 1, size, 1], options, ceilMode);
  if (windows.oh < 1) return null;
  const places = new Int32Array(windows.oh);
  maxPool2dIndices(places, null, new Float32Array(size), windows);
  return places.includes(-1);
}

describe("windows of a maximum that meet no pixel", () => {
  it.each([0, 1])("are refused along axis %i, all of them and no other", (axis) => {
    let misses = 0;
    for (const geometry of geometries) {
      const missing = missesOf(geometry);
      if (missing === null) continue;
      const { size } = geometry;
      const shape = axis === 0 ? [1, 1, size, 1] : [1, 1, 1, size];
      const run = () => poolOf(geometry, axis).forward({ data: new Float32Array(size), shape });
      if (missing) {
        misses++;
        expect(run).toThrow(`PackedPool: every window must meet a pixel, got (${shape.join(", ")})`);
      } else expect(run).not.toThrow();
    }
    expect(misses).toBeGreaterThan(20);
  });

  const odd = {
    size: 1,
    kernel: 2,
    stride: 1,
    padding: [1, 1],
    dilation: 2,
    ceilMode: false,
  } satisfies Geometry;
  const x = { data: new Float32Array(1), shape: [1, 1, 1, 1] };

  it("are refused before an executor is asked", () => {
    const pool = (): Float32Array => expect.fail("asked");
    expect(() => runOn({ ...cpu, pool }, () => poolOf(odd, 0).forward(x))).toThrow("must meet a pixel");
  });

  it("do no harm where there are no images or no channels", () => {
    const none = (shape: number[]) => poolOf(odd, 0).forward({ data: new Float32Array(0), shape }).shape;
    expect(none([0, 1, 1, 1])).toEqual([0, 1, 1, 1]);
    expect(none([1, 0, 1, 1])).toEqual([1, 0, 1, 1]);
  });
});

it("a window of NaN alone meets pixels, and gives NaN", () => {
  const geometry = {
    size: 2,
    kernel: 2,
    stride: 2,
    padding: [0, 0],
    dilation: 1,
    ceilMode: false,
  } satisfies Geometry;
  const nan = { data: new Float32Array(2).fill(Number.NaN), shape: [1, 1, 2, 1] };
  expect(poolOf(geometry, 0).forward(nan).data[0]).toBeNaN();
});
