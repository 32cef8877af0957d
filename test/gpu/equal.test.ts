/** Every packed layer by kernels of a GPU against the CPU's, over all that its fields may say. */

import { type GpuOptions, openGpu, toGpu } from "bitgrad/gpu";
import {
  PackedAttention,
  PackedBranch,
  PackedConv1d,
  PackedConv2d,
  PackedConvTranspose2d,
  PackedCopyFeatures,
  PackedFunction,
  PackedHadamard,
  type PackedInput,
  PackedLinear,
  PackedModel,
  PackedNorm,
  PackedPool,
  type PackedStep,
  PackedWeight,
} from "bitgrad/packed";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/open.ts";
import { activationNames } from "../../src/packed/executor.ts";
import { packCodes } from "../../src/packed/file/codes.ts";
import { sizeOf } from "../../src/shape.ts";
import { Double } from "./double.ts";
import { webgpu } from "./node.ts";

type Draw = (least: number, most: number) => number;
type Shape = readonly number[];

/** Integers of a linear congruential generator: one seed plants all numbers of a case. */
function drawOf(seed: number): Draw {
  let state = seed >>> 0;
  return (least, most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return least + Math.floor((state / 2 ** 32) * (most - least + 1));
  };
}

const step = 1 / 8;

/** Quarters of a step, of which the first of every row is the largest: quotients, and halves among them, are exact. */
function planted(draw: Draw, shape: Shape, rows: number, top: number): Float32Array {
  const n = sizeOf(shape);
  const x = Float32Array.from({ length: n }, () => (step * draw(-4 * top, 4 * top)) / 4);
  for (let i = 0; i < n && rows > 0; i += n / rows) x[i] = top * step;
  return x;
}

const numbers = (draw: Draw, n: number): Float32Array =>
  Float32Array.from({ length: n }, () => draw(-64, 64) / 32);

const kindsOfWeight = ["float32", "signed", "ternary", "zeros", "halves", "floats", "levels"] as const;
const weights = fc.record({
  kind: fc.constantFrom(...kindsOfWeight),
  bits: fc.integer({ min: 1, max: 8 }),
  scales: fc.constantFrom("one", "row", "group"),
  group: fc.integer({ min: 1, max: 30 }),
  half: fc.boolean(),
});
type WeightCase = typeof weights extends fc.Arbitrary<infer T> ? T : never;

function weightOf(draw: Draw, rows: number, columns: number, of: WeightCase): PackedWeight {
  const { kind, scales, half } = of;
  if (kind === "float32") return PackedWeight.ofFloats(numbers(draw, rows * columns), rows, columns);
  const bits = kind === "ternary" ? 2 : of.bits;
  const signed = kind === "signed" || kind === "ternary";
  const group = scales === "group" ? of.group : null;
  const count = scales === "one" ? 1 : rows * (group ? Math.ceil(columns / group) : 1);
  const digit = (): number => {
    if (kind === "ternary") return draw(-1, 1);
    if (!signed) return draw(0, 2 ** bits - 1);
    return bits === 1 ? 2 * draw(0, 1) - 1 : draw(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1);
  };
  const codes = Array.from({ length: rows * columns }, digit);
  const shift = { zeros: 0, halves: 0.5, floats: 0.3 }[kind as string] ?? null;
  const some = (make: () => number): Float32Array => Float32Array.from({ length: count }, make);
  return PackedWeight.ofCodes({
    ...{ rows, columns, bits, signed, group, scaleType: half ? "float16" : "float32" },
    codes: packCodes(codes, rows, columns, { bits, signed }),
    scale: some(() => (half ? draw(1, 64) / 64 : draw(1, 999) / 997)),
    zeroPoint: shift === null ? null : some(() => draw(0, 2 ** bits - 1) + shift),
    codebook: kind === "levels" ? Array.from(numbers(draw, 2 ** bits)) : null,
  });
}

const inputs = fc.oneof(
  fc.constant(null),
  fc.constant({ kind: "signs" } as const),
  fc.integer({ min: 2, max: 8 }).map((bits) => ({ kind: "dynamic", bits }) as const),
  fc
    .constantFrom([-128, 127], [0, 255], [-8, 7], [0, 15])
    .chain(([least, most]) =>
      fc
        .integer({ min: least, max: most })
        .map((zeroPoint) => ({ kind: "static", scale: step, zeroPoint, least, most }) as const),
    ),
);

/** Codes of inputs want weights of integers. */
const inputFor = (input: PackedInput | null, { kind }: WeightCase): PackedInput | null =>
  kind === "float32" || kind === "floats" || kind === "levels" ? null : input;

const topOf = (input: PackedInput | null): number =>
  input?.kind === "dynamic" ? 2 ** (input.bits - 1) - 1 : 100;

const count = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const seed = fc.nat();
const pair = (min: number, max: number): fc.Arbitrary<[number, number]> =>
  fc.tuple(count(min, max), count(min, max));
const biased = (draw: Draw, bias: boolean, n: number): Float32Array | null =>
  bias ? numbers(draw, n) : null;

