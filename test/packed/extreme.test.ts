import { useBackend } from "bitgrad";
import {
  PackedAttention,
  PackedConv2d,
  PackedConvTranspose2d,
  PackedFunction,
  PackedLinear,
  PackedModel,
  PackedPool,
  PackedPReLU,
  PackedSequential,
  PackedWeight,
} from "bitgrad/packed";
import { afterEach, expect, it } from "vitest";
import { backendName } from "../soak/against.ts";

afterEach(() => useBackend(backendName));

const k = 128;
/** Halves that float32 cannot add up before they cancel. */
const halves = (n: number, size: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => (i < n / 2 ? size : -size));
const rows = (n: number, row: Float32Array) => Float32Array.from({ length: n * k }, (_, i) => row[i % k]);
const floats = (data: Float32Array, rows: number) => PackedWeight.ofFloats(data, rows, data.length / rows);
const codes = PackedWeight.ofCodes({
  rows: 2,
  columns: k,
  bits: 8,
  signed: true,
  codes: new Uint8Array(2 * k).fill(1),
  scale: Float32Array.of(1e20),
  group: null,
  scaleType: "float32",
  codebook: null,
});
const identity = (size: number, one = 1) =>
  new PackedLinear({
    weight: floats(
      Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? one : 0)),
      size,
    ),
    bias: null,
    input: null,
  });
const linear = (weight: PackedWeight) => new PackedLinear({ weight, bias: null, input: null });
const zeros = [
  [0, 0],
  [0, 0],
];
const conv = {
  bias: null,
  input: null,
  kernel: [1, 1],
  stride: [1, 1],
  dilation: [1, 1],
  padding: zeros,
  groups: 1,
};
const [query, key, value, out] = Array.from({ length: 4 }, () => identity(8));

it.each<[string, ConstructorParameters<typeof PackedModel>[0], Float32Array, number[]]>([
  ["a product of floats", linear(floats(new Float32Array(2 * k).fill(1e20), 2)), halves(k, 3e18), [1, k]],
  ["a product of codes and floats", linear(codes), rows(16, halves(k, 3e18)), [16, k]],
  [
    "a convolution",
    new PackedConv2d({ ...conv, weight: floats(new Float32Array(2 * k).fill(1e20), 2) }),
    halves(k * 4, 3e18),
    [1, k, 2, 2],
  ],
  ["an average", new PackedFunction({ name: "average" }), halves(2 ** 14, 3e38), [1, 1, 128, 128]],
  [
    "attention, whose scores leave float32",
    new PackedAttention({ heads: 1, kvHeads: 1, rotary: null, query, key, value, out }),
    Float32Array.from({ length: 64 }, (_, i) => (i % 3) * 1e19),
    [1, 8, 8],
  ],
  [
    "attention, whose scores are all below what float32 holds",
    new PackedAttention({ heads: 1, kvHeads: 1, rotary: null, query: identity(8, -1), key, value, out }),
    Float32Array.from({ length: 64 }, (_, i) => 1e20 + (i % 8) * 1e18),
    [1, 8, 8],
  ],
])(
  "%s gives the same on every backend where float32 sums would overflow on the way",
  (_, layer, data, shape) => {
    const model = new PackedModel(layer);
    const got = model.forward({ data, shape }).data;
    expect([...got].every(Number.isFinite)).toBe(true);
    useBackend("reference");
    expect(got).toEqual(model.forward({ data, shape }).data);
  },
);

it.each<[string, ConstructorParameters<typeof PackedModel>[0], number[]]>([
  ["a product of floats", linear(floats(new Float32Array(2 * k).fill(1e20), 2)), [2, k]],
  [
    "a convolution",
    new PackedConv2d({ ...conv, weight: floats(new Float32Array(2 * k).fill(1e20), 2) }),
    [2, k, 1, 1],
  ],
  [
    "a transposed convolution",
    new PackedConvTranspose2d({
      ...conv,
      outputPadding: [0, 0],
      weight: floats(new Float32Array(2 * k).fill(1e20), k),
    }),
    [2, k, 1, 1],
  ],
  [
    "a mean of windows",
    new PackedPool({
      ...conv,
      type: "average",
      kernel: [4, 16],
      stride: [4, 16],
      ceilMode: false,
      countIncludePad: true,
    }),
    [2, 1, 8, 16],
  ],
])("%s is finite where its sums are, beside what is infinite already", (_, layer, shape) => {
  const scaled = new PackedPReLU({ weight: Float32Array.of(3) });
  const model = new PackedModel(new PackedSequential({ steps: [scaled, layer] }));
  // Half of the first row comes to minus the other half, the second to −∞.
  const large = layer instanceof PackedPool ? 1e38 : 1e18;
  const data = Float32Array.from({ length: 2 * k }, (_, i) =>
    i >= k ? -3e38 : i % 64 < 32 ? -large : 3 * large,
  );
  const got = model.forward({ data, shape }).data;
  expect([...got]).toEqual([0, 0, -Infinity, -Infinity]);
  useBackend("reference");
  expect(got).toEqual(model.forward({ data, shape }).data);
});

it("a query that may read nothing stays one where scores overflow", () => {
  const negative = identity(8, -1);
  const model = new PackedModel(
    new PackedAttention({ heads: 1, kvHeads: 1, rotary: null, query: negative, key, value, out }),
  );
  const x = { data: new Float32Array(64).fill(1e20), shape: [1, 8, 8] };
  const mask = { data: [0, 0, 1, 1, 1, 1, 1, 1], shape: [1, 1, 1, 8] };
  const got = model.forward(x, { mask, causal: true }).data;
  expect([...got.subarray(0, 16)]).toEqual(Array(16).fill(0));
  expect([...got.subarray(16)]).toEqual([...x.data.subarray(16)]);
});

it("no value of a weight is −0, also where it is too small for float32", () => {
  const row = (more: object): number[] => {
    const out = new Float32Array(4);
    PackedWeight.ofCodes({
      rows: 1,
      columns: 4,
      bits: 2,
      signed: false,
      codes: Uint8Array.of(0b11100100),
      scale: Float32Array.of(2 ** -126),
      group: null,
      scaleType: "float32",
      codebook: null,
      ...more,
    } as never).readRow(out, 0);
    return Array.from(out);
  };
  expect(row({ codebook: [-1e-10, 0, 1e-10, 1] })).toEqual([0, 0, 0, 2 ** -126]);
  expect(row({ zeroPoint: Float32Array.of(1e-10) })).toEqual([0, 2 ** -126, 2 ** -125, 3 * 2 ** -126]);
});
