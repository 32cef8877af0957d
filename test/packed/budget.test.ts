import { Rng } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { evaluate } from "bitgrad/nn";
import { loadPacked, type PackedModel } from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { composed } from "../fuzz/parts.ts";

const subsample = { kind: "subsample", stride: 1, channels: [65535, 65535] };
const weight = { rows: 1, columns: 1, bits: 8, signed: true, group: null, codebook: null, weight: "w" };
const signs = { kind: "signs" };
const conv = (input: unknown) => ({
  kind: "conv2d",
  weight,
  bias: null,
  input,
  kernel: [1, 1],
  stride: [1, 1],
  padding: [
    [512, 512],
    [512, 512],
  ],
  dilation: [1, 1],
  groups: 1,
});
const file = (...steps: object[]): PackedModel =>
  loadPacked(
    composed(
      { kind: "sequential", steps },
      {
        "w.scale": { data: Float32Array.of(1), shape: [1] },
        "w.codes": { data: Uint8Array.of(1), shape: [1, 1] },
      },
    ),
  );
const image = (side: number) => ({ data: new Float32Array(side * side), shape: [1, 1, side, side] });

describe("a run of a packed model has a budget", () => {
  it.each<[string, () => PackedModel]>([
    ["channels of zeros", () => file(...Array(10).fill(subsample))],
    ["padding upon padding, of floats", () => file(...Array(30).fill(conv(null)))],
    ["padding upon padding, of signs", () => file(...Array(30).fill(conv(signs)))],
    ["padding upon padding, of codes", () => file(...Array(30).fill(conv({ kind: "dynamic", bits: 8 })))],
  ])("and %s are refused before they are allocated", (_, make) => {
    const model = make();
    const before = [heapUse().bytes, process.memoryUsage().arrayBuffers];
    const start = performance.now();
    expect(() => model.forward(image(4))).toThrow(
      /^forward: the run must keep to .* budget.*, got .* 16777216; raise the option budget$/,
    );
    expect(() => model.forward(image(4))).toThrow(expect.objectContaining({ code: "SHAPE" }));
    expect(performance.now() - start).toBeLessThan(20_000);
    model.dispose();
    expect(heapUse().bytes - before[0]).toBeLessThan(2 ** 20);
    expect(heapUse().peak).toBeLessThan(2 ** 28);
  });

  it("that follows from its input", () => {
    const model = file(subsample);
    expect(() => model.forward(image(12))).toThrow(/left of 16777216;/);
    expect(() => model.forward(image(32))).toThrow(/left of 67108864;/);
    expect(model.forward(image(4)).shape).toEqual([1, 131071, 4, 4]);
  });

  it("and an option raises or lowers it", () => {
    const model = file(subsample);
    expect(model.forward(image(12), { budget: 2 ** 25 }).shape).toEqual([1, 131071, 12, 12]);
    expect(() => model.forward(image(4), { budget: 1000 })).toThrow(/of 1000; raise the option budget/);
    expect(model.forward(image(12), { budget: Infinity }).data.length).toBe(131071 * 144);
    for (const budget of [0, -1, "9"]) {
      expect(() => model.forward(image(4), { budget: budget as never })).toThrow(
        /forward: budget must be a positive number, got/,
      );
    }
    expect(() => model.forward(image(4), { budget: Number.NaN })).toThrow(/budget must be a number, got NaN/);
  });

  it("of products too: few numbers may take long", () => {
    const side = 64;
    const square = { ...weight, rows: side, columns: side };
    const steps = Array(9).fill({ kind: "linear", weight: square, bias: null, input: null });
    const model = loadPacked(
      composed(
        { kind: "sequential", steps },
        {
          "w.scale": { data: Float32Array.of(1), shape: [1] },
          "w.codes": { data: new Uint8Array(side * side), shape: [side, side] },
        },
      ),
    );
    const x = { data: new Float32Array(side), shape: [1, side] };
    const products = (9 * side * side) / 1024;
    expect(() => model.forward(x, { budget: products - 1 })).toThrow(/keep to/);
    expect(model.forward(x, { budget: 20 * side }).shape).toEqual([1, side]);
  });

  it("and text counts as the rows that its ids become", () => {
    const sizes = { vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2 };
    const model = pack(evaluate(new Gpt({ ...sizes, rng: new Rng(1) })));
    const ids = { data: [1, 2, 3], shape: [1, 3] };
    expect(model.forward(ids).shape).toEqual([1, 3, 11]);
    expect(() => model.forward(ids, { budget: 500 })).toThrow(/of 500; raise the option budget/);
    expect(() => model.generate([1, 2], { maxTokens: 2, budget: 100 })).toThrow(/of 100; raise/);
    expect(model.generate([1, 2], { maxTokens: 2, budget: 4000 })).toHaveLength(2);
  });
});

describe("an image whose padding is huge", () => {
  it("is refused where kernels count its bytes in 32 bits", () => {
    const wide = {
      ...conv({ kind: "dynamic", bits: 8 }),
      weight: { ...weight, columns: 4 },
      kernel: [2, 2],
      dilation: [65535, 65535],
      padding: [
        [32768, 32768],
        [32768, 32768],
      ],
    };
    const model = loadPacked(
      composed(wide, {
        "w.scale": { data: Float32Array.of(1), shape: [1] },
        "w.codes": { data: new Uint8Array(4), shape: [1, 4] },
      }),
    );
    expect(() => model.forward(image(4))).toThrow(
      /a padded image must have fewer than 2\^28 numbers a group, got/,
    );
  });
});
