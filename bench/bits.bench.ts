/**
 * Products of few bits beside our own float32 product of the same numbers: `npm run bench -- bits [--write]`. Both have their
 * weights pinned; the packing of the float activations is included. The results must be equal.
 */

import { packedBytes, packSigns, packTernary } from "../kernels/bits.ts";
import { convGeometry } from "../kernels/conv/cases.ts";
import { conv2d } from "../kernels/conv/simd.ts";
import { bitConvHeap, prepareBitConv } from "../kernels/conv-b1/simd.ts";
import { encodeExports } from "../kernels/encode/simd.ts";
import { codes } from "../kernels/gemm-b1/cases.ts";
import { packedBytes as floatBytes, gemmHeap, packB } from "../kernels/gemm-f32/simd.ts";
import { type PairKind, pairHeap, preparePairs } from "../kernels/lookup/simd.ts";
import { alloc, free, view } from "../kernels/wasm/heap.ts";
import { wasmSupport } from "../kernels/wasm/load.ts";
import { pair, showRatio, writeResults } from "./pair.ts";
import { type Bounds, besideFloat, free as none, writePage } from "./table.ts";

const { build } = wasmSupport();
const pack = encodeExports();
if (build === null || pack === null) throw new Error("bench: the SIMD kernels do not run here");

/** A product's operands as numbers, and how it packs its activations. */
const kinds: Record<
  PairKind,
  {
    title: string;
    /** With 1024 rows, columns and codes. */
    bounds: Bounds;
    activation: readonly number[];
    weight: readonly number[];
    pack(to: number, x: number, m: number, k: number): void;
  }
> = {
  differ: {
    title: "1 bit by 1 bit",
    bounds: [6.5, 10],
    activation: [1, -1],
    weight: [1, -1],
    pack: (to, x, m, k) => pack.packBits(to, x, m, k, packedBytes(k, 1), 0, 0),
  },
  both: {
    title: "0 or 1 by 1 bit",
    bounds: none,
    activation: [0, 1],
    weight: [1, -1],
    pack: (to, x, m, k) => pack.packBits(to, x, m, k, packedBytes(k, 1), 0.5, 1),
  },
  ternarySigns: {
    title: "1 bit by ternary",
    bounds: [3.5, 5],
    activation: [1, -1],
    weight: [-1, 0, 1],
    pack: (to, x, m, k) => pack.packBits(to, x, m, k, packedBytes(k, 1), 0, 0),
  },
  // Ternary activations arrive packed.
  ternaryTernary: {
    title: "ternary by ternary",
    bounds: none,
    activation: [-1, 0, 1],
    weight: [-1, 0, 1],
    pack: () => {},
  },
};

const sizes = [
  [1024, 1024, 1024],
  [256, 256, 256],
  [2048, 2048, 2048],
  [64, 2048, 2048],
  [1, 2048, 2048],
];

const levels = (rows: number, k: number, of: readonly number[], seed: number): Float32Array =>
  Float32Array.from(codes(rows, k, of.length, seed), (code) => of[code]);

