/** What the compiler knows of dtypes. `npm run types` compiles this file; the lines run too, since types must not lie. */

import {
  arange,
  bernoulli,
  type DType,
  eye,
  full,
  linspace,
  ones,
  Rng,
  rand,
  randint,
  randn,
  type Tensor,
  type TensorLike,
  tensor,
  zeros,
} from "bitgrad";
import { expect, expectTypeOf, it } from "vitest";

/** Holds a tensor to the dtype that it is declared with. */
function typed<D extends DType>(t: Tensor<D>, dtype: NoInfer<D>): void {
  expect(t.dtype).toBe(dtype);
}

it("a tensor has the dtype of its data, and an array of it", () => {
  typed(tensor([1.5]), "float32");
  typed(tensor([[1], [2]]), "float32");
  typed(tensor(3), "float32");
  typed(tensor([]), "float32");
  typed(tensor([true, false]), "bool");
  typed(tensor([[[true]]]), "bool");
  typed(tensor(true), "bool");
  typed(tensor([1, true]), "float32");
  typed(tensor(new Int32Array(2)), "int32");
  typed(tensor(new Float64Array(2)), "float64");
  typed(tensor(new Uint8Array(2)), "uint8");
  typed(tensor([new Int8Array(2), new Int8Array(2)]), "int8");
  typed(tensor(tensor([1], { dtype: "uint32" })), "uint32");
  expectTypeOf(tensor(new Int32Array(2)).data).toEqualTypeOf<Int32Array>();
  expectTypeOf(tensor([true]).data).toEqualTypeOf<Uint8Array>();
  expectTypeOf(tensor([1]).data).toEqualTypeOf<Float32Array>();
  // @ts-expect-error: these are float32
  const wrong: Tensor<"int32"> = tensor([1.5]);
  // @ts-expect-error: these are int32
  const floats: Float32Array = tensor(new Int32Array(2)).data;
  expect([wrong.dtype, floats.length]).toEqual(["float32", 2]);
});

it("a tensor has the dtype that it is given", () => {
  typed(tensor([1], { dtype: "int32" }), "int32");
  typed(tensor([1], { dtype: "float64", requiresGrad: true }), "float64");
  typed(tensor([true], { dtype: "uint8" }), "uint8");
  typed(tensor([1, 2], { shape: [2, 1] }), "float32");
  const some = { dtype: "int8" as DType };
  expectTypeOf(tensor([1], some)).toEqualTypeOf<Tensor>();
  expectTypeOf(tensor([1] as TensorLike)).toEqualTypeOf<Tensor>();
  // @ts-expect-error: not the dtype given
  const wrong: Tensor<"int32"> = tensor([1], { dtype: "float64" });
  expect(wrong.dtype).toBe("float64");
});

it("tensors from nothing are float32 unless told otherwise", () => {
  const rng = new Rng(1);
  for (const t of [
    zeros([2]),
    ones([2]),
    full([2], 3),
    eye(2),
    arange(3),
    linspace(0, 1, 2),
    rand([2]),
    randn([2]),
  ])
    typed(t, "float32");
  typed(zeros([2], { dtype: "int32" }), "int32");
  typed(ones([2], { dtype: "bool" }), "bool");
  typed(full([2], 3, { dtype: "uint8" }), "uint8");
  typed(arange(0, 4, 2, { dtype: "int8" }), "int8");
  typed(randn([2], { dtype: "float64", rng }), "float64");
  typed(rand([2], { requiresGrad: true }), "float32");
  typed(randint(0, 3, [2]), "int32");
  typed(randint(0, 3, [2], { dtype: "uint8", rng }), "uint8");
  typed(bernoulli(0.5, [2]), "bool");
  expectTypeOf(zeros([2], { dtype: "int32" }).data).toEqualTypeOf<Int32Array>();
  // @ts-expect-error: zeros are float32
  const wrong: Tensor<"int32"> = zeros([2]);
  // @ts-expect-error: there is no such dtype
  expect(() => zeros([2], { dtype: "int16" })).toThrow("unknown dtype");
  expect(wrong.dtype).toBe("float32");
});

it("what keeps a dtype says so", () => {
  const [f, d, i, b] = [
    tensor([1]),
    ones([1], { dtype: "float64" }),
    ones([1], { dtype: "int32" }),
    tensor([true]),
  ];
  typed(f.add(1), "float32");
  typed(d.mul(0.5), "float64");
  typed(i.add(1), "int32");
  typed(i.sub(-2), "int32");
  typed(i.neg().reshape([1, 1]).slice([0]).max(), "int32");
  typed(b.flatten(), "bool");
  typed(f.detach(), "float32");
  typed(i.sort().values, "int32");
  typed(i.quantile(0.5), "float32");
  typed(f.sort().indices, "int32");
  for (const part of i.chunk(1)) typed(part, "int32");
  typed(i.to("float64"), "float64");
  expectTypeOf(i.add(0.5)).toEqualTypeOf<Tensor<"int32" | "float32">>();
  expect(i.add(0.5).dtype).toBe("float32");
});

it("what meets another dtype, makes floats, counts or compares says so", () => {
  const [f, d, i, b] = [
    tensor([1]),
    ones([1], { dtype: "float64" }),
    ones([1], { dtype: "int32" }),
    tensor([true]),
  ];
  const [u8, u32, i8] = [
    ones([1], { dtype: "uint8" }),
    ones([1], { dtype: "uint32" }),
    ones([1], { dtype: "int8" }),
  ];
  typed(f.add(d), "float64");
  typed(i.mul(f), "float32");
  typed(b.sub(i), "int32");
  typed(f.maximum(b), "float32");
  typed(i.exp(), "float32");
  typed(d.relu().mean(), "float64");
  typed(b.softmax(), "float32");
  typed(b.sum(), "int32");
  typed(u32.prod(), "uint32");
  typed(i8.cumsum(), "int32");
  typed(d.sum({ axis: 0 }), "float64");
  typed(f.less(0), "bool");
  typed(i.equal(i).logicalAnd(b).any(), "bool");
  typed(f.isNaN(), "bool");
  typed(f.argmax(), "int32");
  typed(u8.add(i8), "int32");
  typed(u8.add(u32), "uint32");
  typed(i8.add(u32), "float64");
});

it("a tensor of one dtype stands for one of any, and not the other way", () => {
  const take = (t: Tensor): DType => t.dtype;
  expect(take(zeros([1], { dtype: "int8" }))).toBe("int8");
  const any: Tensor = tensor([1]);
  expectTypeOf(any.add(1).relu().sum().sort().values).toEqualTypeOf<Tensor>();
  let y = any.relu();
  y = any.reshape([1]);
  // @ts-expect-error: it may be of any dtype
  const wrong: Tensor<"float32"> = y;
  expect(wrong.dtype).toBe("float32");
  const generic = <D extends DType>(t: Tensor<D>): Tensor<D> => t.reshape([-1]).slice([0]).neg();
  typed(generic(ones([2], { dtype: "int8" })), "int8");
});