interface Case {
  readonly layer: PackedStep;
  readonly shape: Shape;
  readonly x: Float32Array;
  readonly call?: object;
}

const linears = fc
  .record({
    seed,
    weight: weights,
    input: inputs,
    n: fc.oneof({ arbitrary: count(1, 16), weight: 9 }, { arbitrary: count(17, 40), weight: 1 }),
    k: count(0, 60),
    // More than 8 rows are made by tiles, of three heights: drivers take long for the taller ones.
    m: fc.oneof(
      { arbitrary: pair(0, 3), weight: 4 },
      { arbitrary: fc.tuple(count(3, 4), count(3, 4)), weight: 5 },
      { arbitrary: fc.tuple(count(5, 8), count(4, 9)), weight: 1 },
    ),
    bias: fc.boolean(),
  })
  .map(({ seed, weight: w, input: given, n, k, m, bias }): Case => {
    const draw = drawOf(seed);
    const input = inputFor(given, w);
    const weight = weightOf(draw, n, k, w);
    const shape = [...m, k];
    const x = planted(draw, shape, k === 0 ? 0 : m[0] * m[1], topOf(input));
    return { layer: new PackedLinear({ weight, input, bias: biased(draw, bias, n) } as never), shape, x };
  });

const windows = {
  seed,
  kernel: pair(1, 4),
  stride: pair(1, 3),
  dilation: pair(1, 3),
  padding: fc.tuple(pair(0, 4), pair(0, 4)),
  size: pair(0, 7),
  n: count(0, 2),
};
const filters = {
  ...windows,
  weight: weights,
  groups: count(1, 3),
  ins: count(1, 3),
  outs: count(1, 3),
  bias: fc.boolean(),
};

const convs = fc
  .record({ ...filters, input: inputs, flat: fc.boolean() })
  .map(({ flat, weight: w, input: given, groups, ins, outs, ...of }): Case => {
    const draw = drawOf(of.seed);
    const input = inputFor(given, w);
    const kernel = flat ? [1, of.kernel[1]] : of.kernel;
    const padding = flat ? [[0, 0], of.padding[1]] : of.padding;
    const o = outs * groups;
    const weight = weightOf(draw, o, ins * kernel[0] * kernel[1], w);
    const channels = ins * groups;
    const shape = flat ? [of.n, channels, of.size[1]] : [of.n, channels, ...of.size];
    const x = planted(draw, shape, sizeOf(shape) === 0 ? 0 : of.n, topOf(input));
    const fields = {
      ...{ weight, input, kernel, padding, groups },
      stride: of.stride,
      dilation: of.dilation,
    };
    const Layer = flat ? PackedConv1d : PackedConv2d;
    return { layer: new Layer({ ...fields, bias: biased(draw, of.bias, o) }), shape, x };
  });

const transposes = fc
  .record({ ...filters, outputPadding: pair(0, 2) })
  .map(({ weight: w, groups, ins, outs, bias, size, n, seed, ...fields }): Case => {
    const draw = drawOf(seed);
    const [kh, kw] = fields.kernel;
    const weight = weightOf(draw, ins * groups, outs * kh * kw, w);
    const shape = [n, ins * groups, ...size];
    const x = numbers(draw, sizeOf(shape));
    const layer = new PackedConvTranspose2d({
      ...fields,
      weight,
      groups,
      bias: biased(draw, bias, outs * groups),
    });
    return { layer, shape, x };
  });

const pools = fc
  .record({
    ...windows,
    max: fc.boolean(),
    ceilMode: fc.boolean(),
    countIncludePad: fc.boolean(),
    c: count(1, 2),
  })
  .map(({ seed, max, size, n, c, ...of }): Case => {
    const padding = of.padding.map((sides, axis) => sides.map((p) => Math.min(p, of.kernel[axis] >> 1)));
    const dilation = max ? of.dilation : [1, 1];
    const shape = [n, c, ...size];
    const type = max ? "max" : "average";
    return {
      layer: new PackedPool({ ...of, type, padding, dilation }),
      shape,
      x: numbers(drawOf(seed), sizeOf(shape)),
    };
  });

const norms = fc
  .record({
    seed,
    type: fc.constantFrom("layer", "rms", "group"),
    axes: pair(1, 4),
    outer: pair(0, 3),
    weight: fc.boolean(),
    bias: fc.boolean(),
    eps: fc.constantFrom(1e-12, 1e-5, 1),
  })
  .map(({ seed, type, axes, outer, weight, bias, eps }): Case => {
    const draw = drawOf(seed);
    const grouped = type === "group";
    const [size, n] = grouped ? [axes[0], 2 * axes[0]] : [axes[0] * axes[1], axes[0] * axes[1]];
    const shape = grouped ? [outer[0], n, outer[1]] : [...outer, ...axes];
    const fields = { type, size, eps, axes: grouped ? null : axes };
    const floats = { weight: biased(draw, weight, n), bias: type === "rms" ? null : biased(draw, bias, n) };
    return { layer: new PackedNorm({ ...fields, ...floats }), shape, x: numbers(draw, sizeOf(shape)) };
  });

