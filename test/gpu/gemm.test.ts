import { Rng, randn, type Tensor } from "bitgrad";
import { type GpuOptions, openGpu } from "bitgrad/gpu";
import { Linear } from "bitgrad/nn";
import { PackedLinear, PackedWeight } from "bitgrad/packed";
import {
  binarySigns,
  freeze,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ste,
  ternaryDynamic,
} from "bitgrad/quant";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Gemms } from "../../src/gpu/gemm.ts";
import type { Gpu } from "../../src/gpu/open.ts";
import { webgpu } from "./node.ts";

const rng = new Rng(2);
const packed = (config: QuantConfig | null): PackedLinear => {
  const layer = new Linear(70, 5, { rng });
  return pack(config ? freeze(prepare(layer, plan({ default: config }))) : layer).root as PackedLinear;
};
const i4: QuantConfig = { ...int8Dynamic(), weight: ste({ bits: 4 }) };
const cases: readonly [keyof Gemms, PackedLinear][] = [
  ["f32", packed(null)],
  ["b1", packed(binarySigns())],
  ["ternary", packed(ternaryDynamic())],
  ["i4", packed(i4)],
  ["i8", packed(int8Dynamic())],
];

const openers: readonly [string, Partial<GpuOptions> | null][] = [
  ["gpu.js", { mode: "webasm" }],
  ["WebGPU", webgpu && { executor: "webgpu", webgpu }],
];

describe.each(openers)("by %s", (_, options) => {
  let gpu: Gpu;
  beforeAll(async () => {
    if (options) gpu = await openGpu(options);
  });
  afterAll(() => gpu?.close());
  beforeEach(({ skip }) => skip(options === null));

  it.each(cases)("gemm.%s gives what the CPU's layer does", async (name, { weight, bias, input }) => {
    const x = { data: randn([2, 3, 70], { rng }).data as Float32Array, shape: [2, 3, 70] };
    const want = new PackedLinear({ weight, bias, input }).forward(x);
    const got = await gpu.gemm[name](x, weight, { bias });
    expect(got.shape).toEqual([2, 3, 5]);
    got.data.forEach((v, i) => {
      expect(Math.abs(v - want.data[i])).toBeLessThan(1e-5);
    });
  });

  it("products refuse what does not fit", async () => {
    const weight = PackedWeight.ofFloats(new Float32Array(6), 2, 3);
    const x = { data: new Float32Array(3), shape: [1, 3] };
    const { f32, b1 } = gpu.gemm;
    await expect(b1(x, weight)).rejects.toThrow("gemm.b1: needs a packed weight of 1 bits, got 32");
    await expect(f32({ data: new Float32Array(2), shape: [1, 2] }, weight)).rejects.toThrow(
      "gemm.f32: x must end in 3",
    );
    await expect(f32(x, weight, { bias: new Float32Array(3) })).rejects.toThrow(
      "gemm.f32: bias must hold 2 float32 numbers",
    );
    await expect(f32(x, weight, { input: { kind: "signs" } })).rejects.toThrow(
      "float32 weights are multiplied by float32",
    );
    await expect(f32({ data: Float32Array.of(1, Number.NaN, 1), shape: [1, 3] }, weight)).rejects.toThrow(
      "finite",
    );
    const { i8 } = gpu.gemm;
    const mixed = { kind: "mixed", bits: 8, threshold: 6 } as const;
    await expect(
      i8({ data: new Float32Array(70), shape: [1, 70] }, cases[4][1].weight, { input: mixed }),
    ).rejects.toThrow("gemm.i8: outliers of inputs are found on the CPU, got a mixed one");
    await expect(f32(x, weight, { bias: [1, 2] as never })).rejects.toThrow(
      "bias must hold 2 float32 numbers",
    );
    await expect(f32(x, { ...weight } as never)).rejects.toThrow("needs a packed weight of 32 bits");
    await expect(f32(x, null as never)).rejects.toThrow(
      "gemm.f32: needs a packed weight of 32 bits, got null",
    );
  });

  it("matmul gives the product of matrices, and refuses other tensors", async () => {
    const [a, b] = [randn([7, 1025], { rng }), randn([1025, 3], { rng })] as (Tensor & {
      data: Float32Array;
    })[];
    const want = a.matmul(b);
    const got = await gpu.matmul(a, b);
    expect(got.shape).toEqual([7, 3]);
    got.data.forEach((v, i) => {
      expect(Math.abs(Number(v) - Number(want.data[i]))).toBeLessThan(1e-3);
    });
    await expect(gpu.matmul(a, a)).rejects.toThrow(
      "gpu.matmul: needs (m, k) and (k, n), got (7, 1025) and (7, 1025)",
    );
    await expect(gpu.matmul(a, { data: Float32Array.of(1), shape: [1] })).rejects.toThrow(
      "b must have two axes",
    );
    await expect(gpu.matmul(a, [] as never)).rejects.toThrow(
      "gpu.matmul: b: needs { data, shape } of float32",
    );
  });
});

it("nothing is multiplied once it is closed, not even matrices of no columns", async () => {
  const gpu = await openGpu({ mode: "cpu" });
  const [a, b] = [
    { data: new Float32Array(0), shape: [2, 0] },
    { data: new Float32Array(0), shape: [0, 1] },
  ];
  expect(Array.from((await gpu.matmul(a, b)).data)).toEqual([0, 0]);
  await gpu.close();
  const { f32 } = gpu.gemm;
  const weight = PackedWeight.ofFloats(new Float32Array(2), 1, 2);
  await expect(gpu.matmul(a, b)).rejects.toThrow("gpu: matmul ran on a GPU that is closed");
  await expect(f32({ data: new Float32Array(2), shape: [1, 2] }, weight)).rejects.toThrow(
    "gpu: gemm.f32 ran on a GPU that is closed",
  );
});
