import { concat, split, stack, type Tensor, tensor, zeros } from "bitgrad";
import { describe, expect, it } from "vitest";

describe("more tensors than a call takes arguments", () => {
  const many = Array.from({ length: 200_001 }, (_, i) => tensor([i], { requiresGrad: i % 50_000 === 0 }));

  it.each([
    ["concat", concat(many)],
    ["stack", stack(many)],
  ])("are joined in their order by %s, and each gets its gradient", (_name, joined: Tensor) => {
    expect(joined.size).toBe(200_001);
    expect(joined.data.every((value, i) => value === i)).toBe(true);
    for (const t of many) t.grad = null;
    joined.mul(joined).sum().backward();
    expect(many.filter((t) => t.grad).map((t) => t.grad!.toArray())).toEqual(
      [0, 50_000, 100_000, 150_000, 200_000].map((i) => [2 * i]),
    );
  });

  it("are the pieces of a split, which hand their gradients back", () => {
    const x = zeros([200_001], { requiresGrad: true });
    const pieces = split(x, 1);
    pieces[3].mul(2).add(pieces[200_000].mul(5)).sum().backward();
    const touched = Array.from(x.grad!.data).flatMap((value, i) => (value ? [[i, value]] : []));
    expect(touched).toEqual([
      [3, 2],
      [200_000, 5],
    ]);
  });

  it("have one dtype, which the last may decide", () => {
    const last = tensor([1], { dtype: "float64" });
    expect(concat([...many, last]).dtype).toBe("float64");
  });

  it("keep the numbers and the dtype that fewer have", () => {
    const floats = Array<Tensor>(9_999).fill(tensor([1]));
    const [odd, wide] = [tensor(Int32Array.of(2 ** 24 + 1)), tensor(Float64Array.of(0.5))];
    expect(concat([...floats, odd, wide]).data.slice(-2)).toEqual(
      concat([tensor([1]), odd, wide]).data.slice(1),
    );
    const [signed, unsigned] = [tensor(Int32Array.of(1)), tensor(Uint32Array.of(2))];
    expect(concat([...floats, tensor([1]), signed, unsigned]).dtype).toBe("float32");
  });
});