const attentions = fc
  .record({
    seed,
    d: count(1, 4),
    kvHeads: count(1, 2),
    share: count(1, 3),
    b: count(0, 2),
    t: count(0, 5),
    s: count(0, 5),
    causal: fc.boolean(),
    style: fc.constantFrom("half", "interleaved", null),
    mask: fc.boolean(),
    cross: fc.boolean(),
  })
  .map(({ seed, d, kvHeads, share, b, t, s, causal, style, mask, cross }): Case => {
    const draw = drawOf(seed);
    const heads = kvHeads * share;
    const c = 3;
    const linear = (n: number, k: number) =>
      new PackedLinear({
        weight: PackedWeight.ofFloats(numbers(draw, n * k), n, k),
        bias: numbers(draw, n),
        input: null,
      } as never);
    const rotary = style && d % 2 === 0 ? { base: 100, style } : null;
    const layer = new PackedAttention({
      ...{ heads, kvHeads, rotary, query: linear(heads * d, c), key: linear(kvHeads * d, c) },
      ...{ value: linear(kvHeads * d, c), out: linear(c, heads * d) },
    });
    const tk = cross ? s : t;
    const flags = Array.from({ length: b * tk }, () => draw(0, 1));
    const call = {
      causal,
      ...(mask && { mask: { data: flags, shape: [b, 1, 1, tk] } }),
      ...(cross && { context: { data: numbers(draw, b * s * c), shape: [b, s, c] } }),
    };
    return { layer, shape: [b, t, c], x: numbers(draw, b * t * c), call };
  });

const rows = fc
  .record({
    seed,
    name: fc.constantFrom(...activationNames),
    f: count(1, 3),
    block: count(0, 3),
    signs: fc.boolean(),
    outer: pair(0, 3),
    what: count(0, 2),
    join: fc.constantFrom("sum", "product"),
  })
  .map(({ seed, name, f, block, signs, outer, what, join }): Case => {
    const draw = drawOf(seed);
    const features = f * 2 ** block;
    const shape = [...outer, features];
    const x = numbers(draw, sizeOf(shape));
    const codes = packCodes(
      Array.from({ length: features }, () => 2 * draw(0, 1) - 1),
      1,
      features,
      { bits: 1, signed: true },
    );
    const coded = {
      ...{ rows: 1, columns: features, bits: 1, signed: true, group: null, codebook: null },
      scaleType: "float32" as const,
    };
    const weight = signs ? PackedWeight.ofCodes({ ...coded, codes, scale: Float32Array.of(1) }) : null;
    const copies = Array.from({ length: draw(0, 3) }, () => draw(0, features - 1));
    const activation = new PackedFunction({ name } as never);
    const layers = [
      new PackedHadamard({ features, block: 2 ** block, signs: weight }),
      new PackedCopyFeatures({ features, copies }),
      new PackedBranch({ join, body: activation, shortcut: null } as never),
    ];
    return { layer: layers[what] as PackedStep, shape, x };
  });

const cases = { linears, convs, transposes, pools, norms, attentions, rows };

const plain = webgpu && new Double(webgpu, { features: [] }).webgpu;
const openers: readonly [string, Partial<GpuOptions> | null, object, runs: number][] = [
  ["gpu.js, cpu", { mode: "cpu" }, cases, 50],
  ["gpu.js, webasm", { mode: "webasm" }, cases, 50],
  ["WebGPU", webgpu && { executor: "webgpu", webgpu }, cases, 40],
  [
    "WebGPU whose language lacks products of packed codes",
    plain && { executor: "webgpu", webgpu: plain },
    { linears, convs },
    20,
  ],
];

describe.each(openers)("%s", (_, options, cases, numRuns) => {
  let gpu: Gpu;
  beforeAll(async () => {
    if (options) gpu = await openGpu(options);
  });
  afterAll(() => gpu?.close());

  it.skipIf(options === null).each(Object.entries(cases))(
    "%s give what the CPU gives",
    async (_, arbitrary) => {
      const property = fc.asyncProperty(
        arbitrary as fc.Arbitrary<Case>,
        async ({ layer, x: data, shape, call }) => {
          const model = new PackedModel(layer as never);
          const x = { data, shape };
          const run = toGpu(model, gpu).then((far) => far.forward<object>(x, call));
          let want: ReturnType<typeof model.forward>;
          try {
            want = model.forward<object>(x, call);
          } catch (error) {
            const { message } = error as Error;
            await expect(run).rejects.toThrow(message);
            return;
          }
          const got = await run;
          expect(got.shape).toEqual(want.shape);
          const most = want.data.reduce((a, v) => Math.max(a, Number.isNaN(v) ? 0 : Math.abs(v)), 1);
          const near = (a: number, b: number) => Object.is(a, b) || Math.abs(a - b) <= 2e-5 * most;
          const off = got.data.findIndex((v, i) => !near(v, want.data[i]));
          expect(off, `got ${got.data[off]}, the CPU's ${want.data[off]}`).toBe(-1);
        },
      );
      await fc.assert(property, { numRuns });
    },
    120_000,
  );
});
