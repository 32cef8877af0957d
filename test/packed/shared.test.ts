import { loadPacked, type PackedModel } from "bitgrad/packed";
import { describe, expect, it } from "vitest";
import { packTernary, unpackBits, unpackSigns } from "../../kernels/bits.ts";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { backendInfo } from "../../src/backend.ts";
import { packedBytes, ternaryRows } from "../../src/packed/file/codes.ts";
import { Rng } from "../../src/random/rng.ts";
import { composed } from "../fuzz/parts.ts";

const side = 256;
const square = (bits: number, signed = true) => ({
  weight: "w",
  rows: side,
  columns: side,
  bits,
  signed,
  group: null,
  codebook: null,
});

/** So many layers of one square weight, whose codes are ones. */
function chain(layers: number, layer: (i: number) => object, bits: number): PackedModel {
  const stride = packedBytes(side, bits);
  const steps = Array.from({ length: layers }, (_, i) => ({ weight: square(bits), ...layer(i) }));
  const bias = new Float32Array(side).fill(0.5);
  return loadPacked(
    composed(
      { kind: "sequential", steps },
      {
        "w.scale": { data: Float32Array.of(2 ** -8), shape: [1] },
        bias: { data: bias, shape: [side] },
        "w.codes": { data: new Uint8Array(side * stride).fill(bits === 2 ? 0x55 : 1), shape: [side, stride] },
      },
    ),
  );
}

const linear = (input: unknown) => () => ({ kind: "linear", bias: { tensor: "bias" }, input });
const conv = (i: number) => ({
  kind: "conv2d",
  bias: null,
  input: { kind: i < 0 ? "signs" : "dynamic", ...(i >= 0 && { bits: 8 }) },
  kernel: [1, 1],
  stride: [1, 1],
  padding: [
    [0, 0],
    [0, 0],
  ],
  dilation: [1, 1],
  groups: 1,
});

/** The bytes of the heap that a model holds once it has run. */
function held(model: PackedModel, shape: number[]): number {
  const size = shape.reduce((a, b) => a * b, 1);
  const run = () => model.forward({ data: new Float32Array(size).fill(0.5), shape });
  // Tables that all models share come first.
  run();
  model.dispose();
  const before = heapUse().bytes;
  run();
  const used = heapUse().bytes - before;
  model.dispose();
  expect(heapUse().bytes).toBe(before);
  return used;
}

describe.skipIf(backendInfo().name !== "simd")("a weight that layers share is laid out once", () => {
  const dynamic = { kind: "dynamic", bits: 8 };
  it.each<[string, (i: number) => object, number, number[]]>([
    ["integers", linear(dynamic), 8, [1, side]],
    [
      "integers, each layer with a scale of its own",
      (i) => linear({ kind: "static", scale: 1 + i, zeroPoint: 3, least: 0, most: 255 })(),
      8,
      [1, side],
    ],
    ["floats", linear(null), 4, [1, side]],
    ["lookup of signs", linear({ kind: "signs" }), 1, [1, side]],
    ["lookup of ternary digits", linear({ kind: "signs" }), 2, [1, side]],
    ["convolution of integers", conv, 8, [1, side, 2, 2]],
    ["convolution of signs", () => conv(-1), 1, [1, side, 2, 2]],
  ])("%s", (_, layer, bits, shape) => {
    const [one, many] = [1, 21].map((layers) => held(chain(layers, layer, bits), shape));
    // What a layer has of its own: a scale, a bias and few words.
    expect(many - one).toBeLessThan(20 * (side * 16 + 2048));
    expect(one).toBeGreaterThanOrEqual((side * side * bits) / 8);
  });

  it("and stays for those that are left", () => {
    const model = chain(2, linear(dynamic), 8);
    const x = { data: new Float32Array(side).fill(0.5), shape: [1, side] };
    const want = model.forward(x).data;
    (model.root as never as { steps: { dispose(): void }[] }).steps[0].dispose();
    expect(model.forward(x).data).toEqual(want);
    model.dispose();
  });
});

describe("codes", () => {
  it("of signs are unpacked about as fast as other codes", () => {
    const packed = new Uint8Array(250_000);
    const time = (run: () => unknown): number =>
      Math.min(
        ...Array.from({ length: 3 }, () => {
          const from = performance.now();
          run();
          return performance.now() - from;
        }),
      );
    const signs = time(() => unpackSigns(packed, 1, 2_000_000));
    expect(signs).toBeLessThan(8 * time(() => unpackBits(packed, 1, 2_000_000, 1)));
  });

  it("of ternary digits become rows for lookup byte by byte, save where one is −2", () => {
    const rng = new Rng(1);
    for (const n of [1, 3, 4, 5, 31, 64]) {
      const digits = Int8Array.from({ length: 3 * n }, () => Math.floor(rng.next() * 3) - 1);
      const stride = packedBytes(n, 2);
      const packed = new Uint8Array(3 * stride);
      digits.forEach((digit, i) => {
        const [r, c] = [Math.floor(i / n), i % n];
        packed[r * stride + (c >> 2)] |= (digit & 3) << (2 * (c & 3));
      });
      expect(ternaryRows(packed, 3, n)).toEqual(packTernary(digits, 3, n));
      packed[stride] = (packed[stride] & ~3) | 2;
      expect(ternaryRows(packed, 3, n)).toBeNull();
    }
  });
});
