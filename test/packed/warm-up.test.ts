/** What `warmUp` leaves to the first request: nothing but its own work. A file of its own, so that no kernel is compiled. */

import { backendInfo, OptionError, Rng, randn } from "bitgrad";
import { Bert, Gpt, ResNet, Transformer } from "bitgrad/models";
import { evaluate, Linear, Sequential } from "bitgrad/nn";
import {
  binarySigns,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import { describe, expect, it, vi } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";

const packedOf = <M extends object>(model: M, config: QuantConfig) =>
  pack(evaluate(freeze(prepare(model, plan({ default: config })))));
const sizes = { vocabulary: 30, context: 24, dim: 64, layers: 2, heads: 4 };
const values = (shape: number[]) => ({
  data: randn(shape, { rng: new Rng(2) }).data.slice() as Float32Array,
  shape,
});
const ids = (...shape: number[]) => ({ data: new Int32Array(shape.reduce((a, b) => a * b)).fill(3), shape });

/** What a call compiles, and what it leaves on the heap. */
function costs(fn: () => unknown) {
  const compiled = vi.spyOn(WebAssembly, "Module");
  const before = heapUse().bytes;
  try {
    fn();
    return { compiled: compiled.mock.calls.length, bytes: heapUse().bytes - before };
  } finally {
    compiled.mockRestore();
  }
}
const nothing = { compiled: 0, bytes: 0 };

describe.skipIf(backendInfo().name !== "simd")(
  "after warmUp the first request compiles and lays out nothing",
  () => {
    it.each([
      ["int8", int8Dynamic()],
      ["ternary", ternaryDynamic()],
      ["1 bit", binarySigns()],
      ["int4 by float32", int4WeightOnly()],
    ])("of a Gpt of %s weights, which makes the same text", (_, config) => {
      const model = packedOf(new Gpt({ ...sizes, rng: new Rng(1) }), config);
      const say = (of = model) => of.generate([1, 2, 3], { maxTokens: 8, temperature: 0 });
      expect(costs(() => model.warmUp()).bytes).toBeGreaterThan(0);
      let text: number[] = [];
      expect(costs(() => (text = say()))).toEqual(nothing);
      expect(costs(() => model.forward(ids(1, 24)))).toEqual(nothing);
      // Of more rows than by default.
      model.warmUp(ids(4, 24));
      expect(costs(() => model.forward(ids(4, 24)))).toEqual(nothing);
      model.dispose();
      expect(say()).toEqual(text);
      model.dispose();
    });

    it("of an encoder, an encoder with a decoder, and models of images and of rows", () => {
      const bert = packedOf(new Bert({ ...sizes, rng: new Rng(1) }), int8Dynamic());
      bert.warmUp();
      expect(costs(() => bert.forward(ids(1, 9)))).toEqual(nothing);
      const { context: _, ...open } = sizes;
      const pair = packedOf(new Transformer({ ...open, rng: new Rng(1) }), int8Dynamic());
      pair.warmUp();
      const source = ids(1, 5);
      expect(costs(() => pair.generate([1], { maxTokens: 3, temperature: 0, source }))).toEqual(nothing);
      const resnet = packedOf(new ResNet({ ...ResNet.configs.resnet20, rng: new Rng(1) }), binarySigns());
      const [image, batch] = [values([1, 3, 32, 32]), values([4, 256])];
      resnet.warmUp(image);
      expect(costs(() => resnet.forward(image))).toEqual(nothing);
      const rows = packedOf(new Sequential(new Linear(256, 300), new Linear(300, 9)), int8Dynamic());
      rows.warmUp(batch);
      expect(costs(() => rows.forward(batch))).toEqual(nothing);
      for (const model of [bert, pair, resnet, rows]) model.dispose();
    });

    it("of a Gpt whose context is one position", () => {
      packedOf(new Gpt({ ...sizes, context: 1 }), int8Dynamic()).warmUp();
    });
  },
);

it("warmUp of a model that reads no ids needs an input", () => {
  expect(() => packedOf(new Sequential(new Linear(8, 8)), int8Dynamic()).warmUp()).toThrow(OptionError);
});