const results = [];
for (const kind of Object.keys(kinds) as PairKind[]) {
  const { title, bounds, activation, weight, pack: packRows } = kinds[kind];
  for (const [m, n, k] of kind === "differ" ? sizes : sizes.slice(0, 1)) {
    const x = levels(m, k, activation, 1);
    const w = levels(n, k, weight, 2);
    const bits = weight.length === 2 ? 1 : 2;
    const packed = bits === 1 ? packSigns(w, n, k) : packTernary(w, n, k);
    const layer = preparePairs(kind, { rows: packed, n, k }, { to: "int32" });
    if (layer === null) throw new Error("bench: the heap is exhausted");
    const at = { x: alloc(4 * m * k), w: alloc(4 * n * k), f: alloc(floatBytes(n, k)) };
    const rows = alloc(m * packedBytes(k, 2));
    const outs = [alloc(4 * m * n), alloc(4 * m * n)];
    view("float32", at.x, m * k).set(x);
    view("float32", at.w, n * k).set(w);
    packB(at.f, at.w, { n, k, transposeB: true });
    if (kind === "ternaryTernary") view("uint8", rows, m * packedBytes(k, 2)).set(packTernary(x, m, k));
    const shape = { m, n, k };
    // A product of one row reads the weights as they are.
    const floats =
      m < 8
        ? () => void gemmHeap(outs[0], at.x, at.w, { ...shape, transposeB: true })
        : () => void gemmHeap(outs[0], at.x, at.f, { ...shape, packed: true });
    const result = await pair(
      { name: "float32", run: floats, result: () => view("float32", outs[0], m * n) },
      {
        name: kind,
        run() {
          packRows(rows, at.x, m, k);
          pairHeap(layer, outs[1], rows, { m });
        },
        result: () => view("int32", outs[1], m * n),
      },
      { tolerance: new Float64Array(m * n), rounds: 9 },
    );
    const speed = (seconds: number): string => ((2 * m * n * k) / seconds / 1e9).toFixed(1).padStart(6);
    const name = `${title}, ${m}x${k}x${n}`;
    console.log(
      name.padEnd(34),
      `float32 ${speed(result.a)}, bits ${speed(result.b)} Gop/s`,
      showRatio(result),
    );
    const work = { unit: "Gop/s", work: (2 * m * n * k) / 1e9 } as const;
    results.push(besideFloat(name, result, m === 1024 ? bounds : none, work));
    layer.free();
    for (const address of [at.x, at.w, at.f, rows, ...outs]) free(address);
  }
}
/** 3 x 3 filters over images of ±1, padded by zeros; the float convolution has channels first and frames its images itself. */
for (const [n, c, o, size, stride] of [
  [4, 64, 64, 32, 1],
  [4, 128, 128, 16, 1],
  [4, 64, 128, 32, 2],
]) {
  const g = convGeometry(
    {
      n,
      c,
      o,
      h: size,
      w: size,
      groups: 1,
      kh: 3,
      kw: 3,
      strideH: stride,
      strideW: stride,
      dilationH: 1,
      dilationW: 1,
    },
    [1, 1, 1, 1],
  );
  const padding = 0;
  const windows = n * g.oh * g.ow;
  const pixels = n * size * size;
  const x = levels(pixels, c, [1, -1], 1);
  const w = levels(o * 9, c, [1, -1], 2);
  const place = (length: number): Float32Array => view("float32", alloc(4 * length), length);
  const [floatX, floatW, floatOut] = [place(pixels * c), place(o * 9 * c), place(windows * o)];
  const image = size * size;
  for (let i = 0; i < pixels; i++)
    for (let q = 0; q < c; q++) floatX[(Math.floor(i / image) * c + q) * image + (i % image)] = x[i * c + q];
  for (let i = 0; i < o * 9; i++)
    for (let q = 0; q < c; q++) floatW[(Math.floor(i / 9) * c + q) * 9 + (i % 9)] = w[i * c + q];
  const input = alloc(4 * pixels * c);
  view("float32", input, pixels * c).set(x);
  const bitsX = alloc(pixels * packedBytes(c, 1));
  const outAt = alloc(4 * windows * o);
  const layer = prepareBitConv({ rows: packSigns(w, o * 9, c) }, g, padding, { to: "int32" });
  if (layer === null) throw new Error("bench: the heap is exhausted");
  // Channels first, as the float side has them.
  const first = new Int32Array(windows * o);
  const many = g.oh * g.ow;
  const result = await pair(
    { name: "float32", run: () => void conv2d(floatOut, floatX, floatW, g), result: () => floatOut },
    {
      name: "bits",
      run() {
        pack.packBits(bitsX, input, pixels, c, packedBytes(c, 1), 0, 0);
        bitConvHeap(layer, outAt, bitsX);
      },
      result() {
        const last = view("int32", outAt, windows * o);
        for (let i = 0; i < windows; i++)
          for (let f = 0; f < o; f++)
            first[(Math.floor(i / many) * o + f) * many + (i % many)] = last[i * o + f];
        return first;
      },
    },
    { tolerance: new Float64Array(windows * o), rounds: 9 },
  );
  const speed = (seconds: number): string =>
    ((2 * windows * o * c * 9) / seconds / 1e9).toFixed(1).padStart(6);
  const name = `conv2d 3x3, 1 bit by 1 bit, ${n}x${c}x${size}x${size}, ${o} filters, stride ${stride}`;
  console.log(name, `float32 ${speed(result.a)}, bits ${speed(result.b)} Gop/s`, showRatio(result));
  const work = { unit: "Gop/s", work: (2 * windows * o * c * 9) / 1e9 } as const;
  results.push(besideFloat(name, result, c === 64 && stride === 1 ? [4, 7] : none, work));
}
if (process.argv.includes("--write")) {
  writeResults("bits", results);
  writePage();
}
