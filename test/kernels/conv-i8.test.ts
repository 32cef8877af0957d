import { setFlagsFromString } from "node:v8";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { convGeometry } from "../../kernels/conv/cases.ts";
import { convIntArgs } from "../../kernels/conv-i8/cases.ts";
import { conv2d as reference } from "../../kernels/conv-i8/reference.ts";
import { convIntExports, convIntHeap, prepareConvInt, conv2d as simd } from "../../kernels/conv-i8/simd.ts";
import { alloc, free, heapUse, setHeapBudget, view } from "../../kernels/wasm/heap.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const size = (max: number, min = 1) => fc.integer({ min, max });
const pads = fc.tuple(size(3, 0), size(3, 0), size(3, 0), size(3, 0));

const sizes = fc
  .record({
    groups: size(4),
    perGroup: size(40),
    filters: size(12),
    depthwise: fc.boolean(),
    n: size(3),
    h: size(12),
    w: size(20),
    kh: size(5),
    kw: size(7),
    strideH: size(3),
    strideW: size(4),
    dilationH: size(3),
    dilationW: size(3),
  })
  .map(({ perGroup, filters, depthwise, ...rest }) => {
    // One channel a group is what a kernel of its own serves.
    const groups = depthwise ? perGroup : rest.groups;
    return { ...rest, groups, c: depthwise ? perGroup : groups * perGroup, o: groups * filters };
  });

const anyCase = fc.record({
  bits: size(8),
  unsigned: fc.boolean(),
  unsignedWeights: fc.boolean(),
  zeros: fc.boolean(),
  halves: fc.boolean(),
  zeroX: fc.constantFrom(0, 1, 127, -128, 255),
  to: fc.constantFrom("int32" as const, "float32", "int8", "uint8"),
  scaled: fc.constantFrom(false, true, "one" as const),
  seed: fc.nat(1e6),
});

describe.each(["plain", "relaxed"] as const)("integer convolution, %s", (build) => {
  const code = convIntExports(build);

  it.skipIf(code === null)("equals the reference in any geometry, width and output", () => {
    fc.assert(
      fc.property(sizes, pads, anyCase, (given, pad, kind) => {
        const args = convIntArgs(convGeometry(given, pad), kind);
        const [want, got] = [args[0].slice(), args[0].slice()];
        reference(want, args[1], args[2], args[3], args[4]);
        expect(simd(got, args[1], args[2], args[3], args[4], code)).toBe(true);
        expect(got.findIndex((value, i) => value !== want[i])).toBe(-1);
      }),
      { numRuns: 300 },
    );
  });
});

const steps = { strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 };
const geometry = convGeometry(
  { n: 2, c: 64, h: 9, w: 9, o: 64, groups: 1, kh: 3, kw: 3, ...steps },
  [1, 1, 1, 1],
);

it("a scale an image that changes from call to call is read at each", () => {
  const [out, x, filters, g, output] = convIntArgs(geometry, { to: "float32", scaled: true });
  const layer = prepareConvInt(filters, g, output, false)!;
  const [to, from, at] = [alloc(4 * out.length), alloc(x.length), alloc(4 * g.n)];
  view("int8", from, x.length).set(x);
  for (const scale of [0.5, 3]) {
    const scaleX = Float32Array.from({ length: g.n }, (_, i) => scale * (i + 1));
    view("float32", at, g.n).set(scaleX);
    expect(convIntHeap(layer, g, to, from, at)).toBe(true);
    const want = out.slice();
    reference(want, x, filters, g, { ...output, scaleX });
    const got = view("float32", to, out.length - 1);
    expect(got.findIndex((value, i) => value !== want[i])).toBe(-1);
  }
  layer.free();
  for (const address of [to, from, at]) free(address);
});

it("layers take the bits of their filters, depthwise ones four bytes a pair, and give everything back", () => {
  for (const groups of [1, 64])
    for (const bits of [1, 4, 8]) {
      const [, , filters, g, output] = convIntArgs(
        { ...geometry, groups },
        { bits, to: "float32", scaled: true },
      );
      const bytes = groups === 1 ? (64 * 64 * 9 * bits) / 8 : 64 * 6 * 4;
      const before = heapUse().bytes;
      const layer = prepareConvInt(filters, g, output, false)!;
      // Beside the weights: a scale and a bias a filter, and the blocks of the words.
      const beside = heapUse().bytes - before - bytes;
      expect(beside).toBeGreaterThanOrEqual(64 * 8);
      expect(beside).toBeLessThanOrEqual(64 * 8 + 640);
      layer.free();
      expect(heapUse().bytes).toBe(before);
    }
});

it("where the heap has no room nothing is written and nothing stays behind", () => {
  const before = heapUse();
  setHeapBudget(before.reserved);
  try {
    const o = Math.ceil(before.reserved / 64 / 9);
    const codes = new Int8Array(o * 64 * 9);
    expect(prepareConvInt({ codes, bits: 8 }, { ...geometry, o }, { to: "int32" }, false)).toBeNull();
    expect(heapUse().bytes).toBe(before.bytes);
  } finally {
    setHeapBudget(before.budget);
  }
});

it("where SIMD cannot run a call declines", () => {
  const args = convIntArgs(geometry, {});
  const layer = prepareConvInt(args[2], geometry, args[4], false)!;
  expect(convIntHeap(layer, geometry, 0, 0, undefined, null)).toBe(false);
  layer.free();
});
